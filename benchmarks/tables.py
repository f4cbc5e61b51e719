"""Write the measured figures into the README and the docs, between their markers.

.venv/bin/python benchmarks/tables.py            rewrite
.venv/bin/python benchmarks/tables.py --check    exit with 1 if a page is not what it would write
"""

import re
import sys
from pathlib import Path

import untrained as ut
from harness import measured

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/api.md", "docs/recipe.md", "docs/speed.md")


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def accuracy() -> str:
    rows = [
        [
            f"{row['network']}, {row['variant']}",
            str(row["epochs"]),
            f"{row['mean']:.2f} ± {row['std']:.2f}",
            f"{row['bytes']:,}",
        ]
        for row in measured("accuracy")
    ]
    return table(["MNIST, 3 seeds", "epochs", "test accuracy, %", "bytes to ship"], rows)


def recipe() -> str:
    rows = [
        [row["recipe"], f"{row['mean']:.2f}", ", ".join(f"{a:.2f}" for a in row["accuracies"])]
        for row in measured("recipe")
    ]
    return table(["recipe", "validation accuracy, %", "each seed"], rows)


def step() -> str:
    rows = [
        [
            name,
            f"{by['dense']['ms']:.1f}",
            f"{by['edge-popup']['ratio']:.2f}",
            f"{by['edge-popup, naive (sorts)']['ratio']:.2f}",
        ]
        for name, timings in measured("step").items()
        for by in [{t["variant"]: t for t in timings}]
    ]
    return table(["a training step, one thread", "dense, ms", "edge-popup, × dense", "naive, sorting, × dense"], rows)


def choice() -> str:
    blocks = []
    for title, timings in measured("choice").items():
        rows = [
            [t["variant"], f"{t['ms']:.3f}", f"{t['ratio']:.4f}", f"{t['least']:.4f} – {t['most']:.4f}"]
            for t in timings
        ]
        blocks.append(table([title, "ms", "ratio", "least – most"], rows))
    return "\n\n".join(blocks)


def demo() -> str:
    shown = (ROOT / "docs" / "demo.txt").read_text().strip("\n")
    return f"```console\n$ make demo\n{shown}\n```"


def api() -> str:
    """A line per public name: the first of its docstring."""
    rows = []
    for name in sorted(set(ut.__all__) - {"__version__"}, key=lambda name: (name.lower(), name)):
        thing = getattr(ut, name)
        says = repr(thing) if isinstance(thing, ut.Recipe) else (thing.__doc__ or "").strip().splitlines()[0]
        rows.append([f"`{name}`", says.replace("|", "\\|")])
    return table(["name", "what it is"], rows).replace("---:", "---")


def rewritten(text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        return f"<!-- figures: {match[1]} -->\n{globals()[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    stale = [page for page in PAGES if rewritten((ROOT / page).read_text()) != (ROOT / page).read_text()]
    if "--check" in sys.argv:
        print("\n".join(f"{page}: its figures are not those of benchmarks/results" for page in stale))
        sys.exit(bool(stale))
    for page in stale:
        (ROOT / page).write_text(rewritten((ROOT / page).read_text()))
