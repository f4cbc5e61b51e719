"""The machines of a run, noted in its folder: on another one, the same settings may find another network."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from untrained._version import __version__
from untrained.fields import check_fields
from untrained.files import read_json_lines, write_json_lines
from untrained.native import processor
from untrained.search.run_files import MACHINE
from untrained.terminal.text import clean

if TYPE_CHECKING:
    import torch

_MOST = 64


@final
@dataclass(frozen=True)
class Machine:
    """Facts on which the bits of a search depend; none of them names a host, a user or a place.

    Attributes:
        processor: its name.
        system: the operating system and the kind of processor.
        cores: number of logical cores.
        threads: number of threads, or of processes, of the search.
        uses: what computes, with versions: the graphics processor, torch and our kernels, or numpy and numba.
        untrained: version of this package.
    """

    processor: str
    system: str
    cores: int
    threads: int
    uses: str
    untrained: str

    def __post_init__(self) -> None:
        check_fields(self)

    @staticmethod
    def here(threads: int, uses: str) -> Machine:
        """Return the facts of this machine."""
        system = f"{platform.system()} {platform.machine()}"
        return Machine(processor.name(), system, os.cpu_count() or 1, threads, uses, __version__)

    @staticmethod
    def with_torch(device: torch.device) -> Machine:
        """Return the facts of this machine, for a search by torch on a device, of this moment."""
        import torch

        from untrained.native.library import status

        gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
        kernels = f"kernels {status().level}" if status().level else "no kernels"
        return Machine.here(torch.get_num_threads(), ", ".join([*gpu, f"torch {torch.__version__}", kernels]))

    def __str__(self) -> str:
        counts = f"{self.cores} core{'s' * (self.cores != 1)}, {self.threads} thread{'s' * (self.threads != 1)}"
        return clean(f"{self.processor}, {self.system}, {counts}, {self.uses}, untrained {self.untrained}", 400)


def note_machine(folder: Path, machine: Machine) -> None:
    """Add a machine to those of a run's folder, unless it is there."""
    known = [row for row in read_json_lines(folder / MACHINE) if row is not None]
    if asdict(machine) not in known:
        write_json_lines(folder / MACHINE, [*known, asdict(machine)], ensure_ascii=False)


def read_machines(folders: Iterable[Path], gaps: list[str]) -> list[Machine]:
    """Return the machines of these folders, each once; add a sentence to `gaps` if lines are damaged."""
    found: dict[Machine, None] = {}
    for row in (row for folder in folders for row in read_json_lines(folder / MACHINE)):
        try:
            found[Machine(**(row or {}))] = None
        except (TypeError, ValueError):
            gaps.append(f"{MACHINE} is damaged: a machine of this run is not known.")
    return list(found)[:_MOST]


def machine_lines(machines: Iterable[Machine]) -> str:
    """Return a line for each machine, and what made the page, if no machine is known."""
    return "\n".join(f"machine: {each}" for each in machines) or f"made with: untrained {__version__}"
