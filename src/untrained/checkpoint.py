"""A run on disk: everything a search needs to go on to the same bits, and its metrics for everybody else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrained.evaluation import device_of
from untrained.files import written_whole

Row = dict[str, float | int]

NAME = "checkpoint.pt"
_METRICS = "metrics.jsonl"


def holds_run(folder: Path) -> bool:
    """Whether a run that has finished an epoch is in this folder."""
    metrics = folder / _METRICS
    return metrics.exists() and metrics.stat().st_size > 0


def write(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Mapping[str, Any],
    rows: Sequence[Row],
) -> None:
    """Write the checkpoint and the metrics, each whole or not at all.

    Args:
        folder: where to.
        model: the model as it is.
        optimizers: those that `restore` will be given again, in this order.
        plan: what a run must have in common with this one to go on with it.
        rows: the metrics, a row per epoch.
    """
    cuda = device_of(model).type == "cuda"
    state = {
        "plan": dict(plan),
        "rows": list(rows),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state(device_of(model)) if cuda else None,
    }
    with written_whole(folder / NAME) as unfinished:
        torch.save(state, unfinished)
    with written_whole(folder / _METRICS) as unfinished:
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows))


def restore(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], plan: Mapping[str, Any]
) -> list[Row]:
    """Bring model, optimizers and torch's generators to where the run stopped, and return its rows.

    Raises:
        ValueError: the checkpoint is damaged, or of a run with another plan; nothing is changed by then.
    """
    path = folder / NAME
    try:
        state = torch.load(path, map_location=device_of(model), weights_only=True)
        then = dict(state["plan"])
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
        raise ValueError(f"{path} is not a checkpoint of ours, or a damaged one") from None
    for name, now in plan.items():
        if then.get(name) != now:
            raise ValueError(
                f"{path} is of another run: its {name} is {_short(then.get(name))}, not {_short(now)}; "
                "pass the same settings, or start anew"
            )
    try:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"].cpu())
        if state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), device_of(model))
        return list(state["rows"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not fit this model: {str(error).splitlines()[0]}") from None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]} …"
