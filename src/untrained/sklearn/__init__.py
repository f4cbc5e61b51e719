"""Estimators of scikit-learn (Pedregosa et al. 2011) that find a subnetwork, and keep a ticket.

The public names are listed in `__init__.pyi` and imported on first use, so that scikit-learn is needed only then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
