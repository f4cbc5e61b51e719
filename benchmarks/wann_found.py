"""What searches for weight agnostic networks find, by the commands that the docs name; written to results/.

.venv/bin/python benchmarks/wann_found.py swingup              ten searches apart, about 20 minutes
.venv/bin/python benchmarks/wann_found.py digits               2 minutes
.venv/bin/python benchmarks/wann_found.py mnist --data-dir DIR 10 minutes

Minutes are those of the wall clock with a thread per core, so what they reach depends on the machine. The seed is 0.
"""

import argparse
import json
import os
from pathlib import Path

from harness import write
from untrained.wann import WannSettings, evolve

SETTINGS = {
    "swingup": {"islands": 10, "generations": 1024},
    "digits": {"minutes": 2},
    "mnist": {"minutes": 10},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    out = given.out / f"wann-{given.task}"
    settings = WannSettings(
        task=given.task,
        data_dir=given.data_dir,
        out=out,
        resume=(out / "checkpoint.npz").exists(),  # goes on where it stopped
        **SETTINGS[given.task],
    )
    run = evolve(settings)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    results = json.loads((run.folder / "results.json").read_text())
    for column in results["columns"]:
        column.pop("scores") if len(column["scores"]) > 10 else None
    results |= {"settings": SETTINGS[given.task], "generations": len(rows), "cores": os.cpu_count()}
    results["minutes"] = sum(row["seconds"] for row in rows) / 60
    write(f"wann_{given.task}", results)


if __name__ == "__main__":
    main()
