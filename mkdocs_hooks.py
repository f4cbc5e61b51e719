"""Hooks of the documentation site: it contains the playground."""

import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from untrained.export import playground


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the playground, a file that is written anew for each build."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "playground.html")
        playground(path)
        files.append(File.generated(config, "playground/playground.html", content=path.read_bytes()))
    return files
