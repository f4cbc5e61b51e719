"""Checkpoints of a search, which resumes to the same bits, and its metrics as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from untrained.files import atomic_write, read_json_lines, write_json_lines
from untrained.runs.rows import is_number
from untrained.search.run_files import METRICS
from untrained.search.run_files import WANN_CHECKPOINT as NAME
from untrained.terminal.text import shorten
from untrained.wann.evolution.front import CHOOSING, Found
from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.memory import ARRAYS as MEMORY
from untrained.wann.evolution.memory import Memory
from untrained.wann.evolution.state import State
from untrained.wann.networks.file import from_document, to_document
from untrained.wann.networks.net import Net

_FORMAT = "untrained-wann-search/2"
_SCORES = {"island_best": np.float64, "island_since": np.int64, "survivors": np.bool_}
_ARRAYS = ("act", "src", "dst", "on", "nodes", "genes")


def save(folder: Path, plan: Mapping[str, Any], state: State, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write checkpoint and metrics, each whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    facts = {
        "format": _FORMAT,
        "plan": plan,
        "generation": state.generation,
        "front": [{"net": to_document(each.net), "rewards": each.rewards} for each in state.front],
    }
    arrays = dict(zip(_ARRAYS, state.population.arrays, strict=True))
    arrays |= {name: getattr(state, name) for name in _SCORES}
    arrays |= state.memory.to_arrays() | {"ended": np.array(state.ended, float)}
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    write_json_lines(folder / METRICS, rows)
    with atomic_write(folder / NAME) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load(folder: Path, plan: Mapping[str, Any], like: State) -> tuple[State, list[dict[str, Any]]]:
    """Return the state and the metrics that `save` wrote.

    Args:
        folder: where they are.
        plan: the plan of the search to resume.
        like: any state of that search: the saved one must have as many islands, genomes, inputs and outputs.

    Raises:
        ValueError: the checkpoint is damaged, or of a search with another plan.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(f"nothing to resume: there is no {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            content = {name: saved[name] for name in saved.files}
        facts = json.loads(content.pop("facts").tobytes())
        form, then = facts["format"], dict(facts["plan"])
    except Exception:  # zipfile, zlib, numpy and json raise many errors for damaged bytes
        raise ValueError(f"{path} is not a checkpoint of untrained, or a damaged one") from None
    if form != _FORMAT:
        raise ValueError(f"{path} is of format {shorten(form)}, expected {_FORMAT}")
    for name, now in json.loads(json.dumps(plan)).items():
        if then.get(name) != now:
            raise ValueError(f"{path} is of another search: {_describe_difference(name, then.get(name), now)}")
    try:
        state = _state(facts, content, like)
    except Exception as error:
        raise ValueError(f"{path} is damaged: {shorten(error)}") from None
    return state, _rows(folder / METRICS, state.generation)


def _state(facts: dict[str, Any], content: dict[str, np.ndarray], like: State) -> State:
    """Return the saved state after all checks that compiled code relies on."""
    inputs, outputs = like.population.inputs, like.population.outputs
    population = Population(inputs, outputs, *(content[name] for name in _ARRAYS))
    population.check()
    if len(population) != len(like.population):
        raise ValueError(f"it has {len(population)} genomes, expected {len(like.population)}")
    scores, ended = {name: content[name] for name in _SCORES}, content["ended"]
    for name, kind in _SCORES.items():
        expected = np.dtype(kind), getattr(like, name).shape
        if (given := (scores[name].dtype, scores[name].shape)) != expected:
            raise ValueError(f"its {name} are of type and shape {given}, expected {expected}")
    if ended.dtype != np.float64 or ended.ndim != 1:
        raise ValueError(f"its ended are of type and shape {ended.dtype, ended.shape}, expected float64 (n,)")
    memory = Memory.from_arrays(*(content[name] for name in MEMORY), weights=len(facts["plan"]["weights"]))
    generation = facts["generation"]
    if type(generation) is not int or generation < 0:
        raise ValueError(f"its generation is {generation}")
    front = []
    for each in facts["front"]:
        rewards = tuple(float(reward) for reward in each["rewards"])
        found = Found(Net(**from_document(each["net"])), rewards, facts["plan"]["preset"]["best_counts"])
        if (found.net.inputs, found.net.outputs) != (inputs, outputs):
            raise ValueError(f"a network has {found.net.inputs} inputs and {found.net.outputs} outputs")
        if len(found.rewards) != len(CHOOSING):
            raise ValueError(f"a network has {len(found.rewards)} rewards, expected {len(CHOOSING)}")
        front.append(found)
    return State(population, generation, tuple(front), ended=tuple(ended.tolist()), memory=memory, **scores)


def _rows(path: Path, generations: int) -> list[dict[str, Any]]:
    """Return the metrics of the first generations, without unreadable rows: no search depends on them."""
    return [
        row for row in read_json_lines(path) if row is not None and _is_row(row) and row["generation"] < generations
    ]


def _is_row(row: dict[str, Any]) -> bool:
    """Return True if a row has the fields that pictures and pages show."""
    rewards, front = [row.get(name, "") for name in ("best", "mean")], row.get("front", [])
    pairs = isinstance(front, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in front)
    return (
        type(row.get("generation")) is int
        and all(reward is None or is_number(reward) for reward in rewards)
        and pairs
        and all(is_number(number) for pair in front for number in pair)
    )


def _describe_difference(name: str, then: Any, now: Any) -> str:
    """Describe the first entry that differs."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in now:
            if then.get(key) != now[key]:
                return _describe_difference(f"{name}'s {key}", then.get(key), now[key])
    return f"its {name} is {shorten(then)}, not {shorten(now)}"
