"""How the default recipes were chosen: validation accuracy on MNIST, 784-512-512-10, five epochs, mean over seeds.

    .venv/bin/python benchmarks/recipe.py --data-dir DIR      (DIR holds MNIST/raw; about half an hour)

Seeds here are not those of benchmarks/accuracy.py, and the test data are never read.
"""

import argparse
import statistics

import torch

import untrained as ut
from harness import measured, write
from untrained.methods.recipe import PAPER, Recipe

KEEP = 0.5


def entry(name: str, recipe: Recipe, *, batch: int = 128, method: ut.Method | None = None, law=None, dense=False):
    return name, (recipe, batch, None if dense else method or ut.EdgePopup(KEEP), law or ut.SignedConstant())


def grid() -> dict:
    return dict(
        [
            entry("dense: SGD 0.05, decay 5e-4", Recipe(lr=0.05, weight_decay=5e-4), dense=True),
            entry("dense: SGD 0.05, decay 5e-4, warm-up", Recipe(lr=0.05, weight_decay=5e-4, warmup=1), dense=True),
            entry("dense: SGD 0.1, decay 1e-4, warm-up", Recipe(lr=0.1, weight_decay=1e-4, warmup=1), dense=True),
            entry(
                "dense: SGD 0.1, decay 1e-4, warm-up, smoothing 0.05",
                Recipe(lr=0.1, weight_decay=1e-4, warmup=1, label_smoothing=0.05),
                dense=True,
            ),
            entry("dense: Adam 2e-3", Recipe("adam", lr=2e-3), dense=True),
            entry("dense: Adam 2e-3, warm-up", Recipe("adam", lr=2e-3, warmup=1), dense=True),
            entry("scores: the paper's, SGD 0.1, decay 1e-4", PAPER),
            entry("scores: SGD 0.5, warm-up", Recipe(lr=0.5, warmup=1)),
            entry("scores: SGD 1", Recipe(lr=1.0)),
            entry("scores: SGD 1, warm-up", Recipe(lr=1.0, warmup=1)),
            entry("scores: SGD 2, warm-up", Recipe(lr=2.0, warmup=1)),
            entry("scores: SGD 4, warm-up", Recipe(lr=4.0, warmup=1)),
            entry("scores: SGD 1, warm-up, batch 64", Recipe(lr=1.0, warmup=1), batch=64),
            entry("scores: SGD 1, warm-up, momentum 0.95", Recipe(lr=1.0, warmup=1, momentum=0.95)),
            entry("scores: SGD 2, warm-up, smoothing 0.05", Recipe(lr=2.0, warmup=1, label_smoothing=0.05)),
            entry("scores: SGD 2, warm-up, smoothing 0.1", Recipe(lr=2.0, warmup=1, label_smoothing=0.1)),
            entry("scores: SGD 4, warm-up, smoothing 0.1", Recipe(lr=4.0, warmup=1, label_smoothing=0.1)),
            entry(
                "scores: SGD 2, warm-up, smoothing 0.05, batch 64",
                Recipe(lr=2.0, warmup=1, label_smoothing=0.05),
                batch=64,
            ),
            entry(
                "dense: SGD 0.1, decay 1e-4, warm-up, smoothing 0.05, batch 64",
                Recipe(lr=0.1, weight_decay=1e-4, warmup=1, label_smoothing=0.05),
                batch=64,
                dense=True,
            ),
            entry("scores: Adam 1e-3, warm-up", Recipe("adam", lr=1e-3, warmup=1)),
            entry("scores: Adam 2e-3, warm-up", Recipe("adam", lr=2e-3, warmup=1)),
            entry("scores: SGD 1, warm-up, signed", Recipe(lr=1.0, warmup=1), method=ut.EdgePopup(KEEP, signed=True)),
            entry("scores: SGD 1, warm-up, global", Recipe(lr=1.0, warmup=1), method=ut.EdgePopup(KEEP, "global")),
            entry("scores: SGD 1, warm-up, Kaiming normal", Recipe(lr=1.0, warmup=1), law=ut.KaimingNormal()),
            entry("scores: SGD 1, warm-up, scaled", Recipe(lr=1.0, warmup=1), law=ut.SignedConstant(scaled=True)),
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    data = ut.load_data("mnist", arguments.data_dir)
    rows = measured("recipe")
    for name, (recipe, batch, method, law) in grid().items():
        if any(row["recipe"] == name for row in rows):
            continue  # delete the file to measure anew
        accuracies = []
        for seed in range(100, 100 + arguments.seeds):
            torch.manual_seed(seed)
            model = ut.models.fc((512, 512))
            if method is not None:
                ut.mask_(model, method, seed=seed, weights=law)
            train, val = data.batches("train", batch, seed=seed), data.batches("val", 1000)
            last = ut.fit(model, train, val, epochs=5, recipe=recipe).rows[-1]
            accuracies.append(round(100 * last["val_accuracy"], 2))
        rows.append({"recipe": name, "mean": round(statistics.mean(accuracies), 2), "accuracies": accuracies})
        print(rows[-1], flush=True)
        write("recipe", rows)
