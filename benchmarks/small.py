"""The smallest files, and the found network beside its trained twin, on test data of MNIST: seeds used nowhere else.

    .venv/bin/python benchmarks/small.py --data-dir DIR      (DIR holds MNIST/raw; about half an hour on one core)

All settings were chosen on validation data (docs/recipe.md). Every network of one group has the same
layers, norms, batches and epochs. The files are written, and their bytes are those on disk.
"""

import argparse
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from harness import measured, write
from untrained.experiments.cells import run_cell
from untrained.runs.settings import CompareSettings
from untrained.runs.table import TWIN, Cell

FC = CompareSettings(data="mnist", widths=(512, 512), epochs=5, batch_size=128, norm="batch", densities="balanced")
NARROW = replace(FC, widths=(256, 256))
PLAIN = replace(FC, norm=None, densities="uniform")
CONV = replace(FC, model="mnist-conv", widths=None, epochs=3, amp=True)
PLAIN_CONV = replace(CONV, norm=None, densities="uniform")
CODES = "nudge(step=0.5,levels=7,around=zero,last=Nudge(step=0.5,levels=31))"


@final
@dataclass(frozen=True)
class Group:
    """Rows of one network: its settings, methods with the fraction kept, and the first and the number of seeds."""

    settings: CompareSettings
    rows: tuple[tuple[str, float | None], ...]
    first: int
    seeds: int


GROUPS = {
    "found and twin, 784-512-512-10 with norms": Group(FC, ((TWIN, None), (CODES, None), ("small", 0.1)), 300, 10),
    "small, 784-512-512-10 with norms": Group(FC, (("small", 0.05), ("small", 0.03), ("small", 0.02)), 300, 3),
    "small, 784-256-256-10 with norms": Group(NARROW, (("small", 0.05), ("small", 0.03), (TWIN, None)), 300, 3),
    "without norms, 784-512-512-10": Group(PLAIN, (("edge-popup", 0.5), (TWIN, None)), 300, 3),
    "two convolutions with norms": Group(CONV, (("small", 0.05), ("small", 0.03)), 300, 2),
    "two convolutions without norms": Group(PLAIN_CONV, (("edge-popup", 0.5),), 300, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    rows = measured("small")
    for name, group in GROUPS.items():
        for seed in range(group.first, group.first + group.seeds):
            for method, keep in group.rows:
                cell = Cell(method, keep, seed)
                if any((r["group"], r["method"], r["keep"], r["seed"]) == (name, method, keep, seed) for r in rows):
                    continue  # delete the file to measure anew
                with tempfile.TemporaryDirectory() as folder:
                    settings = replace(group.settings, data_dir=arguments.data_dir)
                    found = run_cell(settings, cell, method, Path(folder) / "run")
                rows.append({"group": name, **asdict(found)})
                print(rows[-1], flush=True)
                write("small", rows)


if __name__ == "__main__":
    main()
