"""How each method's default recipe was chosen: validation accuracy on MNIST, 784-512-512-10, five epochs, two seeds.

    .venv/bin/python benchmarks/method_recipes.py --data-dir DIR      (DIR holds MNIST/raw; half an hour)

Seeds here are not those of benchmarks/compare.py, and the test data are never read.
"""

import argparse
import statistics

import torch
from joblib import Parallel, delayed

import untrained as ut
from harness import measured, write
from untrained.methods.recipe import Recipe

SEEDS = 100, 101
BATCH = 128


def sgd(lr: float, decay: float = 0.0) -> Recipe:
    return Recipe("sgd", lr=lr, weight_decay=decay, warmup=1.0, label_smoothing=0.05)


def adam(lr: float) -> Recipe:
    return Recipe("adam", lr=lr, warmup=1.0, label_smoothing=0.05)


def down(until: float, scope: str = "global") -> ut.EdgePopup:
    return ut.EdgePopup(ut.Cubic(0.5, 0.1, until=until), scope=scope)


GRID = [
    *(("biprop", ut.Biprop(), sgd(lr)) for lr in (1, 2, 4)),
    *(("multicoated", ut.Multicoated(), sgd(lr)) for lr in (0.25, 0.5, 1)),
    *(("gem-miner", ut.GemMiner(), how) for how in (sgd(4), sgd(16), sgd(64), adam(0.01), adam(0.03))),
    *(("iterand", ut.IteRand(), sgd(lr)) for lr in (1, 2, 4)),
    *(("slot-machines", ut.SlotMachines(), sgd(lr)) for lr in (0.5, 2, 8)),
    *(
        ("slot-machines(greedy=False)", ut.SlotMachines(greedy=False), how)
        for how in (sgd(200), sgd(800), sgd(3200), adam(0.3), adam(1))
    ),
    *(("signed-supermask", ut.SignedSupermask(), sgd(*how)) for how in ((1, 0), (2, 0), (1, 1e-4), (1, 1e-3))),
    *(("threshold", ut.Threshold(), sgd(lr)) for lr in (0.5, 2, 8)),
    *(
        ("bernoulli", ut.Bernoulli(), how)
        for how in (*map(sgd, (100, 400, 1600, 6400, 25600)), adam(0.1), adam(0.3), adam(1))
    ),
    *(("fedpm", ut.FedPM(), adam(lr)) for lr in (0.1, 0.3, 1)),
    *(("relaxed-bernoulli", ut.RelaxedBernoulli(), how) for how in (adam(0.03), adam(0.1), adam(0.3), sgd(100))),
    ("edge-popup, keep 0.1", ut.EdgePopup(0.1), sgd(2)),
    ("edge-popup, keep 0.1, global, at once", ut.EdgePopup(0.1, scope="global"), sgd(2)),
    *((f"edge-popup, keep 0.1, global, until {until}", down(until), sgd(2)) for until in (0.25, 0.5, 0.75)),
    ("edge-popup, keep 0.1, normalised, until 0.5", down(0.5, "normalised"), sgd(2)),
]


def run(name: str, method: ut.Method, recipe: Recipe, data: ut.DataSet) -> dict:
    torch.set_num_threads(1)
    accuracies, kept = [], []
    for seed in SEEDS:
        model = ut.mask_(ut.models.fc((512, 512)), method, seed=seed)
        train, val = data.batches("train", BATCH, seed=seed), data.batches("val", 1000)
        last = ut.fit(model, train, val, epochs=5, recipe=recipe, seed=seed, title=None).rows[-1]
        accuracies.append(round(100 * last["val_accuracy"], 2))
        summary = ut.summary(model)
        kept.append(summary.kept / summary.weights)
    return {
        "method": name,
        "recipe": described(recipe),
        "mean": round(statistics.mean(accuracies), 2),
        "accuracies": accuracies,
        "kept": round(statistics.mean(kept), 3),
    }


def described(recipe: Recipe) -> str:
    decay = f", decay {recipe.weight_decay:g}" if recipe.weight_decay else ""
    return f"{ {'sgd': 'SGD', 'adam': 'Adam'}[recipe.optimizer] } {recipe.lr:g}{decay}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    data = ut.load_data("mnist", arguments.data_dir)
    rows = measured("method_recipes")
    done = {(row["method"], row["recipe"]) for row in rows}  # delete the file to measure anew
    missing = [each for each in GRID if (each[0], described(each[2])) not in done]
    for row in Parallel(n_jobs=-1, return_as="generator")(delayed(run)(*each, data) for each in missing):
        rows.append(row)
        print(row, flush=True)
        write("method_recipes", rows)
