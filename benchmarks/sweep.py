"""The sweeps of docs/story.md: accuracy against the fraction kept, the width and the law of the weights, on MNIST.

    .venv/bin/python benchmarks/sweep.py --data-dir DIR      (DIR holds MNIST/raw; about twenty minutes on one core)

Goes on where it was interrupted; what is in benchmarks/results/sweep_*.json is not measured again. Nothing is chosen by
the test data: every value is shown, and the last epoch counts.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from harness import measured, write
from untrained.experiments.sweep import sweep

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "benchmarks"
MNIST = {"data": "mnist", "widths": (128, 128), "epochs": 5, "batch_size": 128, "seeds": 3}
LAWS = (
    f"{law}{scaled}"
    for law in ("signed-constant", "kaiming-normal", "kaiming-uniform", "xavier-normal")
    for scaled in ("", "(scaled=True)")
)
SWEEPS = {
    "sweep_keep": {"keep": "0.02,0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"},
    "sweep_width": {"width": "0.125,0.25,0.5,1,2,4"},
    "sweep_weights": {"weights": ",".join(LAWS)},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", choices=SWEEPS)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as every search does
    for name, settings in SWEEPS.items():
        if measured(name) or arguments.only not in (None, name):
            continue
        out, begun = RUNS / name, (RUNS / name / "cells").is_dir()
        found = sweep(
            **MNIST, **settings, out=out, resume=begun, data_dir=arguments.data_dir, jobs=arguments.jobs, device="cpu"
        )
        write(name, [asdict(line) for line in found.lines])
        if found.picture is not None:
            shutil.copy(found.picture, ROOT / "docs" / f"{name}.png")
