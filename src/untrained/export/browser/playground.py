"""The playground: a page in which subnetworks are found and weight agnostic networks are evolved.

It is one file without any request. Its scripts are those of the folder `playground`, after the reader of tickets that
the page of a single network has, too.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup

from untrained._version import __version__
from untrained.data.dataset import load_data
from untrained.export.browser.head import write_head
from untrained.export.browser.page import read_file, write_facts
from untrained.files import atomic_write

_DESCRIPTION = "Subnetworks of random weights are found, and weight agnostic networks evolved, while you watch."
# Scripts without a document, for the page and for its Workers: of both tabs, of each tab.
_ENGINE = (
    *"sha256 json header ticket inflate weights compact network".split(),
    *(f"playground/{name}" for name in "digits write_ticket link qr answer_by".split()),
)
_ENGINE_FIND = tuple(f"playground/find_{name}" for name in "choice layers search worker".split())
_ENGINE_WANN = tuple(f"playground/wann_{name}" for name in "net physics genome search file".split())
# Scripts of the page itself: of both tabs, of each tab.
_PAGE = (*"dom answer pen picture edge_flow".split(), *(f"playground/{name}" for name in "canvas charts shell".split()))
_PAGE_FIND = ("board", *(f"playground/find_{name}" for name in "edges page draw experiments home".split()))
_PAGE_WANN = tuple(f"playground/wann_{name}" for name in "picture player evolution tab".split())
# Tasks of weight agnostic networks that the page has a world for.
_TASKS = ("swingup", "cartpole", "digits")
_STYLES = ("page", "answer", "playground/playground", "playground/find", "playground/player", "playground/wann")


def playground(path: str | Path) -> None:
    """Write the playground: a page that finds subnetworks and evolves weight agnostic networks in a browser.

    The file needs no other file and no network. An unfinished file is never left behind.

    Args:
        path: the HTML file.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> ut.export.playground("playground.html")
        >>> import pathlib
        >>> pathlib.Path("playground.html").stat().st_size <= 400_000
        True
    """
    page = _render()
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def _render() -> str:
    engine = _join(_ENGINE + _ENGINE_FIND + _ENGINE_WANN, "js")
    # Each tab's scripts are a function, called when it is first shown.
    tabs = f"find() {{\n{_join(_PAGE_FIND, 'js')}}},\nwann() {{\n{_join(_PAGE_WANN, 'js')}}}"
    texts = {
        "css": f"\n{_join(_STYLES, 'css')}",
        "engine": f'\n"use strict";\n{engine}',
        "page": f'\n(() => {{\n"use strict";\n{_join(_PAGE, "js")}setUpTabs({{\n{tabs}\n}});\n}})();\n',
    }
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("untrained.export.browser", "playground"),
    )
    return environment.get_template("playground.html").render(
        head=write_head("untrained: the playground", _DESCRIPTION),
        policy=_write_policy(texts),
        facts=write_facts(_list_facts()),
        version=__version__,
        **{name: Markup(text) for name, text in texts.items()},
    )


def _join(names: Sequence[str], ending: str) -> str:
    return "".join(read_file(f"{name}.{ending}") for name in names)


def _write_policy(texts: dict[str, str]) -> str:
    """Return the Content-Security-Policy under which these scripts and styles are all that runs, by their sha256."""
    digests = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in texts.items()}
    script = f"'sha256-{digests['engine']}' 'sha256-{digests['page']}'"
    return (
        f"default-src 'none'; script-src {script}; style-src 'sha256-{digests['css']}'; worker-src blob:; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _list_facts() -> dict[str, Any]:
    return {"digits": _pack_digits(), "networks": {task: _read_champion(task) for task in _TASKS}}


def _read_champion(task: str) -> str:
    """Return the file of the package's champion for a task."""
    return resources.files("untrained.wann").joinpath("champions", f"{task}.json").read_text(encoding="utf-8")


def _pack_digits() -> dict[str, Any]:
    """Return the digits: for each part the levels of its pixels and its labels, deflated together."""
    data = load_data("digits")
    parts = {"train": data.train, "validation": data.val, "test": data.test}
    pixels = {name: split.images[torch.arange(len(split), device="cpu")] for name, split in parts.items()}
    levels = torch.unique(pixels["train"])
    stored = b"".join(
        each.to(torch.uint8).numpy().tobytes()
        for name, split in parts.items()
        for each in (torch.searchsorted(levels, pixels[name]), split.labels)
    )
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = squeeze.compress(stored) + squeeze.flush()
    return {
        "mean": data.mean[0],
        "std": data.std[0],
        "labels": list(data.labels),
        "parts": [(name, len(split)) for name, split in parts.items()],
        "levels": levels.tolist(),
        "packed": base64.b64encode(packed).decode(),
    }
