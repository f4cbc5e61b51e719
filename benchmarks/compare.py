"""The tables of docs/methods.md: every method on digits and MNIST, edge-popup at a low keep, by `untrained compare`.

    .venv/bin/python benchmarks/compare.py --data-dir DIR      (DIR holds MNIST/raw; about an hour on 2 cores)
    .venv/bin/python benchmarks/compare.py --only compare_own  (the table of docs/write-a-method.md; a minute)

Goes on where it was interrupted; what is in benchmarks/results/compare_*.json is not measured again.
"""

import argparse
import contextlib
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import untrained as ut
from harness import measured, write

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "benchmarks"
MORE = (
    "edge-popup(scope=global)",
    "edge-popup(structure=NofM(2,4))",
    "edge-popup(scope=normalised)",
    "slot-machines(greedy=False)",
    "threshold(ternary=True)",
)
LOW = "edge-popup,edge-popup(scope=global),edge-popup(scope=normalised)"
MNIST = {"data": "mnist", "widths": (512, 512), "epochs": 5, "batch_size": 128}
OWN = {"method": ("mine.py:Saliency",), "methods": "edge-popup", "widths": (256, 256), "epochs": 30}
COMPARISONS = {
    "compare_own": OWN,
    "compare_own_laws": {**OWN, "weights": "kaiming-normal"},
    "compare_digits": {"method": MORE, "widths": (256, 256), "epochs": 30},
    "compare_mnist": {"method": MORE[:2], "keep": "0.5,0.1", **MNIST},
    "compare_low": {"methods": LOW, "keep": "0.05", **MNIST},
}


def write_method() -> None:
    """Write the method of docs/write-a-method.md into the folder of the runs."""
    text = (ROOT / "docs" / "write-a-method.md").read_text(encoding="utf-8")
    method = re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert method is not None
    RUNS.mkdir(parents=True, exist_ok=True)
    (RUNS / "mine.py").write_text(method[1], encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", choices=COMPARISONS)
    arguments = parser.parse_args()
    data_dir = arguments.data_dir and Path(arguments.data_dir).resolve()
    write_method()
    for name, settings in COMPARISONS.items():
        if measured(name) or arguments.only not in (None, name):
            continue
        out = RUNS / name
        with contextlib.chdir(RUNS):  # where mine.py is
            found = ut.compare(out=out, resume=(out / "cells").is_dir(), data_dir=data_dir, **settings)
        write(name, [asdict(line) for line in found.lines])
        if found.picture is not None and name == "compare_mnist":
            shutil.copy(found.picture, ROOT / "docs" / f"{name}.png")
