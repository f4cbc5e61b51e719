"""Write the measured figures into the README and the docs, between their markers.

.venv/bin/python benchmarks/tables.py            rewrite
.venv/bin/python benchmarks/tables.py --check    exit with 1 if a page is not what it would write
"""

import ast
import re
import statistics
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import untrained as ut
from harness import measured
from markdown_table import table
from tables_bank import bank_inferring, bank_peers, bank_says, bank_scenarios, bank_switching  # noqa: F401  by name
from tables_playground import playground  # noqa: F401  by name
from tables_production import production_files, production_forms  # noqa: F401  by name
from tables_wann import (  # noqa: F401  by name
    wann_activations,
    wann_biped,
    wann_champions,
    wann_classics,
    wann_commands,
    wann_found,
    wann_islands,
    wann_measures,
    wann_search,
    wann_seeds,
    wann_speed,
    wann_story,
    wann_tuning,
)
from untrained.packed.kernels import LISTS_UP_TO, LOOKUP_UP_TO
from untrained.runs.table import TWIN

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/api.md",
    "docs/bank.md",
    "docs/frontier.md",
    "docs/index.md",
    "docs/methods.md",
    "docs/playground.md",
    "docs/production.md",
    "docs/recipe.md",
    "docs/speed.md",
    "docs/story.md",
    "docs/wann.md",
    "docs/write-a-method.md",
)


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


def method_recipes() -> str:
    rows = [
        [row["method"], row["recipe"], f"{row['mean']:.2f}", f"{100 * row['kept']:.1f} %"]
        for row in measured("method_recipes")
    ]
    return table(["method", "recipe", "validation accuracy, %", "kept"], rows).replace("---:", "---", 1)


def accuracy_says() -> str:
    """The fully connected network of `accuracy` in a sentence."""
    by = {row["variant"]: row for row in measured("accuracy") if row["network"] == "784-512-512-10"}
    found, twin = by["edge-popup, our recipe"], by["trained twin"]
    return (
        f"A 784-512-512-10 network on MNIST, {found['epochs']} epochs, mean of 3 seeds: the found subnetwork reaches "
        f"{found['mean']:.2f} ± {found['std']:.2f} % test accuracy in {found['bytes']:,} bytes, the trained twin "
        f"{twin['mean']:.2f} ± {twin['std']:.2f} % in {twin['bytes']:,} bytes."
    )


def compared() -> str:
    """Every method on MNIST and on the digits; what is beside the accuracies was measured on MNIST."""
    on_digits = {(line["method"], line["keep"]): line for line in measured("compare_digits")}
    on_mnist = {(line["method"], line["keep"]): line for line in measured("compare_low") + measured("compare_mnist")}
    first = [(line["method"], line["keep"]) for line in measured("compare_mnist")]
    cells = dict.fromkeys([*first, *on_mnist, *on_digits])
    place = {name: at for at, name in enumerate(dict.fromkeys(name for name, _ in cells))}
    rows = []
    for name, keep in sorted(cells, key=lambda cell: (place[cell[0]], -(cell[1] or 0))):
        mnist, digits = on_mnist.get((name, keep)), on_digits.get((name, keep))
        rows.append([name, "" if keep is None else f"{keep:g}", _accuracy(mnist), _accuracy(digits), *_size(mnist)])
    titles = ["method", "keep", "MNIST, %", "digits, %", "kept", "bits per weight", "bytes to ship", "seconds an epoch"]
    return table(titles, rows)


def _accuracy(line: dict | None) -> str:
    if line is None:
        return ""
    return f"{100 * line['accuracy']:.2f} ± {100 * line['std']:.2f}" if line["seeds"] else line["error"]


def _size(line: dict | None) -> list[str]:
    if line is None:
        return [""] * 4
    kept, size = f"{100 * line['kept']:.1f} %", f"{line['file_bytes']:,.0f}"
    return [kept, f"{line['bits']:.3f}", size, f"{line['seconds']:.2f}"]


def step(name: str = "step") -> str:
    """Every variant of a step, with the least and the most."""
    found = measured(name)
    rows = [
        [
            network,
            f"{dense['ms']:.1f}",
            *(f"{other['ratio']:.2f} ({other['least']:.2f} – {other['most']:.2f})" for other in others),
        ]
        for network, (dense, *others) in found.items()
    ]
    variants = [other["variant"] for other in next(iter(found.values()))[1:]]
    return table(["a training step, × dense", "dense, ms", *variants], rows)


def step_says() -> str:
    """The least and the greatest ratio over the networks of `step`."""

    def span(variant: str) -> str:
        ratios = [row["ratio"] for rows in measured("step").values() for row in rows if row["variant"] == variant]
        return f"{min(ratios):.2f} to {max(ratios):.2f} times"

    return (
        f"On {len(measured('step'))} networks, a step of the search took {span('edge-popup')} as long as a training "
        f"step, and {span('edge-popup, no compiler')} without a compiler. With all scores sorted in every pass, "
        f"as in the paper's code, it took {span('edge-popup, naive (sorts)')} as long."
    )


def choice() -> str:
    """Milliseconds at three sizes, and the ratios at a million weights."""
    sizes = "100,000", "1,000,000", "2,400,000"
    results = measured("choice")
    to_mul = [results[f"choice of half of n = {n}, × torch.mul"] for n in sizes]
    to_sort = results["choice of half of n = 1,000,000, × torch.sort"]
    rows = [
        [
            here[1]["variant"],
            *(f"{t['ms']:.3f}" for t in here),
            f"{by_sort['ratio']:.4f}",
            f"{here[1]['ratio']:.2f} ({here[1]['least']:.2f} – {here[1]['most']:.2f})",
        ]
        for *here, by_sort in zip(*to_mul, to_sort, strict=True)
    ]
    return table(["half of n weights, ms", *(f"n = {n}" for n in sizes), "× torch.sort", "× torch.mul"], rows)


LEVELS = {"avx512": "AVX-512", "avx2": "AVX2", "portable": "portable"}


def packed(level: str, side: int, kept: int, batch: int) -> dict[str, dict]:
    """The timings of a packed layer by variant; "packed" is the one by which a layer of `pack_` runs at this level."""
    timings = measured("infer")[f"{level}: weights {side} x {side}, {kept}% kept, batch {batch}"]
    by = {t["variant"]: t for t in timings}
    how = "torch float32" if batch > LOOKUP_UP_TO[torch.float32][level] else "untrained: lookup"
    return {**by, "packed": by["untrained: lists" if kept <= 100 * LISTS_UP_TO[level] else how]}


def infer() -> str:
    """Packed layers beside torch's, and at every level of instruction sets."""
    rows = []
    for side in (1024, 4096):
        for kept in (50, 3, 1):
            for batch in (1, 8, 64):
                best, *lower = (packed(level, side, kept, batch) for level in LEVELS)
                ratios = [best[v] for v in ("torch bfloat16", "torch int8 dynamic", "packed")]
                ratios += [timings["packed"] for timings in lower] + [best["floor: reading the packed bytes"]]
                cells = [f"{t['ratio']:.3f}" for t in ratios]
                rows.append([f"{side}²", f"{kept} %", str(batch), f"{best['torch float32']['ms']:.3f}", *cells])
    titles = ["bfloat16", "int8 dynamic", *(f"packed, {title}" for title in LEVELS.values()), "floor"]
    return table(["weights", "kept", "batch", "float32, ms", *titles], rows)


def infer_says() -> str:
    """The least gains of packed layers over the levels, for the README."""

    def least(kept: int) -> str:
        slowest = max(LEVELS, key=lambda level: packed(level, 4096, kept, 1)["packed"]["ratio"])
        gain = 1 / packed(slowest, 4096, kept, 1)["packed"]["ratio"]
        return f"{gain:.1f} times" if gain < 10 else f"{gain:.0f} times"

    return (
        f"A Linear layer of 4096 × 4096 computes one input {least(3)} as fast as torch's float32 where 3 % is kept, "
        f"and {least(50)} as fast where half is: the least of AVX-512, AVX2 and portable kernels, each against torch "
        "at its level, on one thread."
    )


def timings(name: str, title: str, decimals: str) -> str:
    """The table of results/<name>.json whose title begins with this word."""
    full, rows = next((full, rows) for full, rows in measured(name).items() if full.startswith(title))
    cells = [
        [t["variant"], f"{t['ms']:.3f}", *(f"{t[which]:.{decimals}f}" for which in ("ratio", "least", "most"))]
        for t in rows
    ]
    return table([full, "ms", "ratio", "least", "most"], cells)


def fit() -> str:
    """The rounds of twin and subnetwork, and their recipes."""
    results = measured("fit")
    if not results:
        return ""
    rows = [
        [
            f"{r['twin_s']:.2f}",
            f"{100 * r['twin']:.2f}",
            f"{r['found_s']:.2f}",
            f"{100 * r['found']:.2f}",
            f"{r['ratio']:.2f}",
        ]
        for r in results["rounds"]
    ]
    titles = ["twin, CPU s", "its test accuracy, %", "subnetwork, CPU s", "its test accuracy, %", "ratio"]
    chosen = []
    for side in ("twin", "found"):
        its = results[side]
        tried = [row for row in results["tried"] if row["side"] == side and row["thirds"] == its["thirds"] - 1]
        shorter = 100 * max(row["accuracy"] for row in tried)
        chosen.append(
            f"{side}: lr {its['lr']:g}, momentum {its['momentum']:g}, batch {its['batch']}, {its['thirds']}/3 epochs"
            + (f", keep {its['keep']:g}" if side == "found" else "")
            + f" (at a third less the best reached {shorter:.2f} % on validation data)"
        )
    return f"{table(titles, rows)}\n\nMedian ratio {results['ratio']:.2f}. Chosen: {'; '.join(chosen)}."


def memory() -> str:
    rows = [
        [row["what"], row["variant"], f"{row['between']:.1f}" if "between" in row else "", f"{row['within']:.1f}"]
        for row in measured("memory")
    ]
    titles = ["bytes a weight", "variant", "held between steps", "more than that within"]
    return table(titles, rows).replace("---:", "---", 1)


def demo() -> str:
    shown = (ROOT / "docs" / "demo.txt").read_text().strip("\n")
    return f"```console\n$ make demo\n{shown}\n```"


def demo_table() -> str:
    """The table of the demo, without its seconds."""
    row = re.compile(r"^  (\S.*?)  +([\d.]+%) +([\d,]+) +([\d,]+)", re.MULTILINE)
    rows = [list(cells) for cells in row.findall((ROOT / "docs" / "demo.txt").read_text())]
    return table(["network", "test accuracy", "weights kept", "bytes to ship"], rows)


def demo_says() -> str:
    accuracy = dict(re.findall(r"^  (\S.*?)  +([\d.]+)%", (ROOT / "docs" / "demo.txt").read_text(), re.MULTILINE))
    return (
        f"The found subnetwork reaches {accuracy['found subnetwork']} % on handwritten digits, the same network with "
        f"trained weights {accuracy['trained twin']} %, and a random subnetwork {accuracy['random subnetwork']} %."
    )


def signed() -> str:
    """The two rows of the search for a recipe that differ in how scores are ranked."""
    by = {row["recipe"]: row for row in measured("recipe")}
    size, sign = by["scores: SGD 1, warm-up"], by["scores: SGD 1, warm-up, signed"]
    return f"Ranked by |s|: {size['mean']:.2f} % validation accuracy. Ranked by s: {sign['mean']:.2f} %."


def low_keep() -> str:
    """What the scope of edge-popup does at a low keep."""
    by = {line["method"]: f"{_accuracy(line)} %" for line in measured("compare_low")}
    return (
        f"With `keep=0.05`, a 784-512-512-10 network on MNIST reaches {by['edge-popup']} if each layer is ranked by "
        f'itself, {by["edge-popup(scope=global)"]} with `scope="global"`, and '
        f'{by["edge-popup(scope=normalised)"]} with `scope="normalised"`. The trained twin reaches '
        f"{by['trained twin']}."
    )


def own_method() -> str:
    """The tutorial's method beside edge-popup, each with its own law of weights and both with the same."""
    rows = []
    for name, laws in (("compare_own", {}), ("compare_own_laws", {"edge-popup": "kaiming-normal"})):
        for line in measured(name):
            if name == "compare_own" or line["method"] in laws:
                law = laws.get(line["method"], "kaiming-normal" if ":" in line["method"] else "signed-constant")
                size = f"{line['file_bytes']:,.0f}"
                rows.append(
                    [f"`{line['method']}`", "" if line["method"] == TWIN else f"`{law}`", _accuracy(line), size]
                )
    titles = ["method", "weights", "test accuracy, %", "bytes to ship"]
    return table(titles, rows).replace("---:", "---", 1).replace(f"`{TWIN}`", TWIN)


_AXES = {"keep": "keep", "width": "width", "weights": "law"}


def _swept(axis: str) -> dict[str, dict[Any, dict]]:
    """The lines of a sweep, results/sweep_<axis>.json, by method and place along the axis."""
    by: dict[str, dict[Any, dict]] = {}
    for line in measured(f"sweep_{axis}"):
        by.setdefault(line["method"], {})[line[_AXES[axis]]] = line
    return by


def swept(axis: str) -> str:
    """A sweep's table; what is the same all along the axis has no column."""
    by = _swept(axis)
    methods = [method for method in ("edge-popup", "random-subnetwork", "trained twin") if len(by[method]) > 1]
    rows = [
        [
            f"{100 * place:g} %" if axis == "keep" else f"× {place:g}" if axis == "width" else f"`{place}`",
            *(
                f"{100 * by[method][place]['accuracy']:.2f} ± {100 * by[method][place]['std']:.2f}"
                for method in methods
            ),
            f"{line['file_bytes']:,.0f}",
        ]
        for place, line in by["edge-popup"].items()
    ]
    title = {"keep": "weights kept", "width": "width", "weights": "weights"}[axis]
    return table([title, *methods, "bytes to ship"], rows)


def swept_keep_says() -> str:
    by = _swept("keep")
    found = {keep: 100 * line["accuracy"] for keep, line in by["edge-popup"].items()}
    best = max(found, key=lambda keep: found[keep])
    near = [keep for keep in found if found[keep] > found[best] - 0.3]
    return (
        f"The best mean here is {found[best]:.2f} %, at {100 * best:g} %, and from {100 * near[0]:g} % to "
        f"{100 * near[-1]:g} % kept it is within 0.3 points of that. The trained twin of this network gets "
        f"{100 * by['trained twin'][None]['accuracy']:.2f} %."
    )


def swept_width_says() -> str:
    by = _swept("width")
    twin = by["trained twin"][1.0]
    enough = next(line for line in by["edge-popup"].values() if line["accuracy"] >= twin["accuracy"])
    return (
        f"At {enough['width']:g} times the width the found subnetwork reaches the trained twin of width 1: "
        f"{100 * enough['accuracy']:.2f} % and {100 * twin['accuracy']:.2f} %, in {enough['file_bytes']:,.0f} bytes "
        f"and {twin['file_bytes']:,.0f}. The twin of its own width stays ahead, with "
        f"{100 * by['trained twin'][enough['width']]['accuracy']:.2f} %."
    )


def swept_weights_says() -> str:
    found = {law: 100 * line["accuracy"] for law, line in _swept("weights")["edge-popup"].items()}
    best, worst = max(found, key=lambda law: found[law]), min(found, key=lambda law: found[law])
    return f"With half of the weights kept, `{best}` is {found[best] - found[worst]:.1f} points better than `{worst}`."


def frontier(name: str) -> str:
    """Who is ahead at which size, the picture, and the rows that are the best of their side for their bytes."""
    results = measured(f"frontier_{name}")
    if not results:
        return "Not measured yet."
    said = "\n".join(f"- {sentence}" for sentence in results["sentences"])
    picture = f"![accuracy over bytes of tickets and trained networks](frontier_{name}.png)"
    rows = []
    for row in sorted(results["rows"], key=lambda row: row["bytes"]):
        if row["best"]:
            each = [100 * accuracy for accuracy in row["accuracies"]]
            spread = f" ± {statistics.stdev(each):.2f}" if len(each) > 1 else ""
            kind, size = "trained" if row["trained"] else "ticket", f"{row['bytes']:,.0f}"
            rows.append([row["name"], kind, size, f"{statistics.mean(each):.2f}{spread}", f"{row['epochs']:g}"])
    titles = ["best for its bytes", "kind", "bytes to ship", "test accuracy, %", "epochs"]
    return "\n\n".join([said, picture, table(titles, rows)])


def frontier_says() -> str:
    """Count the ranges of bytes in which tickets, trained networks or neither are ahead, with the last one in full."""
    results = measured("frontier_mnist_fc")
    tickets = {row["name"].partition(",")[0] for row in results["rows"] if not row["trained"]}
    ahead = [s.partition(": ")[2].partition(",")[0] in tickets for s in results["sentences"] if " ahead of " in s]
    noise = sum("within noise" in sentence for sentence in results["sentences"])
    return (
        "On MNIST with fully connected networks up to 784-512-512-10, tickets are ahead of the best trained networks "
        f"in {sum(ahead)} range of bytes, behind in {len(ahead) - sum(ahead)}, and within noise in {noise}. F"
        f"{results['sentences'][-1][1:]}."
    )


def _small() -> dict[tuple[str, str, float | None], list[dict]]:
    """The networks of benchmarks/small.py by group, method and keep."""
    groups: dict[tuple[str, str, float | None], list[dict]] = {}
    for row in measured("small"):
        groups.setdefault((row["group"], row["method"], row["keep"]), []).append(row)
    return groups


def small() -> str:
    rows = []
    for (group, method, keep), cells in _small().items():
        each = [100 * cell["accuracy"] for cell in cells]
        spread = f" ± {statistics.stdev(each):.2f}" if len(each) > 1 else ""
        size = statistics.mean(cell["file_bytes"] for cell in cells)
        name = method if keep is None else f"{method}, keep {keep:g}"
        rows.append([group, name, str(len(cells)), f"{statistics.mean(each):.2f}{spread}", f"{size:,.0f}"])
    titles = ["network", "method", "seeds", "test accuracy, %", "bytes to ship"]
    return table(titles, rows).replace("| ---: | ---: | ---: | ---: |", "| --- | ---: | ---: | ---: |", 1)


def twin_says() -> str:
    """The found networks minus the twin with the same norm, seed by seed."""
    groups = _small()
    group = next(iter(groups))[0]
    twin = {cell["seed"]: cell["accuracy"] for cell in groups[group, TWIN, None]}
    sentences = []
    for (its_group, method, keep), cells in groups.items():
        if its_group == group and method != TWIN:
            name = f"`{method}`" if keep is None else f"`{method}` with a keep of {keep:g}"
            differences = [100 * (cell["accuracy"] - twin[cell["seed"]]) for cell in cells]
            error = statistics.stdev(differences) / len(differences) ** 0.5
            mean = f"{statistics.mean(differences):+.2f}".replace("-", "−")
            sentences.append(f"{name} minus the twin is {mean} points (standard error {error:.2f})")
    return f"Over {len(twin)} seeds, {'; '.join(sentences)}."


def small_says() -> str:
    groups = _small()

    def figures(group: str, method: str, keep: float | None) -> str:
        cells = groups[group, method, keep]
        accuracy = 100 * statistics.mean(cell["accuracy"] for cell in cells)
        return f"{accuracy:.2f} % in {statistics.mean(cell['file_bytes'] for cell in cells) / 1000:.1f} kB"

    wide, narrow = "small, 784-512-512-10 with norms", "small, 784-256-256-10 with norms"
    plain = figures("without norms, 784-512-512-10", "edge-popup", 0.5)
    return (
        f"With `--recipe small --keep 0.03` that network has {figures(wide, 'small', 0.03)} on MNIST (3 seeds), "
        f"and 784-256-256-10 {figures(narrow, 'small', 0.03)}; edge-popup at a keep of ½, without norms, {plain}."
    )


def small_settings() -> str:
    rows = [
        [
            row["setting"],
            f"{statistics.mean(row['accuracies']):.2f}",
            f"{statistics.mean(row['losses']):.4f}",
            f"{row['bytes']:,}",
        ]
        for row in measured("small_settings")
    ]
    titles = ["setting", "validation accuracy, %", "validation loss", "bytes"]
    return table(titles, rows) if rows else "Not measured yet."


def ideas() -> str:
    rows = []
    for row in measured("ideas"):
        error = statistics.stdev(row["losses"]) / len(row["losses"]) ** 0.5
        loss = f"{statistics.mean(row['losses']):.4f} ± {error:.4f}"
        rows.append([row["idea"], f"{row['rate']:g}", f"{statistics.mean(row['accuracies']):.2f}", loss])
    return table(["784-256-256-10 with norms", "rate", "validation accuracy, %", "validation loss"], rows)


def cifar() -> str:
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in measured("cifar"):
        groups.setdefault((row["model"], row["method"]), []).append(row)
    rows = [
        [
            f"{model}, {method}",
            str(cells[0]["epochs of each"]),
            ", ".join(f"{100 * cell['accuracy']:.2f}" for cell in cells),
            f"{statistics.mean(cell['file_bytes'] for cell in cells):,.0f}",
        ]
        for (model, method), cells in groups.items()
    ]
    titles = ["CIFAR-10 (JPEG)", "epochs", "test accuracy of each seed, %", "bytes to ship"]
    return table(titles, rows) if rows else "Not measured yet."


def api() -> str:
    return _names(ut, ROOT / "src" / "untrained")


def wann_api() -> str:
    return _names(ut.wann, ROOT / "src" / "untrained" / "wann")


def _names(module: Any, folder: Path) -> str:
    """A line per public name: the first sentence of its docstring."""
    rows = []
    for name in sorted(set(module.__all__) - {"__version__"}, key=lambda name: (name.lower(), name)):
        thing = getattr(module, name)
        described = callable(thing) or isinstance(thing, ModuleType)
        docstring = thing.__doc__ if described else _of_constant(name, folder)
        rows.append([f"`{name}`", _first(docstring, name).replace("|", "\\|")])
    return table(["name", "what it is"], rows).replace("---:", "---")


def _of_constant(name: str, folder: Path) -> str:
    """The string below the assignment, in the file that the package's stub names."""
    stub = (folder / "__init__.pyi").read_text()
    module = re.search(rf"^from \.([\w.]+) import {name} as {name}$", stub, re.MULTILINE)
    assert module is not None, name
    path = folder.joinpath(*module[1].split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    body = ast.parse(text).body
    for statement, below in pairwise(body):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(below, ast.Expr):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            if ast.unparse(target) == name and isinstance(below.value, ast.Constant):
                return str(below.value.value)
    return ""


def _first(docstring: str | None, name: str) -> str:
    """The lines of a docstring up to the first that ends a sentence."""
    paragraph = (docstring or "").strip().split("\n\n")[0].splitlines()
    for count in range(1, len(paragraph) + 1):
        if paragraph[count - 1].rstrip().endswith("."):
            return " ".join(line.strip() for line in paragraph[:count])
    raise ValueError(f"{name}: its docstring does not begin with a sentence")


def rewritten(text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        name, *arguments = match[1].split()
        return f"<!-- figures: {match[1]} -->\n{globals()[name](*arguments)}\n<!-- end -->"

    return re.sub(r"<!-- figures: ([\w ]+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    stale = [page for page in PAGES if rewritten((ROOT / page).read_text()) != (ROOT / page).read_text()]
    if "--check" in sys.argv:
        print("\n".join(f"{page}: its figures are not those of benchmarks/results" for page in stale))
        sys.exit(bool(stale))
    for page in stale:
        (ROOT / page).write_text(rewritten((ROOT / page).read_text()))
