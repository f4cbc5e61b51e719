"""The command `playground`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from untrained.cli.app import app
from untrained.terminal.text import say


@app.command
def playground(*, out: Path = Path("playground.html"), no_open: bool = False) -> None:
    """Write the playground, a page that finds and evolves networks in your browser, and open it.

    The page is one file: it needs no network, and it asks for nothing.

    Args:
        out: The file.
        no_open: Write the file only.
    """
    from untrained.export import playground as write

    write(out)
    say(f"{out}: {out.stat().st_size:,} bytes")
    if not no_open:
        webbrowser.open(out.resolve().as_uri())
