"""Settings of `find`, `compare` and `sweep`: their flags, and the keys of their TOML files. Imports no torch."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, final

from cyclopts import Parameter, Token

from untrained.fields import check_fields, hint_at_percent
from untrained.own_code import is_code, short

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_WIDEST = 64  # as that of the networks
_MOST_SEEDS = 10_000
_CELL = re.compile(r"[0-9]{1,6}/[0-9]{1,6}")


def number_or_cluster(_: Any, tokens: Sequence[Token]) -> int | str:
    """Return a number or a cluster; what a cluster answers may run code, so that only the flag may name one."""
    token = tokens[0]
    if token.value.removeprefix("-").isdecimal():
        return int(token.value)
    if token.source != "cli":
        raise ValueError(f"{token.source} names the cluster {token.value[:500]!r}, which only a flag may do")
    return token.value


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Settings that all networks of one comparison share.

    Args:
        model: Network: fc, conv2, conv4, conv6, conv8, mnist-conv, resnet18, resnet34, resnet50, resnet101,
            wide-resnet50 or wide-resnet101; or FILE.py:NAME, a function or class of your own that gives an nn.Module,
            with its arguments in brackets: cnn.py:build(width=2). Its arguments called shape and classes are those of
            the data. Also timm:NAME and hf:NAME, with random weights. (In a file of settings or with --resume, give it
            again as a flag.)
        pretrained: Search on the weights that the network of --model has, not on random ones.
        widths: Hidden units of an fc network, one number a layer (default: 300 100).
        width: Factor on the channels of a convolutional network.
        activation: Activation between the layers.
        norm: Norm before every activation: batch norms without scale and shift (default: none; residual networks have
            norms already). The statistics of all norms are taken anew at the end.
        folded: One random block shared by all but the first of a stage of a residual network.
        data: Data set: digits (comes with the package), mnist, fashion-mnist, kmnist, cifar10, cifar100, a folder of
            class folders of images, or FILE.py:NAME of your function, which returns a DataSet or three iterables of
            batches.
        loss: Loss: cross-entropy, next-token, mse, or FILE.py:NAME of your function (outputs, targets) → mean (default:
            by the type of the labels: cross entropy of integers).
        metric: Metric: accuracy, perplexity, mean-iou, rmse, r2, or FILE.py:NAME of your function, which states
            higher_is_better (default: accuracy, or rmse of values).
        data_dir: Folder of the data set, or for its download (default: your cache folder).
        size: Side in pixels that the images of a folder are scaled to.
        weights: Law of the frozen weights, such as kaiming-normal(scaled=True) (default: that of the method).
        densities: Keep the same fraction of every tensor (uniform), the same number of inputs of every unit (balanced),
            or more of small tensors (erk); the same number in all (default: uniform). In compare, sweep and frontier,
            methods that rank all tensors together or learn how many to keep stay uniform.
        recipe: Recipe of the scores: the default one, or that of the method's authors, with their weights (paper); or
            the one for the smallest files: small, which also means --norm batch (not for residual networks),
            --densities balanced, and in find --method small and --keep 0.05, unless they are given. Epochs, batch size
            and the recipe of the twin stay the same.
        epochs: Passes over the training data.
        batch_size: Images per step.
        out: Folder of all files (default: a new one under runs).
        resume: Resume the run in the folder of --out.
        device: cpu, cuda, … (default: cuda if there is one).
        amp: Compute in bfloat16.
    """

    model: str = "fc"
    pretrained: bool = False
    widths: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True)] = None
    width: float | None = None
    activation: Literal["relu", "elu", "sign"] = "relu"
    norm: Literal["batch"] | None = None
    folded: bool = False
    data: str = "digits"
    loss: str | None = None
    metric: str | None = None
    data_dir: Path | None = None
    size: int | None = None
    weights: str = "recommended"
    densities: Literal["uniform", "balanced", "erk"] | None = None
    recipe: Literal["ours", "paper", "small"] = "ours"
    epochs: int = 30
    batch_size: int = 64
    out: Path | None = None
    resume: bool = False
    device: str | None = None
    amp: bool = False

    def __post_init__(self) -> None:
        for name in ("out", "data_dir", "start"):
            if isinstance(path := getattr(self, name, None), str | Path):
                object.__setattr__(self, name, Path(os.path.expanduser(path)))  # noqa: PTH111  keeps ~user if there is none
        if merge := getattr(self, "merge", ()):
            folders = [merge] if isinstance(merge, str | Path) else merge
            object.__setattr__(self, "merge", tuple(Path(os.path.expanduser(each)) for each in folders))  # noqa: PTH111
        if isinstance(self.widths, list):
            object.__setattr__(self, "widths", tuple(self.widths))
        check_fields(self)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be 1 or more, got {getattr(self, name)}")

        if self.norm is not None and self.batch_size < 2:
            raise ValueError(f"batch-size must be 2 or more with a norm, got {self.batch_size}")

    def describe_network(self) -> str:
        """Return the network in words, such as "fc 64-64 with batch norm"."""
        sizes = [] if not self.widths else ["-".join(map(str, self.widths))]
        return " ".join([short(self.model), *sizes, *([] if self.norm is None else [f"with {self.norm} norm"])])

    def to_toml(self) -> str:
        """Return the settings that describe the search, as TOML that `--config` reads."""
        return to_toml(self)


@final
@dataclass(frozen=True, kw_only=True)
class Settings(Setup):
    """Settings of `find`.

    Args:
        method: Method of the search: edge-popup, biprop, iterand, gem-miner, multicoated, signed-supermask,
            threshold, bernoulli, fedpm, relaxed-bernoulli, slot-machines, nudge, partly-frozen, or FILE.py:CLASS
            of your own (in a file of settings or with --resume, give it again as a flag: files do not run code);
            with options in brackets, such as edge-popup(signed=True), and another method for the last layer alone:
            edge-popup(signed=True,last=Nudge(step=1,levels=7)), which may also be written small (default: edge-popup).
        keep: Fraction of the weights kept, in (0, 1], for methods that take it (default: 0.5).
        scope: Keep that fraction of every layer, or of all weights ranked together (global).
        seed: Seed of the weights, the first scores and the order of the images.
        lr: Highest learning rate of the scores, instead of the recipe's; not of a last layer with a method of its own.
        start: Ticket of an earlier search to begin with. Network, seed, weights, method and keep must be those of the
            ticket; add --config with the file of its run.
        twin: Also train the weights of the same network, to compare.
    """

    method: str | None = None
    keep: float | None = None
    scope: Literal["layer", "global", "normalised"] | None = None
    seed: int = 0
    lr: float | None = None
    start: Annotated[Path | None, Parameter(name=("--from", "--start"))] = None
    twin: Annotated[bool, Parameter(negative="--no-twin")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed must be in [0, 2**64), got {self.seed}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {self.lr}")


@dataclass(frozen=True, kw_only=True)
class GridSettings(Setup):
    """Settings that `compare` and `sweep` share.

    Args:
        methods: Methods, with commas between them, or all; options in brackets: edge-popup(scope=global), and last= as
            in find. Trained opponents too: int8-twin, int4-twin, ternary-twin, binary-twin, pruned-twin, narrow-twin,
            imp-ticket, or opponents for all of these that suit the network.
        method: One more method, such as yours: FILE.py:CLASS.
        keep: Fractions of the weights kept, with commas between them, for methods that take it.
        seeds: Number of seeds: 0, 1, 2 …
        against: Row of the table that the others are compared with: a method, or a row, such as "edge-popup, keep 0.5".
        jobs: Searches at a time (default: one a core, or the number of joblib.parallel_config); or the cluster whose
            workers search: dask:ADDRESS, ray:ADDRESS, or dask or ray for the one that its own variables name, or for
            workers on this machine.
        cell: Search only the i-th of n equal parts of the networks, for i/n, into a folder of its own in that of --out;
            the same command again continues it.
        merge: Join the parts in these folders, or in a folder that has all, into one run (default of --out: that
            folder).
        objects: Objects of Python that take the place of names, and their hashes; a resumed run must have the same.
    """

    methods: str = "all"
    method: tuple[str, ...] = ()
    keep: str = "0.5"
    seeds: int = 3
    against: str = "trained twin"
    jobs: Annotated[int | str | None, Parameter(converter=number_or_cluster)] = None
    cell: str | None = None
    merge: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    objects: Annotated[tuple[str, ...] | None, Parameter(parse=False)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell is not None:
            numbers = [int(part) for part in self.cell.split("/")] if _CELL.fullmatch(self.cell) else []
            if not numbers or not 1 <= numbers[0] <= numbers[1]:
                raise ValueError(f"cell must be i/n, such as 1/8, with i from 1 to n, got {self.cell!r}")
            if self.merge:
                raise ValueError("cell and merge cannot be together: merge when all cells are done")
        if not 1 <= self.seeds <= _MOST_SEEDS:
            raise ValueError(f"seeds must be in [1, {_MOST_SEEDS:,}], got {self.seeds:,}")
        if self.jobs == 0:
            raise ValueError("jobs must not be 0")
        self.keeps()

    def keeps(self) -> tuple[float, ...]:
        """Return the fractions of `keep`, each once."""
        return _numbers("keep", self.keep, 1)


@final
@dataclass(frozen=True, kw_only=True)
class CompareSettings(GridSettings):
    """Settings of `compare`: those of `GridSettings`."""


@final
@dataclass(frozen=True, kw_only=True)
class SweepSettings(GridSettings):
    """Settings of `sweep`. One of keep, width and weights has several values; the others have one.

    Args:
        keep: Fractions of the weights kept, with commas between them.
        width: Factors on the channels, or on the hidden units of an fc network, with commas between them.
        weights: Laws of the frozen weights, with commas between them: signed-constant,kaiming-normal(scaled=True).
    """

    methods: str = "edge-popup"
    width: str = "1"  # pyright: ignore[reportIncompatibleVariableOverride]  the same flag, but a list

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factors()

    def factors(self) -> tuple[float, ...]:
        """Return the factors of `width`, each once."""
        return _numbers("width", self.width, _WIDEST)


@final
@dataclass(frozen=True, kw_only=True)
class FrontierSettings(GridSettings):
    """Settings of `frontier`.

    Args:
        methods: Methods of tickets, with commas between them.
        keep: Fractions of the weights kept, with commas between them, for methods and opponents that take it.
        width: Factors on the channels, or on the hidden units of an fc network, with commas between them (default:
            0.25,0.5,1 where the network has a width).
        norm: Norms, none or batch, with commas between them (default: batch where the network can have one).
        densities: As in find, uniform for the same methods as in compare (default: balanced).
        opponents: Trained networks, with commas between them: int8-twin, int4-twin, ternary-twin, binary-twin,
            pruned-twin, narrow-twin, imp-ticket, with options in brackets; or none, or all that suit the network
            (default: all, with imp-ticket(keep=0.1)). The trained twin is always in the table.
        against: Method that tickets are measured against (default: at every size the best trained network).
    """

    methods: str = "edge-popup,small"
    keep: str = "0.5,0.1,0.05,0.03"
    width: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]  the same flag, but a list
    norm: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]  likewise
    opponents: str | None = None
    against: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factors()
        self.norms()

    def factors(self) -> tuple[float, ...]:
        """Return the factors of `width`, each once; none if they are not set."""
        return () if self.width is None else _numbers("width", self.width, _WIDEST)

    def norms(self) -> tuple[str, ...]:
        """Return the norms, each once; none if they are not set."""
        norms = tuple(dict.fromkeys(part.strip() for part in (self.norm or "").split(",") if part.strip()))
        if {*norms} - {"none", "batch"} or (self.norm is not None and not norms):
            raise ValueError(f"norm must be none, batch or both with a comma between them, got {self.norm!r}")
        return norms


_Setup = TypeVar("_Setup", bound=Setup)
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ours": {"densities": "uniform", "method": "edge-popup", "keep": 0.5},
    "small": {"densities": "balanced", "method": "small", "keep": 0.05, "norm": "batch"},
}


def settle(settings: _Setup, changes: Mapping[str, Any]) -> _Setup:
    """Return the settings with changes, and with the recipe's value for every field that is None in them."""
    settings = replace(settings, **changes)
    return fill(settings, settings.recipe)


def fill(settings: _Setup, recipe: object) -> _Setup:
    """Return the settings with a recipe's value, or that of "ours", for every field that is None in them."""
    defaults = _DEFAULTS["small" if recipe == "small" else "ours"]
    if "resnet" in settings.model or is_code(settings.model):  # these have norms already, and take no other
        defaults = {name: value for name, value in defaults.items() if name != "norm"}
    missing = {n: value for n, value in defaults.items() if hasattr(settings, n) and getattr(settings, n) is None}
    return replace(settings, **missing)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file; none without a file.

    Raises:
        ValueError: it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def to_toml(settings: DataclassInstance) -> str:
    """Return settings as TOML: all fields but those of its folder and those that are None."""
    chosen = {field.name: getattr(settings, field.name) for field in fields(settings)}
    lines = []
    for name, value in chosen.items():
        of_now = name == "jobs" and isinstance(value, str)  # a cluster, which no file may name
        if value is not None and not of_now and name not in ("out", "resume", "cell", "merge"):
            # JSON's strings, numbers, booleans and lists of them are TOML too.
            text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
            lines.append(f"{name.replace('_', '-')} = {text}\n")
    return "".join(lines)


def _numbers(name: str, text: str, most: float) -> tuple[float, ...]:
    """Return the numbers between the commas, each once.

    Raises:
        ValueError: there is none, or one is no number in (0, most].
    """
    try:
        numbers = tuple(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise ValueError(f"{name} must be numbers with commas between them, got {text!r}") from None
    if not numbers or not all(0 < number <= most for number in numbers):
        hint = hint_at_percent(max(numbers, default=0)) if name == "keep" else ""
        raise ValueError(f"{name} must be in (0, {most}], got {text!r}{hint}")
    return numbers
