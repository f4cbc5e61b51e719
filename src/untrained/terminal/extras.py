"""Commands that install the optional packages of an extra, whichever way untrained itself was installed."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this environment: `pip install 'untrained[plot]'`, or from a clone.

    An installation from a folder, a repository or a file names that as its source (PEP 610), because an index may not
    have the package, or another version. Where `pip` is not this environment's, its Python is named.
    """
    found = shutil.which("pip")
    own = found is not None and Path(found).absolute().parent == Path(sys.executable).absolute().parent
    pip = "pip" if own else f"{shlex.quote(sys.executable)} -m pip"
    return f"{pip} install {_requirement(extra, _origin())}"


def _origin() -> dict[str, Any]:
    """Return what pip noted of the source of this installation; nothing if it came from an index."""
    try:
        origin = json.loads(distribution("untrained").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return origin if isinstance(origin, dict) and isinstance(origin.get("url"), str) else {}


def _requirement(extra: str, origin: dict[str, Any]) -> str:
    url: str = origin.get("url", "")
    if "dir_info" in origin:
        path = unquote(urlsplit(url).path)
        if len(path) > 2 and path[2] == ":":  # file:///C:/folder
            path = path[1:]
        return f"{'-e ' if origin['dir_info'].get('editable') else ''}'{path}[{extra}]'"
    if "vcs_info" in origin:
        return f"'untrained[{extra}] @ {origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}'"
    return f"'untrained[{extra}] @ {url}'" if url else f"'untrained[{extra}]'"
