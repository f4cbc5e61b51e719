"""A run on disk: everything a search needs to go on to the same bits, and its metrics for everybody else."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from untrained.files import write_json_lines, written_whole
from untrained.search.evaluation import device_of
from untrained.search.run_files import CHECKPOINT as NAME
from untrained.search.run_files import METRICS
from untrained.terminal.text import shorten

Row = dict[str, float | int]

_PARTS = {"plan", "rows", "model", "optimizers", "random", "cuda_random"}
_FINITE = ("epoch", "lr", "train_loss", "train_accuracy", "examples_per_second", "seconds")  # of every row
_LIKE_PARAMETERS = {torch.optim.SGD: {"momentum_buffer"}, torch.optim.Adam: {"exp_avg", "exp_avg_sq"}}
# The file is a zip archive, and ends with this comment and the sha256 of all before it.
_COMMENT = b"sha256 "
_END, _END_SIZE, _HEX = b"PK\5\6", 22, 64


def holds_run(folder: Path) -> bool:
    """Whether a run that has finished an epoch is in this folder."""
    metrics = folder / METRICS
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
        plan: what a run must have in common with this one to go on with it; texts and numbers.
        rows: the metrics, a row per epoch.

    Raises:
        OSError: they cannot be written.
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
    archive = io.BytesIO()  # into a file, torch has errors of its own for a full disk
    torch.save(state, archive)
    archive.seek(-2, os.SEEK_END)  # where the length of the comment is
    archive.write((len(_COMMENT) + _HEX).to_bytes(2, "little") + _COMMENT)
    archive.write(hashlib.sha256(archive.getbuffer()).hexdigest().encode())
    with written_whole(folder / NAME) as unfinished:
        unfinished.write_bytes(archive.getbuffer())
    write_json_lines(folder / METRICS, rows)


def restore(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Mapping[str, Any],
    columns: Collection[str] = (),
) -> list[Row]:
    """Bring model, optimizers and torch's generators to where the run stopped, and return its rows.

    Args:
        folder, model, optimizers, plan: as in `write`, of a run that has not begun.
        columns: what every row must have beside what all rows have.

    Raises:
        ValueError: the checkpoint is damaged, or of a run with another plan or model; nothing is changed then.
        OSError: it cannot be read.
    """
    path = folder / NAME
    state, hashed = _read(path)
    then = state["plan"]
    for name, now in plan.items():
        if then.get(name) != now:
            raise ValueError(
                f"{path} is of another run: its {name} is {shorten(then.get(name))}, not {shorten(now)}; "
                "pass the same settings, or start anew"
            )
    try:
        _check_rows(state["rows"], plan["epochs"], columns)
        saved = _fitting_model(model, state["model"], hashed)
        its = [_fitting_optimizer(*pair) for pair in zip(optimizers, state["optimizers"], strict=True)]
        generators = _generators(model, state)
        before = copy.deepcopy(model.state_dict())
        try:
            model.load_state_dict(saved)
        except BaseException:
            model.load_state_dict(before)
            raise
    except Exception as error:  # whatever torch, or a module's own loading, has to say about it
        raise ValueError(f"{path} does not fit this model: {shorten(error) or type(error).__name__}") from None
    for optimizer, its_state in zip(optimizers, its, strict=True):
        optimizer.load_state_dict(its_state)
    for device, generator in generators.items():
        if device == "cpu":
            torch.set_rng_state(generator)
        else:
            torch.cuda.set_rng_state(generator, device)
    return state["rows"]


def _read(path: Path) -> tuple[dict[str, Any], bool]:
    """The parts of the file, on the CPU, and whether it has a sha256; of the parts only the plan is checked."""
    data = path.read_bytes()
    try:
        if hashed := data[:-_HEX].endswith(_COMMENT):
            right = hashlib.sha256(memoryview(data)[:-_HEX]).hexdigest().encode() == data[-_HEX:]
        else:  # written before there was a sha256, without a comment
            right = data[-_END_SIZE:].startswith(_END) and data.endswith(b"\0\0")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # torch does not compress, and would expand what is
            right = right and sum(member.file_size for member in archive.infolist()) <= len(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True) if right else {}
        plain = type(state["plan"]) is dict
        plain = plain and all(type(value) in (str, int, float, bool) for value in state["plan"].values())
    except Exception:  # a damaged file has more ways to fail than torch documents
        hashed, plain, state = False, False, {}
    if not plain or state.keys() != _PARTS:
        raise ValueError(f"{path} is not a checkpoint of ours, or a damaged one")
    return state, hashed


def _check_rows(rows: Any, epochs: int, columns: Collection[str]) -> None:
    if type(rows) is not list or len(rows) > epochs or any(type(row) is not dict for row in rows):
        raise ValueError(f"its rows are no list of at most {epochs} epochs")
    for epoch, row in enumerate(rows, 1):
        for name in (*_FINITE, *columns):
            if name not in row:
                raise ValueError(f"row {epoch} has no {name}")
        for name, value in row.items():
            if type(name) is not str or type(value) not in (int, float):
                raise ValueError(f"row {epoch} has {shorten(name)} = {shorten(value)}, expected a number")
            if not math.isfinite(value) and name in _FINITE:  # of a number too large it raises
                raise ValueError(f"row {epoch} has {name} = {value}, expected a finite number")
        if type(row["epoch"]) is not int or row["epoch"] != epoch:
            raise ValueError(f"row {epoch} has epoch = {row['epoch']}")


def _fitting_model(model: nn.Module, saved: Any, hashed: bool) -> dict[str, Any]:
    """The model's own state dict with the saved values, whose dtypes, shapes and layouts are those of the model.

    Modules that load in a way of their own, such as observers, may take other shapes, and say themselves what fits.
    """
    own = model.state_dict()
    if not hashed:  # of a version in which masked models had no extra state
        saved = {name: value for name, value in own.items() if name.endswith(_EXTRA_STATE_KEY_SUFFIX)} | saved
    _same_names("tensor", saved, own)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, value in own.items():
        if isinstance(value, Tensor):
            owner = type(modules.get(name.rpartition(".")[0]))
            usual = getattr(owner, "_load_from_state_dict", None) is nn.Module._load_from_state_dict
            _same_kind(name, saved[name], value, shape=value.shape if usual else None)
        own[name] = saved[name]  # into a dict of ours, as torch also obeys what comes with that of the file
    return own


def _fitting_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> dict[str, Any]:
    """The optimizer's own options, with copies of the saved state that have its parameters' dtypes and layouts."""
    own = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group, ours in zip(saved["param_groups"], own["param_groups"], strict=True):
        _same_names("option of the optimizer", group, ours)
        for name in ours.keys() - {"lr"}:  # which is set before every step
            if group[name] != ours[name]:
                raise ValueError(f"its optimizer has {name} = {shorten(group[name])}, expected {ours[name]}")
    like = _LIKE_PARAMETERS[next(kind for kind in _LIKE_PARAMETERS if isinstance(optimizer, kind))]
    state = {}
    for number, values in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"its optimizer has a state for parameter {shorten(number)} of {len(parameters)}")
        state[number] = {name: _fitting(name, value, parameters[number], like) for name, value in values.items()}
        if "exp_avg" in like and state[number]:
            _same_names("state of the optimizer", state[number], [*like, "step"])
    return {"state": state, "param_groups": own["param_groups"]}


def _fitting(name: str, value: Any, parameter: Tensor, like: Collection[str]) -> Any:
    if name == "step":
        if not (float(value) >= 0 and float(value).is_integer()):
            raise ValueError(f"its optimizer is at step {shorten(value)}")
        return torch.tensor(float(value), device="cpu")
    if name not in like:
        raise ValueError(f"its optimizer has a state {shorten(name)}, expected {', '.join(sorted(like))}")
    if value is None and name == "momentum_buffer":
        return None
    # A copy, since a step in place must meet neither expanded tensors nor those that share memory.
    fits = _same_kind(name, value, parameter, shape=parameter.shape)
    return torch.empty_like(parameter, device="cpu", requires_grad=False).copy_(fits)


def _same_names(what: str, given: Any, expected: Collection[str]) -> None:
    for name in sorted({*expected} ^ {*given}, key=str):
        raise ValueError(f"it {'lacks' if name in expected else 'has'} the {what} {shorten(name)!r}")


def _same_kind(name: str, given: Any, own: Tensor, shape: torch.Size | None) -> Tensor:
    if not isinstance(given, Tensor) or given.device.type != "cpu":
        raise ValueError(f"{name!r} is {shorten(type(given).__name__)}, expected a tensor")
    if (given.dtype, given.layout) != (own.dtype, own.layout):
        raise ValueError(f"{name!r} is {given.dtype}, {given.layout}, expected {own.dtype}, {own.layout}")
    if shape is not None and given.shape != shape:
        raise ValueError(f"{name!r} has shape {tuple(given.shape)}, expected {tuple(shape)}")
    return given


def _generators(model: nn.Module, state: Mapping[str, Any]) -> dict[Any, Tensor]:
    """The states of the generators by device, which new generators have taken."""
    states: dict[Any, Any] = {"cpu": state["random"]}
    if device_of(model).type == "cuda" and state["cuda_random"] is not None:  # it may have begun on the CPU
        states[device_of(model)] = state["cuda_random"]
    for device, value in states.items():
        generator = torch.Generator(device)
        own = generator.get_state()
        states[device] = _same_kind("random", value, own, shape=own.shape).contiguous().clone()
        generator.set_state(states[device])
    return states
