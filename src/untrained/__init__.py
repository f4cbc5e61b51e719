"""Find subnetworks in networks whose weights are never trained; ship them as a seed and a bit per weight.

The public names are listed in `__init__.pyi` and imported on first use, so that `untrained --help` needs no torch.
"""

import lazy_loader

import untrained._old_paths  # noqa: F401  before a pickle is read

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
