"""One file per method, base.py with the law they obey, and the table of them all, which finds them by itself."""

import importlib
import pkgutil
from collections.abc import Iterator

from untrained.methods.base import Method as Method


def _found() -> Iterator[tuple[str, type[Method]]]:
    """(name, class): a method is called as its file is."""
    for module in pkgutil.iter_modules(__path__):
        name = f"{__name__}.{module.name}"
        for cls in vars(importlib.import_module(name)).values():
            if (
                isinstance(cls, type)
                and issubclass(cls, Method)
                and cls.__module__ == name
                and getattr(cls, "__final__", 0)
            ):
                yield module.name.replace("_", "-"), cls


METHODS: dict[str, type[Method]] = dict(_found())
"""Every method by its name on the command line, such as "edge-popup"."""
