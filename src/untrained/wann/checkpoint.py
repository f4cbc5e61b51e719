"""A search on disk: what it needs to go on to the same bits, and its metrics for everybody else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from untrained.files import written_whole
from untrained.wann.archive import Found
from untrained.wann.genome import Population
from untrained.wann.net_file import from_document, to_document
from untrained.wann.search import Search, State

NAME = "checkpoint.npz"
METRICS = "metrics.jsonl"
_FORMAT = "untrained-wann-search/1"
_ARRAYS = ("act", "src", "dst", "on", "nodes", "genes")


def write(search: Search, folder: Path) -> None:
    """Write checkpoint and metrics, each whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    state = search.state
    facts = {
        "format": _FORMAT,
        "plan": search.plan(),
        "generation": state.generation,
        "front": [{"net": to_document(each.net), "rewards": each.rewards} for each in state.front],
    }
    arrays = dict(zip(_ARRAYS, state.population.arrays, strict=True))
    arrays |= {"island_best": state.island_best, "island_since": state.island_since}
    arrays["ended"] = np.array(state.ended, float)
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with written_whole(folder / METRICS) as unfinished:
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in search.rows))
    with written_whole(folder / NAME) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def restore(search: Search, folder: Path) -> None:
    """Bring a search to where the one of this folder stopped.

    Raises:
        ValueError: the checkpoint is damaged, or of a search with another task or settings; nothing is changed by then.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            content = {name: saved[name] for name in saved.files}
        facts = json.loads(content.pop("facts").tobytes())
        plan, generation = facts["plan"], int(facts["generation"])
        front = tuple(Found(from_document(each["net"]), tuple(map(float, each["rewards"]))) for each in facts["front"])
        best, since = content["island_best"].astype(float), content["island_since"].astype(np.int64)
        ended = tuple(content["ended"].astype(float).tolist())
        arrays = [content[name] for name in _ARRAYS]
    except FileNotFoundError:
        raise ValueError(f"nothing to resume: there is no {path}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile):
        raise ValueError(f"{path} is not a checkpoint of ours, or a damaged one") from None
    for name, now in json.loads(json.dumps(search.plan())).items():
        if plan.get(name) != now:
            raise ValueError(f"{path} is of another search: its {name} is {_short(plan.get(name))}, not {_short(now)}")
    mine = search.state.population
    for name, array, other in zip(_ARRAYS, arrays, mine.arrays, strict=True):
        if array.dtype != other.dtype or array.ndim != other.ndim or len(array) != len(other):
            raise ValueError(f"{path} is damaged: {name} is {array.dtype} {array.shape}")
    population = Population(mine.inputs, mine.outputs, *arrays)
    search.resume(State(population, generation, front, best, since, ended), _rows(folder / METRICS, generation))


def _rows(path: Path, generations: int) -> list[dict[str, Any]]:
    """The metrics of the first generations; what cannot be read is left out: they are only to be looked at."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("generation", generations) < generations:
            rows.append(row)
    return rows


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]} …"
