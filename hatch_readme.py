"""The README as PyPI shows it: links and pictures that are files of the repository get whole addresses."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!https?:|#)([^)\s]+\))")


def with_addresses(text: str, repository: str) -> str:
    """Return Markdown whose relative links lead to the main branch of a repository on GitHub; code is left as it is."""
    # Every second part is a block of code.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    parts[::2] = [
        _LINK.sub(
            lambda found: f"{found[1]}{found[2]}{repository}/{'raw' if found[1] else 'blob'}/main/{found[3]}", part
        )
        for part in parts[::2]
    ]
    return "".join(parts)


class Readme(MetadataHookInterface):
    """The fields of the metadata that contain the repository's address, which pyproject.toml states once."""

    def update(self, metadata: dict) -> None:
        """Set the addresses and the README."""
        repository = self.config["repository"]
        metadata["urls"] = {
            "Repository": repository,
            "Documentation": f"{repository}/tree/main/docs",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_addresses(text, repository)}
