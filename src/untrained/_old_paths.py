"""Old paths of modules, by which older pickles of whole masked models load for one more release."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# `untrained.weights` is a package now, which offers the laws that were in it.
_MOVED = {
    "untrained.attach": "untrained.masking.mask",
    "untrained.codec": "untrained.tickets.codec",
    "untrained.cost": "untrained.tickets.summary",
    "untrained.header": "untrained.tickets.header",
    "untrained.mask_state": "untrained.masking.state",
    "untrained.masked": "untrained.masking.masked_class",
    "untrained.recipe": "untrained.methods.recipe",
    "untrained.run": "untrained.runs.run",
    "untrained.schedules": "untrained.methods.schedules",
    "untrained.source": "untrained.weights.source",
    "untrained.ticket": "untrained.tickets.ticket",
}


class _OldPaths(MetaPathFinder, Loader):
    """Finder of modules by their old names: each looks its names up in the module that has them now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__getattr__"] = functools.partial(getattr, importlib.import_module(_MOVED[module.__name__]))


sys.meta_path.append(_OldPaths())
