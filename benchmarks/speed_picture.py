"""The picture of docs/speed.md, from benchmarks/results: a training step, and packed layers.

.venv/bin/python benchmarks/speed_picture.py    writes docs/speed.png
"""

from pathlib import Path

import matplotlib as mpl

from harness import measured
from tables import LEVELS, packed

mpl.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent.parent / "docs"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#767676"  # Okabe and Ito, but for the grey
STEP = (("edge-popup", BLUE), ("edge-popup, no compiler", ORANGE), ("edge-popup, naive (sorts)", GREY))
INFER = tuple(zip(LEVELS.values(), (BLUE, ORANGE, GREY), strict=True))


def dots(axes, groups: dict[str, list[dict]], variants: tuple[tuple[str, str], ...]) -> None:
    """Median ratios of every group, from the top down, with a line from the least to the most."""
    height = 0.8 / len(variants)
    for row, timings in enumerate(groups.values()):
        by = {t["variant"]: t for t in timings}
        for place, (variant, colour) in enumerate(variants):
            t, y = by[variant], row + (place - 1) * height
            axes.plot([t["least"], t["most"]], [y, y], color=colour, linewidth=1.5)
            axes.plot(t["ratio"], y, "o", color=colour, markersize=6, label=None if row else variant)
            axes.annotate(f"{t['ratio']:.2f}", (t["most"], y), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e0e0e0", linewidth=0.6)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def main() -> None:
    """Draw both panels, and write them as a PNG."""
    steps = {name.replace(", batch", ",\nbatch").replace(" of ", "\nof "): t for name, t in measured("step").items()}
    layers = {
        f"{kept} % kept": [
            packed(level, 4096, kept, 1)["packed"] | {"variant": title} for level, title in LEVELS.items()
        ]
        for kept in (50, 10, 3, 1)
    }
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 8.2), height_ratios=(6, 4), layout="constrained")
    dots(above, steps, STEP)
    above.set_xscale("log")
    above.set_xlim(0.6, 30)
    above.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    above.set_xticks([], minor=True)
    above.set_title("A step of the search: time relative to a training step", loc="left", size=11)
    dots(below, layers, INFER)
    below.set_xscale("log")
    below.set_xlim(0.015, 2)
    below.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    below.set_xticks([], minor=True)
    below.set_title("A 4096² layer, one input: time relative to float32", loc="left", size=11)
    figure.savefig(DOCS / "speed.png", dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
