"""Trained opponents of tickets, one file each, and the table of them, which is found by listing the files."""

import importlib
import pkgutil

from untrained.fields import final_classes
from untrained.opponents.base import Opponent as Opponent

OPPONENTS: dict[str, type[Opponent]] = {
    module.name.replace("_", "-"): cls
    for module in pkgutil.iter_modules(__path__)
    for cls in final_classes(importlib.import_module(f"{__name__}.{module.name}")).values()
    if issubclass(cls, Opponent)
}
"""Every opponent by its name on the command line, that of its file: "int8-twin"."""
