"""The tables of docs/methods.md: every method on digits and MNIST, edge-popup at a low keep, by `untrained compare`.

    .venv/bin/python benchmarks/compare.py --data-dir DIR      (DIR holds MNIST/raw; about an hour on 2 cores)

Goes on where it was interrupted; what is in benchmarks/results/compare_*.json is not measured again.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import untrained as ut
from harness import measured, write

RUNS = Path(__file__).parent.parent / "runs" / "benchmarks"
MORE = (
    "edge-popup(scope=global)",
    "edge-popup(structure=NofM(2,4))",
    "edge-popup(scope=normalised)",
    "slot-machines(greedy=False)",
    "threshold(ternary=True)",
)
LOW = "edge-popup,edge-popup(scope=global),edge-popup(scope=normalised)"
MNIST = {"data": "mnist", "widths": (512, 512), "epochs": 5, "batch_size": 128}
COMPARISONS = {
    "compare_digits": {"method": MORE, "widths": (256, 256), "epochs": 30},
    "compare_mnist": {"method": MORE[:2], "keep": "0.5,0.1", **MNIST},
    "compare_low": {"methods": LOW, "keep": "0.05", **MNIST},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", choices=COMPARISONS)
    arguments = parser.parse_args()
    for name, settings in COMPARISONS.items():
        if measured(name) or arguments.only not in (None, name):
            continue
        out = RUNS / name
        found = ut.compare(out=out, resume=(out / "cells").is_dir(), data_dir=arguments.data_dir, **settings)
        write(name, [asdict(line) for line in found.lines])
        if found.picture is not None and name == "compare_mnist":
            shutil.copy(found.picture, Path(__file__).parent.parent / "docs" / f"{name}.png")
