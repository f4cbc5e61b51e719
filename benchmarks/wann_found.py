"""The champions that come with the package: what searches found, by the commands that the docs name.

.venv/bin/python benchmarks/wann_found.py cartpole        searches by the settings below, then writes the champion
.venv/bin/python benchmarks/wann_found.py RUN [RUN …]     writes the best of finished searches for one task

The best one has the highest validation reward; those of all are in its file. The table is measured anew on test data,
or in further episodes. Minutes are those of the wall clock, so what they reach depends on the machine; with as many
--generations instead, a search finds the same network again.
"""

import argparse
import json
import math
import os
from pathlib import Path

import untrained
from untrained.report.command_line import command_of
from untrained.runs.rows import read_settings
from untrained.search.run_files import CONFIG, FOUND, RESULTS, TUNED
from untrained.wann import Net, WannSettings, evolve
from untrained.wann.tasks.by_name import task_named
from untrained.wann.tuning.columns import ensemble, four_columns, six_weights

SETTINGS = {
    "swingup": {"minutes": 10},
    "digits": {"generations": 1063},  # as many as 2 minutes allowed on 2 idle cores
    "mnist": {"generations": 2222},  # likewise, 10 minutes
    **{task: {} for task in ("cartpole", "acrobot", "pendulum", "mountain-car")},
}
CHAMPIONS = Path(untrained.__file__).parent / "wann" / "champions"
OF_THIS_MACHINE = ("out", "data-dir", "workers", "resume")


def searched(task: str, data_dir: Path | None) -> Path:
    """The folder of a search by SETTINGS, which goes on where it stopped."""
    out = Path("runs") / f"wann-{task}"
    resume = (out / "checkpoint.npz").exists()
    return evolve(WannSettings(task=task, data_dir=data_dir, out=out, resume=resume, **SETTINGS[task])).folder


def write_champion(runs: list[Path], data_dir: Path | None) -> None:
    """The best of these runs as a champion of the package."""
    results = [json.loads((run / RESULTS).read_text(encoding="utf-8")) for run in runs]
    given = [read_settings(run / CONFIG, []) for run in runs]
    if len({settings["task"] for settings in given}) != 1:
        raise SystemExit("these runs are for different tasks")
    at = max(range(len(runs)), key=lambda i: results[i]["validation"])
    run, settings, seed, trials = runs[at], given[at], given[at]["seed"], given[at]["trials"]
    net, shared = Net.load(run / FOUND), results[at]["shared_weight"]
    own = Net.load(run / TUNED) if (run / TUNED).exists() else None
    task = task_named(settings["task"], data_dir)
    columns = [six_weights(task, net, trials=trials, seed=seed)]
    columns += four_columns(task, net, own, shared=shared, trials=trials, seed=seed)
    known = {key: value for key, value in settings.items() if key not in OF_THIS_MACHINE}
    facts = net.meta | {
        "command": command_of("untrained wann", WannSettings(), known),
        "version": untrained.__version__,
        "cores": settings.get("workers", os.cpu_count()),
        "searches": [reward for each in results for reward in each["attempts"]],
    }
    table = {"measure": task.measure, "trials": trials, "ensemble": ensemble(task, net)}
    for column in columns:
        measures = {name: value if math.isfinite(value) else None for name, value in column.measures.items()}
        table[column.name] = {"mean": column.mean, "std": column.std, **measures}
        print(column.name, table[column.name])
    name = settings["task"].removeprefix("gym:").lower()
    net.replace(meta=facts | table).save(CHAMPIONS / f"{name}.json")
    if own is not None:
        own.replace(meta=facts).save(CHAMPIONS / f"{name}-tuned.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="+", help=f"folders of runs, or one of {', '.join(SETTINGS)}")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args()
    alone = len(args.what) == 1 and args.what[0] in SETTINGS
    runs = [searched(args.what[0], args.data_dir)] if alone else [Path(each) for each in args.what]
    write_champion(runs, args.data_dir)
