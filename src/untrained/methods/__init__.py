"""Methods, one file each, and the table of them, which is found by listing the files."""

import importlib
import pkgutil

from untrained.fields import final_classes
from untrained.methods.base import Method as Method

METHODS: dict[str, type[Method]] = {
    module.name.replace("_", "-"): cls
    for module in pkgutil.iter_modules(__path__)
    for cls in final_classes(importlib.import_module(f"{__name__}.{module.name}")).values()
    if issubclass(cls, Method)
}
"""Every method by its name on the command line, that of its file: "edge-popup"."""
