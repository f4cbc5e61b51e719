"""Checkpoints of a search, which resumes to the same bits, and its metrics as JSON lines."""

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

from untrained.files import atomic_write, write_json_lines
from untrained.search.evaluation import find_device
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
    """Return True if the folder holds a run that has finished an epoch."""
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
        folder, model: the folder, and the model at this point.
        optimizers: in the order in which `restore` will get them.
        plan: texts and numbers, which must be equal in the resumed run.
        rows: the metrics, a row per epoch.

    Raises:
        OSError: a file cannot be written.
    """
    cuda = find_device(model).type == "cuda"
    state = {
        "plan": dict(plan),
        "rows": list(rows),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state(find_device(model)) if cuda else None,
    }
    archive = io.BytesIO()  # torch's error for a full disk is no OSError
    torch.save(state, archive)
    archive.seek(-2, os.SEEK_END)  # where the length of the comment is
    archive.write((len(_COMMENT) + _HEX).to_bytes(2, "little") + _COMMENT)
    archive.write(hashlib.sha256(archive.getbuffer()).hexdigest().encode())
    with atomic_write(folder / NAME) as unfinished:
        unfinished.write_bytes(archive.getbuffer())
    write_json_lines(folder / METRICS, rows)


def restore(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Mapping[str, Any],
    columns: Collection[str] = (),
    metric: str | None = None,
) -> list[Row]:
    """Set model, optimizers and torch's generators to the state where the run stopped, and return its rows.

    Arguments are those of `write`, of a run that has not begun; `columns` are needed in every row, beside the usual,
    and `metric` is what these have for accuracy; None: accuracy, or rmse if the first row has that.

    Raises:
        ValueError: the checkpoint is damaged, or of a run with another plan or model; the model is unchanged then.
        OSError: it cannot be read.
    """
    path = folder / NAME
    state, hashed = _read(path)
    state["plan"].setdefault("objective", "")  # written before there was a choice
    for name, now in plan.items():
        if (then := state["plan"].get(name)) != now:
            raise ValueError(
                f"{path} is of another run: its {name} is {shorten(then)}, not {shorten(now)}; "
                "pass the same settings, or start anew"
            )
    try:
        _check_rows(state["rows"], plan["epochs"], columns, metric)
        saved = _match_model(model, state["model"], hashed)
        pairs = zip(optimizers, state["optimizers"], strict=True)
        matched = [(optimizer, _match_optimizer(optimizer, saved_state)) for optimizer, saved_state in pairs]
        generators = _match_generators(model, state)
        before = copy.deepcopy(model.state_dict())
        try:
            model.load_state_dict(saved)
        except BaseException:
            model.load_state_dict(before)
            raise
    except Exception as error:  # torch and a module's loading may raise errors of any class
        raise ValueError(f"{path} does not fit this model: {shorten(error) or type(error).__name__}") from None
    # Only after all checks: the rest cannot fail, so that no model is changed in parts.
    for optimizer, optimizer_state in matched:
        optimizer.load_state_dict(optimizer_state)
    for device, generator in generators.items():
        if device == "cpu":
            torch.set_rng_state(generator)
        else:
            torch.cuda.set_rng_state(generator, device)
    return state["rows"]


def _read(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the parts of the file, on the CPU, and True if it has a sha256; of the parts only the plan is checked."""
    data = path.read_bytes()
    try:
        if hashed := data[:-_HEX].endswith(_COMMENT):
            right = hashlib.sha256(memoryview(data)[:-_HEX]).hexdigest().encode() == data[-_HEX:]
        else:  # written before there was a sha256, without a comment
            right = data[-_END_SIZE:].startswith(_END) and data.endswith(b"\0\0")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # torch never compresses, but expands a zip bomb
            right = right and sum(member.file_size for member in archive.infolist()) <= len(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True) if right else {}
        plain = type(state["plan"]) is dict
        plain = plain and all(type(value) in (str, int, float, bool) for value in state["plan"].values())
    except Exception:  # a damaged file raises more errors than torch documents
        hashed, plain, state = False, False, {}
    if not plain or state.keys() != _PARTS:
        raise ValueError(f"{path} is not a checkpoint, or a damaged one")
    return state, hashed


def _check_rows(rows: Any, epochs: int, columns: Collection[str], metric: str | None) -> None:
    if type(rows) is not list or len(rows) > epochs or any(type(row) is not dict for row in rows):
        raise ValueError(f"its rows are no list of at most {epochs} epochs")
    name = metric or ("rmse" if rows and "train_rmse" in rows[0] else "accuracy")
    needed = [column.replace("accuracy", name) for column in (*_FINITE, *columns)]
    for epoch, row in enumerate(rows, 1):
        for name in needed:
            if name not in row:
                raise ValueError(f"row {epoch} has no {name}")
        for name, value in row.items():
            if type(name) is not str or type(value) not in (int, float):
                raise ValueError(f"row {epoch} has {shorten(name)} = {shorten(value)}, expected a number")
            if not math.isfinite(value) and name in needed[: len(_FINITE)]:  # of a number too large it raises
                raise ValueError(f"row {epoch} has {name} = {value}, expected a finite number")
        if type(row["epoch"]) is not int or row["epoch"] != epoch:
            raise ValueError(f"row {epoch} has epoch = {row['epoch']}")


def _match_model(model: nn.Module, saved: Any, hashed: bool) -> dict[str, Any]:
    """Return the model's state dict with the saved values, whose dtypes, shapes and layouts are those of the model.

    Modules that override loading, such as observers, may take other shapes, and must check them.
    """
    own = model.state_dict()
    if not hashed:  # such versions stored no extra state of masked models
        saved = {name: value for name, value in own.items() if name.endswith(_EXTRA_STATE_KEY_SUFFIX)} | saved
    _check_names("tensor", saved, own)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, value in own.items():
        if isinstance(value, Tensor):
            owner = type(modules.get(name.rpartition(".")[0]))
            usual = getattr(owner, "_load_from_state_dict", None) is nn.Module._load_from_state_dict
            _check_tensor(name, saved[name], value, shape=value.shape if usual else None)
        own[name] = saved[name]  # into the model's dict: torch obeys the metadata of a loaded dict
    return own


def _match_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> dict[str, Any]:
    """Return the optimizer's options with copies of the saved state in its parameters' dtypes and layouts."""
    own = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group, expected in zip(saved["param_groups"], own["param_groups"], strict=True):
        _check_names("option of the optimizer", group, expected)
        for name in expected.keys() - {"lr"}:  # which is set before every step
            if group[name] != expected[name]:
                raise ValueError(f"its optimizer has {name} = {shorten(group[name])}, expected {expected[name]}")
    like = _LIKE_PARAMETERS[next(kind for kind in _LIKE_PARAMETERS if isinstance(optimizer, kind))]
    state = {}
    for number, values in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"its optimizer has a state for parameter {shorten(number)} of {len(parameters)}")
        state[number] = {name: _match_state(name, value, parameters[number], like) for name, value in values.items()}
        if "exp_avg" in like and state[number]:
            _check_names("state of the optimizer", state[number], [*like, "step"])
    return {"state": state, "param_groups": own["param_groups"]}


def _match_state(name: str, value: Any, parameter: Tensor, like: Collection[str]) -> Any:
    if name == "step":
        if not (float(value) >= 0 and float(value).is_integer()):
            raise ValueError(f"its optimizer is at step {shorten(value)}")
        return torch.tensor(float(value), device="cpu")
    if name not in like:
        raise ValueError(f"its optimizer has a state {shorten(name)}, expected {', '.join(sorted(like))}")
    if value is None and name == "momentum_buffer":
        return None
    # A copy: a step in place must meet neither expanded tensors nor shared memory.
    checked = _check_tensor(name, value, parameter, shape=parameter.shape)
    return torch.empty_like(parameter, device="cpu", requires_grad=False).copy_(checked)


def _check_names(kind: str, saved: Any, expected: Collection[str]) -> None:
    for name in sorted({*expected} ^ {*saved}, key=str):
        raise ValueError(f"it {'lacks' if name in expected else 'has'} the {kind} {shorten(name)!r}")


def _check_tensor(name: str, saved: Any, own: Tensor, shape: torch.Size | None) -> Tensor:
    if not isinstance(saved, Tensor) or saved.device.type != "cpu":
        raise ValueError(f"{name!r} must be a tensor, got {shorten(type(saved).__name__)}")
    if (saved.dtype, saved.layout) != (own.dtype, own.layout):
        raise ValueError(f"{name!r} must be {own.dtype}, {own.layout}, got {saved.dtype}, {saved.layout}")
    if shape is not None and saved.shape != shape:
        raise ValueError(f"{name!r} must have shape {tuple(shape)}, got {tuple(saved.shape)}")
    return saved


def _match_generators(model: nn.Module, state: Mapping[str, Any]) -> dict[Any, Tensor]:
    """Return the states of the generators by device, after new generators have taken them."""
    states: dict[Any, Any] = {"cpu": state["random"]}
    if find_device(model).type == "cuda" and state["cuda_random"] is not None:  # None: the run began on the CPU
        states[find_device(model)] = state["cuda_random"]
    for device, value in states.items():
        generator = torch.Generator(device)
        own = generator.get_state()
        states[device] = _check_tensor("random", value, own, shape=own.shape).contiguous().clone()
        generator.set_state(states[device])
    return states
