"""How the recipe for small files was chosen: validation data of MNIST, five epochs, three seeds used nowhere else.

    .venv/bin/python benchmarks/small_settings.py --data-dir DIR      (DIR holds MNIST/raw; about ten minutes)

Each row changes one thing of "small". The test data are never read. The loss is the cross entropy on validation data.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, final

import torch

import untrained as ut
from harness import measured, write

SMALL = ut.EdgePopup(keep=0.03, signed=True)
RULES = {"uniform": ut.last, "balanced": ut.balanced, "erk": ut.erk}


@final
@dataclass(frozen=True)
class Setting:
    """Network, method of the hidden layers and of the last one, and the rate of the hidden layers."""

    method: ut.EdgePopup = SMALL
    last: ut.Nudge | None = ut.Nudge(step=1.0, levels=7)  # noqa: RUF009  a frozen dataclass
    densities: Literal["uniform", "balanced", "erk"] = "balanced"
    lr: float = 4.0
    norm: Literal["batch"] | None = "batch"
    widths: tuple[int, ...] = (256, 256)


BASE = Setting()
SETTINGS = {
    "small": BASE,
    "rate 2": replace(BASE, lr=2.0),
    "rate 8": replace(BASE, lr=8.0),
    "the same keep in every layer": replace(BASE, densities="uniform"),
    "keep by ERK": replace(BASE, densities="erk"),
    "ranked by the size of the score": replace(BASE, method=replace(SMALL, signed=False)),
    "finer steps in the last layer": replace(BASE, last=ut.Nudge(step=0.5, levels=31)),
    "coarser steps in the last layer": replace(BASE, last=ut.Nudge(step=2.0, levels=3)),
    "a mask in the last layer": replace(BASE, last=None),
    "no norm": replace(BASE, norm=None),
    "wider and sparser, 512-256, keep 0.015": replace(BASE, method=replace(SMALL, keep=0.015), widths=(512, 256)),
    "edge-popup, keep 0.5, no norm": Setting(ut.EdgePopup(0.5), None, "uniform", 2.0, None),
    "edge-popup, keep 0.5": Setting(ut.EdgePopup(0.5), None, "uniform", 2.0),
}


def measure(setting: Setting, data: ut.DataSet, seed: int) -> tuple[float, float, int]:
    """Return (validation accuracy in percent, validation loss, bytes of the ticket)."""
    torch.manual_seed(seed)
    model = ut.models.fc(setting.widths, norm=setting.norm, shape=data.shape)
    if setting.last is None:
        methods: Any = setting.method if setting.densities == "uniform" else ut.balanced(model, setting.method)
    else:
        methods = RULES[setting.densities](model, setting.method, setting.last)
    ut.mask_(model, methods, seed=seed, weights=ut.SignedConstant())
    hidden = [methods] if isinstance(methods, ut.Method) else [m for m in methods.values() if m != setting.last]
    recipes = {method: replace(ut.SCORES, lr=setting.lr) for method in hidden}
    if setting.last is not None:
        recipes[setting.last] = setting.last.recipe
    ut.fit(model, data.batches("train", 128, seed=seed), epochs=5, recipe=recipes, seed=seed, title=None)
    batches = data.batches("train", 1280, seed=seed)
    ut.calibrate_(model, [batch for batch, _ in zip(batches, range(10), strict=False)], dtype=torch.float8_e4m3fn)
    found = ut.evaluate(model, data.batches("val", 1000))
    with TemporaryDirectory() as folder:
        ut.save(model, path := Path(folder) / "found.ticket")
        return 100 * found.accuracy, found.loss, path.stat().st_size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = ut.load_data("mnist", arguments.data_dir)
    rows = measured("small_settings")
    for name, setting in SETTINGS.items():
        if any(row["setting"] == name for row in rows):
            continue  # delete the file to measure anew
        accuracies, losses, sizes = zip(*(measure(setting, data, seed) for seed in range(400, 403)), strict=True)
        row = {
            "setting": name,
            "accuracies": [round(a, 3) for a in accuracies],
            "losses": [round(x, 5) for x in losses],
        }
        rows.append({**row, "bytes": round(statistics.mean(sizes))})
        print(rows[-1], flush=True)
        write("small_settings", rows)
