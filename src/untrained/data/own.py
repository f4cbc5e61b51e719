"""Data that a user brings: a function `FILE.py:NAME` that returns a DataSet, or three iterables of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor

from untrained.data.dataset import DataSet, find_folder, load_data
from untrained.data.splits import describe_form
from untrained.own_code import OwnCode, arguments, is_code, parse, spelled

PARTS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
IGNORED = -100


@final
class Part:
    """Batches of a part with a length, which an iterable without one lacks."""

    def __init__(self, batches: Iterable[Any], length: int) -> None:
        self.batches, self.length = batches, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def restart(self, seed: int) -> None:
        """Seed a generator that the batches, or their sampler, draw their order from: each search begins alike."""
        for each in (self.batches, getattr(self.batches, "sampler", None)):
            if isinstance(generator := getattr(each, "generator", None), torch.Generator):
                generator.manual_seed(seed)

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the batches, or to their sampler."""
        for each in (self.batches, getattr(self.batches, "sampler", None)):
            if (set_epoch := getattr(each, "set_epoch", None)) is not None:
                set_epoch(epoch)


@final
@dataclass(frozen=True, eq=False)
class BatchData:
    """Three iterables of batches, read once to check them.

    Attributes:
        name: its name.
        train, val, test: the batches.
        shape: of one input.
        classes: number of outputs: classes, one more than the greatest label, or values of a target.
        counts: number of validation labels of each class; none of values.
        meta: what a ticket keeps of it.
    """

    name: str
    train: Part
    val: Part
    test: Part
    shape: tuple[int, ...]
    classes: int
    counts: Tensor
    meta: Mapping[str, Any] = field(default_factory=dict)

    def batches(self, part: Literal["train", "val", "test"], *_: Any, seed: int = 0, **__: Any) -> Part:
        """Return the batches of a part, whose size and order are their own; the seed is for a generator of theirs."""
        its: Part = getattr(self, part)
        its.restart(seed)
        return its


Data = DataSet | BatchData


def read_data(name: str, data_dir: Path | None, size: int | None, ignored: int = IGNORED) -> Data:
    """Return the data of a name or folder, or of a user's code, which is run.

    Raises:
        ValueError, FileNotFoundError, ConnectionError, ImportError: as `load_data`, `OwnCode.of` and `check_data`.
    """
    if not is_own(name):
        return load_data(name, data_dir, size=size)
    for flag, value in (("--data-dir", data_dir), ("--size", size)):
        if value is not None:
            raise ValueError(f"{flag} is for known data sets and folders: give {name} its own arguments in brackets")
    text, given = parse(name, arguments)
    code = OwnCode.of(text)
    try:
        made = code.value(**given)
    except Exception as error:  # a file may raise errors of any class
        raise ValueError(f"{code.name} raised {type(error).__name__}: {error}") from error
    meta = {"name": code.name, "arguments": given, "sha256": code.sha256}
    return check_data(made, spelled(code.name, given), {"data_code": meta}, ignored)


def is_own(name: str) -> bool:
    """Return True if a name of data is that of a user's code."""
    return is_code(name) and find_folder(name) is None


def check_data(made: Any, name: str, meta: Mapping[str, Any] = {}, ignored: int = IGNORED) -> Data:
    """Return data that a user's code made, checked.

    Args:
        made: a DataSet, or three iterables of batches (inputs, labels): train, validation, test.
        name: its name, in messages.
        meta: what a ticket keeps of it.
        ignored: label that is not counted.

    Raises:
        ValueError: it is something else, two parts are the same, an iterable is empty (the second time too), inputs
            have other shapes or are not finite, or labels are out of range.
    """
    if isinstance(made, DataSet):
        _refuse_shared(name, {part: getattr(made, part) for part in PARTS})
        _refuse_shared(name, {part: getattr(made, part).images for part in PARTS})
        return made
    if isinstance(made, Mapping | str | Tensor) or not isinstance(made, Iterable):
        raise ValueError(f"{name} must give a DataSet or three iterables of batches, got a {type(made).__name__}")
    parts = list(made)
    if len(parts) != len(PARTS):
        raise ValueError(f"{name} must give train, validation and test, three iterables of batches, got {len(parts)}")
    named: dict[str, Any] = dict(zip(PARTS, parts, strict=True))
    _refuse_shared(name, named)
    _refuse_shared(name, {part: data for part, its in named.items() if (data := getattr(its, "dataset", None))})
    with torch.random.fork_rng(devices=[]):  # an order that is drawn here is not drawn from the search's numbers
        scans: dict[str, _Scan] = {part: _Scan.of(f"{name}: {part}", its, ignored) for part, its in named.items()}
    first = scans["train"]
    for part, scan in scans.items():
        for what, own, other in (("inputs", scan.form, first.form), ("labels", scan.label_form, first.label_form)):
            if own != other:
                raise ValueError(f"{name}: {what} of {part} must be as those of train, {other}, got {own}")
    for one, other in (("val", "test"), ("train", "val"), ("train", "test")):
        if _equal(scans[one].first, scans[other].first):
            raise ValueError(f"{name}: {one} and {other} begin with the same batch: they must be different examples")
    classes = max(scan.outputs for scan in scans.values())
    if first.of_classes and classes < 2:
        raise ValueError(f"{name}: labels must be of at least two classes, got one")
    its = {part: Part(named[part], scan.length) for part, scan in scans.items()}
    return BatchData(name, **its, shape=first.shape, classes=classes, counts=scans["val"].counts, meta=meta)


def _refuse_shared(name: str, parts: Mapping[str, Any]) -> None:
    """Refuse two parts that are one object: nothing could be measured on examples that were learned."""
    for one, other in (("val", "test"), ("train", "val"), ("train", "test")):
        if one in parts and other in parts and parts[one] is parts[other]:
            raise ValueError(f"{name}: {one} and {other} are the same object: they must be different examples")


@final
@dataclass
class _Scan:
    """Facts that a pass over all batches of a part collects."""

    length: int
    shape: tuple[int, ...]
    form: str
    label_form: str
    outputs: int
    of_classes: bool
    counts: Tensor
    first: Any

    @staticmethod
    def of(what: str, batches: Any, ignored: int) -> _Scan:
        if isinstance(batches, Iterator):
            raise ValueError(f"{what} must give its batches in every epoch, as a list or loader does, got an iterator")
        if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
            raise ValueError(f"{what} must be an iterable of batches, got a {type(batches).__name__}")
        found: _Scan | None = None
        for number, batch in enumerate(batches):
            one = _scan_batch(f"{what}, batch {number + 1}", batch, ignored)
            if found is None:
                found = one
            elif (one.form, one.label_form) != (found.form, found.label_form):
                raise ValueError(
                    f"{what}, batch {number + 1} has inputs {one.form} and labels {one.label_form}, those before "
                    f"{found.form} and {found.label_form}"
                )
            else:
                longest = max(len(found.counts), len(one.counts))
                padded = [torch.nn.functional.pad(c, (0, longest - len(c))) for c in (found.counts, one.counts)]
                found.counts, found.outputs = padded[0] + padded[1], max(found.outputs, one.outputs)
                found.length = number + 1
        if found is None:
            raise ValueError(f"{what} has no batch")
        if next(iter(batches), None) is None:
            raise ValueError(f"{what} has no batch the second time: it must give its batches again in every epoch")
        return found


def _scan_batch(what: str, batch: Any, ignored: int) -> _Scan:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"{what} must be a pair (inputs, labels), got a {type(batch).__name__}")
    x, y = batch
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not x.dim() or not y.dim():
        raise ValueError(f"{what} must be a pair of tensors, got a {type(x).__name__} and a {type(y).__name__}")
    if not len(x) or len(x) != len(y):
        raise ValueError(f"{what} must have as many labels as inputs, and one at least, got {len(x)} and {len(y)}")
    for kind, tensor in (("inputs", x), ("labels", y)):
        if tensor.is_complex() or (tensor.is_floating_point() and not bool(tensor.isfinite().all())):
            raise ValueError(f"{what} has {kind} that are not finite real numbers")
    tokens = not x.is_floating_point()  # sequences of tokens may have any length
    shape = tuple(x.shape[1:])
    form = describe_form(x[0]) if not tokens else f"{describe_form(x[:0])[:-1].split('(')[0]}of {x.dim()} axes"
    if y.is_floating_point():
        outputs = 1 if y.dim() == 1 else y.shape[1]
        return _Scan(1, shape, form, describe_form(y[0]), outputs, False, torch.zeros(0), (x, y))
    labels = y.long()[y.long() != ignored]
    if labels.numel() and int(labels.min()) < 0:
        least = int(labels.min())
        raise ValueError(f"{what} has a label {least}: labels are 0, 1, 2, …, or {ignored} where none counts")
    outputs = int(labels.max()) + 1 if labels.numel() else 0
    if outputs > 1 << 24:
        raise ValueError(f"{what} has a label {outputs - 1}, which is too large")
    counts = torch.bincount(labels.cpu().flatten(), minlength=outputs)
    if tokens and x.shape == y.shape:  # of a language: the inputs are of the same kind
        outputs = max(outputs, int(x.max()) + 1)
    return _Scan(1, shape, form, f"integers of {y.dim()} axes", outputs, True, counts, (x, y))


def _equal(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    """Return True if two first batches are the same; single examples may be so by chance."""
    return len(a[0]) > 1 and all(
        one.shape == other.shape and bool((one == other).all()) for one, other in zip(a, b, strict=True)
    )
