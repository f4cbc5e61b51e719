"""The settings of one search: the flags of `untrained find`, the keys of its TOML file. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

from cyclopts import Parameter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `find` is to do.

    Args:
        model: Network: fc, conv2, conv4, conv6, conv8, mnist-conv, resnet18, resnet34, resnet50, resnet101,
            wide-resnet50 or wide-resnet101.
        widths: Hidden units of an fc network, one number a layer (default: 300 100).
        width: Factor on the channels of a convolutional network.
        data: Data set: digits (comes with the package), mnist, fashion-mnist, kmnist, cifar10, cifar100, or a folder of
            class folders of images.
        data_dir: Where a data set is, or where to download it to (default: your cache folder).
        size: Side in pixels that the images of a folder are scaled to.
        method: How the subnetwork is found.
        keep: Fraction of the weights kept, in (0, 1].
        scope: Keep that fraction of every layer, or of all weights ranked together (global).
        recipe: How the scores learn: our defaults, or exactly as the paper's authors.
        epochs: Passes over the training data.
        batch_size: Images per step.
        seed: Gives the weights, the first scores and the order of the images.
        out: Folder for the ticket, metrics, settings, checkpoint and picture (default: a new one under runs).
        resume: Go on with the search in the folder of --out.
        twin: Also train the weights of the same network, to compare.
        device: cpu, cuda, … (default: cuda if there is one).
        amp: Compute in bfloat16.
    """

    model: str = "fc"
    widths: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True)] = None
    width: float | None = None
    data: str = "digits"
    data_dir: Path | None = None
    size: int | None = None
    method: Literal["edge-popup"] = "edge-popup"
    keep: float = 0.5
    scope: Literal["layer", "global"] = "layer"
    recipe: Literal["ours", "paper"] = "ours"
    epochs: int = 30
    batch_size: int = 64
    seed: int = 0
    out: Path | None = None
    resume: bool = False
    twin: Annotated[bool, Parameter(negative="--no-twin")] = True
    device: str | None = None
    amp: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed must be in [0, 2**64), got {self.seed}")

    def to_toml(self) -> str:
        """The settings that describe the search, as TOML that `--config` reads."""
        return to_toml(self)


def to_toml(settings: DataclassInstance) -> str:
    """Settings as TOML: all fields but `out`, `resume` and what is None."""
    chosen = {field.name: getattr(settings, field.name) for field in fields(settings)}
    lines = [
        f"{name.replace('_', '-')} = {_value(value)}"
        for name, value in chosen.items()
        if value is not None and name not in ("out", "resume")
    ]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    # JSON's strings, numbers, booleans and lists of them are TOML too.
    return json.dumps(str(value) if isinstance(value, Path) else value)
