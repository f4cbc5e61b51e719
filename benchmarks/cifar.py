"""CIFAR-10 in three epochs: found networks beside the trained twin and a trained ternary network, on Conv2.

    .venv/bin/python benchmarks/cifar.py --data DIR      (DIR holds train/CLASS/*.jpg and test/CLASS/*.jpg)

All networks have a batch norm without scale and shift, and compute in bfloat16. An epoch takes two minutes on a core of
a processor with AMX. A run that was stopped goes on. The 100 epochs of the paper, on one GPU (Conv4: --model conv4):

    untrained compare --data DIR --model conv2 --recipe small --epochs 100 --batch-size 128 --amp --device cuda \\
        --methods "edge-popup(keep=0.5),small(keep=0.05),ternary-twin"
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from harness import measured, write
from untrained.experiments.cells import run_cell
from untrained.runs.settings import CompareSettings
from untrained.runs.table import TWIN, Cell

ROWS = {
    "conv2": ([TWIN, "edge-popup(keep=0.5)", "small(keep=0.05)", "ternary-twin"], 3, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()
    rows = measured("cifar")
    for model, (methods, epochs, seeds) in ROWS.items():
        settings = CompareSettings(
            model=model,
            norm="batch",
            densities="balanced",
            data=arguments.data,
            epochs=epochs,
            batch_size=128,
            amp=True,
        )
        for seed in range(seeds):
            for method in methods:
                if any((row["model"], row["method"], row["seed"]) == (model, method, seed) for row in rows):
                    continue  # delete the file to measure anew
                with tempfile.TemporaryDirectory() as folder:
                    cell = run_cell(settings, Cell(method, None, seed), method, Path(folder) / "run")
                rows.append({"model": model, "epochs of each": epochs, **asdict(cell)})
                print(rows[-1], flush=True)
                write("cifar", rows)


if __name__ == "__main__":
    main()
