"""Tables and sentences of the pages about weight agnostic networks."""

import statistics

from harness import measured
from markdown_table import table
from untrained.wann import champions


def _found(task: str) -> dict:
    """Facts and scores of a champion."""
    net = champions()[task]
    return {**net.meta, "connections": net.connections}


def wann_story() -> str:
    swing, digits = _found("swingup"), _found("digits")
    at_random, at_best = _of(swing, "random shared weight"), _of(swing, "tuned shared weight")
    return (
        f"This one has {swing['connections']} connections; it is the best of {len(swing['searches'])} searches of "
        f"{swing['generations']:,} generations. Of at most 1,000 points it gets {at_best} if all connections share its "
        f"best weight, at which it holds the pole for {swing['tuned shared weight']['longest upright (s)']:.1f} of 10 "
        f"seconds, {at_random} if they share a random one, and {_of(swing, 'random weights')} if each has a random "
        f"weight of its own. A network of {digits['connections']} connections classifies the digits with an accuracy "
        f"of {_of(digits, 'random shared weight')} at a random shared weight, and "
        f"{_of(digits, 'tuned shared weight')} at the best one."
    )


def _of(found: dict, name: str) -> str:
    """Mean ± standard deviation of the scores that one kind of weights gives."""
    if name not in found:
        return ""
    mean, std = found[name]["mean"], found[name]["std"]
    if found["measure"] == "accuracy":
        return f"{100 * mean:.1f}{'' if name.startswith('tuned') else f' ± {100 * std:.1f}'} %"
    return f"{mean:.0f} ± {std:.0f}".replace("-", "−")


_KINDS = ("random weights", "random shared weight", "tuned shared weight", "tuned weights")


def wann_found() -> str:
    kinds, rows = ("the six standard weights", *_KINDS), []
    for task, title in (("swingup", "swing-up"), ("digits", "digits"), ("mnist", "MNIST 16×16")):
        found = _found(task)
        ensemble = "" if found["ensemble"] is None else f"{100 * found['ensemble']:.1f} %"
        upright = found["tuned shared weight"].get("longest upright (s)")
        columns = [_of(found, kind) for kind in kinds]
        longest = "" if upright is None else f"{upright:.1f}"
        rows.append([f"{title}, ours", str(found["connections"]), *columns, ensemble, longest])
        rows += [list(row) for row in _PAPER.get(task, ())]
    return table(["", "connections", *kinds, "ensemble", "longest upright, s"], rows)


# Gaier & Ha 2019: the table of control results, and section 5; connections are counted in their released networks.
_PAPER = {
    "swingup": [("swing-up, paper", "52", "", "57 ± 121", "515 ± 58", "723 ± 16", "932 ± 6", "", "")],
    "mnist": [("MNIST 16×16, paper", "1849", "", "", "82.0 ± 18.7 %", "91.9 %", "94.2 %", "91.6 %", "")],
}
# The reward from which Gymnasium's registry calls an environment solved.
_CLASSICS = {
    "cartpole": ("CartPole-v1", "475"),
    "acrobot": ("Acrobot-v1", "−100"),
    "pendulum": ("Pendulum-v1", ""),
    "mountain-car": ("MountainCarContinuous-v0", "90"),
}


def wann_classics() -> str:
    rows = []
    for task, (title, solved) in _CLASSICS.items():
        found = _found(task)
        ends = ((name, share) for name, share in found.get("tuned shared weight", {}).items() if name.endswith("(%)"))
        says = ", ".join(f"{share:.0f} % {name.removesuffix(' (%)')}" for name, share in ends)
        rows.append([title, str(found["connections"]), solved, *(_of(found, kind) for kind in _KINDS), says])
    return table(["", "connections", "solved from", *_KINDS, "at the tuned shared weight"], rows)


def wann_biped() -> str:
    found = measured("wann_biped")
    shared, tuned = (
        "{:.0f} ± {:.0f}".format(*found["columns"][kind]) for kind in ("random shared weight", "tuned shared weight")
    )
    return (
        f"**BipedalWalker-v3** stays far behind: in {found['minutes']:.0f} minutes on two cores, which had other work, "
        f"too, a search of {found['population']} networks came to generation {found['generations']}, in episodes of "
        f"{found['steps']} steps. Its network of {found['connections']} connections gets {shared} at a random shared "
        f"weight and {tuned} at the tuned one in {found['trials']} whole episodes; the paper's 51 ± 108 and 261 ± 58."
    ).replace(" -", " −")


def wann_commands() -> str:
    rows = [
        [f"`{name}`", f"`{net.meta['command']}`", f"{net.meta['generations']:,}", str(len(net.meta["searches"]))]
        for name, net in champions().items()
        if not name.endswith("-tuned")
    ]
    return table(["champion", "found by", "generations", "the best of … searches"], rows).replace("---:", "---", 1)


def wann_islands() -> str:
    found = _found("swingup")
    rewards = sorted(found["searches"], reverse=True)
    if len(rewards) == 1:
        return "The swing-up row is the network of a single search."
    mean, std = statistics.mean(rewards), statistics.pstdev(rewards)
    each = ", ".join(f"{reward:.0f}" for reward in rewards)
    return (
        f"The swing-up row is the best of {len(rewards)} independent searches. The rewards of their best networks "
        f"where networks are chosen, in validation episodes, were {each}: {mean:.0f} ± {std:.0f}."
    )


def wann_champions() -> str:
    results = measured("wann_champions")
    if not results:
        return ""
    swing, biped = results
    columns = {column["name"]: f"{column['mean']:.0f} ± {column['std']:.0f}" for column in swing["columns"]}
    kinds = ("random weights", "random shared weight", "tuned shared weight")
    played = ", ".join(f"{columns[kind]} with {kind}" for kind in kinds)
    return (
        f"The networks that the authors released, evaluated here (means of 100 episodes): swing-up {played}; "
        f"BipedalWalker-v3 {biped['grid_best']:.0f} at −1.5."
    )


def wann_measures() -> str:
    rows = [(row["name"], row) for row in measured("wann_references")]
    for champion in measured("wann_champions"):
        rows += [("the released champion", row) for row in champion.get("at", ())]
    names = {"longest upright (s)": ".1f", "upright (s)": ".1f", "turns": ".1f", "upright at the end (%)": ".0f"}
    lines = []
    for name, row in rows:
        weight = f"{row['weight']:g}".replace("-", "−") if row["connections"] else ""
        reward = f"{row['reward']:.0f} ± {row['std']:.0f}"
        lines.append(
            [name, str(row["connections"]), weight, reward, *(f"{row[key]:{form}}" for key, form in names.items())]
        )
    return table(["", "connections", "shared weight", "reward (of 1,000)", *names], lines)


def wann_search() -> str:
    rows = measured("wann_search")
    if not rows:
        return "Not measured yet."
    figures = {"shared": ".0f", "tuned": ".0f", "longest upright (s)": ".1f"}
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        its = [row for row in rows if row["method"] == method]
        cells = [[row["chosen"][name] for row in its] for name in figures]
        columns = [
            f"{statistics.mean(cell):{form}} ± {statistics.stdev(cell) / len(cell) ** 0.5:{form}}"
            for cell, form in zip(cells, figures.values(), strict=True)
        ]
        held = sum(longest >= 2.5 for longest in cells[-1])
        generations = statistics.mean(row["generations"] for row in its)
        lines.append([method, *columns, f"{held} of {len(its)}", f"{generations:,.0f}"])
    titles = ["search", "random shared weight", "tuned shared weight", "longest upright, s", "2.5 s and more"]
    below = (
        f"Means and standard errors of the networks that {len({row['seed'] for row in rows})} searches chose after "
        f"{rows[0]['seconds']:.0f} CPU seconds on one thread; 100 test episodes a weight. *Longest upright* is at "
        "the tuned shared weight, the mean over episodes of the longest stretch with cos θ > 0.9."
    )
    return table([*titles, "generations"], lines) + "\n\n" + below


def wann_seeds() -> str:
    rows, lines = measured("wann_seeds"), []
    if len({(row["islands"], row["generations"]) for row in rows}) > 1:
        raise ValueError("the seeds were searched with different islands or generations, and would be mixed")
    for tens in sorted({row["seed"] // 10 for row in rows}):
        its = [row for row in rows if row["seed"] // 10 == tens]
        cells = [[row[name] for row in its] for name in ("shared", "tuned", "weights", "longest upright (s)")]
        ranges = [
            f"{min(cell):{form}} – {statistics.median(cell):{form}} – {max(cell):{form}}"
            for cell, form in zip(cells, (".0f", ".0f", ".0f", ".1f"), strict=True)
        ]
        both = sum(row["shared"] >= 515 or row["tuned"] >= 723 for row in its)
        held = sum(longest >= 2.5 for longest in cells[-1])
        seeds = f"{its[0]['seed']} to {its[-1]['seed']}"
        lines.append([seeds, *ranges, f"{held} of {len(its)}", f"{both} of {len(its)}"])
    titles = ["seeds", "random shared weight", "tuned shared weight", "tuned weights"]
    titles.append("longest upright, s")
    return table([*titles, "2.5 s and more", "515 or 723"], lines)


def wann_tuning() -> str:
    rows = measured("wann_tuning")
    runs = [row for row in rows if "budget" in row]
    if not runs:
        return "Not measured yet."
    budgets = sorted({row["budget"] for row in runs})
    lines = []
    for name in dict.fromkeys(row["network"] for row in runs):
        its = [row for row in runs if row["network"] == name]
        cells = [[row["mean"] for row in its if row["budget"] == budget] for budget in budgets]
        columns = [f"{statistics.mean(cell):.0f} ({len(cell)})" if cell else "" for cell in cells]
        best = max(its, key=lambda row: row["validation"])
        shared = statistics.mean(row["shared"]["mean"] for row in its)
        best_of = f"{best['mean']:.0f} ± {best['std']:.0f}"
        lines.append([name, str(its[0]["connections"]), f"{shared:.0f}", *columns, best_of])
    seconds = statistics.mean(row["seconds"] / row["budget"] * 300 for row in runs)
    below = (
        f"Means of 100 test episodes; in brackets the number of seeds. 300 generations took {seconds:.0f} CPU seconds. "
    )
    below += "*The best* is the best of all by validation, with its standard deviation over episodes. "
    if authors := [row for row in rows if "budget" not in row]:
        mean, std = authors[0]["mean"], authors[0]["std"]
        below += (
            f"With the weights that the authors tuned for it, the released champion gets {mean:.0f} ± {std:.0f} here."
        )
    titles = ["", "connections", "best shared weight", *(f"{budget:,} generations" for budget in budgets), "the best"]
    return table(titles, lines) + "\n\n" + below


def wann_speed() -> str:
    results = measured("wann")
    if not results:
        return ""
    rows = [
        [
            speed["what"],
            f"{speed['ours']:,.0f} {speed['unit']}/s",
            f"{speed['numpy']:,.0f}",
            f"{speed['ratio']:,.0f} ({speed['least']:,.0f} – {speed['most']:,.0f})",
            f"{speed['official']:,}",
        ]
        for speed in results["speeds"]
    ]
    below = "An *evaluation* is one network at one weight on 1,000 examples. Ranking, breeding and expressing 960 "
    below += f"genomes of 2,570 genes and more takes {results['breeding']['ms']:.0f} ms."
    return table(["", "ours", "numpy", "× numpy", "the authors' code"], rows) + "\n\n" + below


def wann_activations() -> str:
    rows = [
        [row["activations"], f"{row['mean']:.0f} ± {row['std']:.0f}", f"{row['size']:.0f}"]
        for row in measured("wann_activations")
    ]
    return table(["activations", "reward after 6 CPU seconds, 10 searches", "connections, median"], rows)
