"""Test accuracy on MNIST: edge-popup by our recipe and by the paper's, and the trained twin; mean over seeds.

    .venv/bin/python benchmarks/accuracy.py --data-dir DIR      (DIR holds MNIST/raw; about ten minutes)

The validation part (10 %) is held out of training on all sides, and nothing here is chosen by the test data.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import untrained as ut
from harness import measured, write
from untrained.methods.recipe import PAPER, SCORES, WEIGHTS

NETWORKS = {
    "784-512-512-10": (lambda: ut.models.fc((512, 512)), 5),
    "two convolutions (32, 64), 128 hidden": (ut.models.mnist_conv, 3),
}
BATCH = 128


def run(network: str, variant: str, seed: int, data: ut.DataSet) -> dict:
    build, epochs = NETWORKS[network]
    torch.manual_seed(seed)
    model = build()
    recipe = {"trained twin": WEIGHTS, "edge-popup, our recipe": SCORES, "edge-popup, paper's recipe": PAPER}[variant]
    if variant != "trained twin":
        ut.mask_(model, ut.EdgePopup(keep=0.5), seed=seed)
    start = time.perf_counter()
    ut.fit(model, data.batches("train", BATCH, seed=seed), epochs=epochs, recipe=recipe, seed=seed)
    result = {
        "network": network,
        "variant": variant,
        "seed": seed,
        "epochs": epochs,
        "test accuracy": ut.evaluate(model, data.batches("test", 1000)).accuracy,
        "seconds": round(time.perf_counter() - start, 1),
        "bytes": 4 * sum(p.numel() for p in model.parameters()),
    }
    if variant != "trained twin":
        with tempfile.TemporaryDirectory() as folder:
            ut.save(model, Path(folder) / "found.ticket")
            result["bytes"] = (Path(folder) / "found.ticket").stat().st_size
    print(result, flush=True)
    return result


def summarised(runs: list[dict]) -> dict:
    accuracies = [round(100 * r["test accuracy"], 2) for r in runs]
    return {
        "network": runs[0]["network"],
        "variant": runs[0]["variant"],
        "epochs": runs[0]["epochs"],
        "seeds": len(runs),
        "mean": round(statistics.mean(accuracies), 2),
        "std": round(statistics.stdev(accuracies), 2) if len(runs) > 1 else None,
        "bytes": max(r["bytes"] for r in runs),
        "accuracies": accuracies,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    data = ut.load_data("mnist", arguments.data_dir)
    rows = measured("accuracy")
    for network in NETWORKS:
        for variant in ("trained twin", "edge-popup, our recipe", "edge-popup, paper's recipe"):
            if any((row["network"], row["variant"]) == (network, variant) for row in rows):
                continue  # delete the file to measure anew
            runs = [run(network, variant, seed, data) for seed in range(arguments.seeds)]
            rows.append(summarised(runs))
            write("accuracy", rows)
