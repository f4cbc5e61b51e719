"""Networks of timm and transformers by name, such as `timm:convnext_atto` or `hf:prajjwal1/bert-tiny`.

Weights are random unless pretrained ones are asked for. Code of a model's author is never run (`trust_remote_code`). A
description in a ticket holds the whole configuration, so that nothing is downloaded for it.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained.models.brought import Brought, Description

_TASKS = {
    "image-classification": "AutoModelForImageClassification",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "causal-lm": "AutoModelForCausalLM",
}
# Of a configuration: where it was, what names code, kernels or files elsewhere, and what the ticket has anyway.
_LEFT_OUT = re.compile(
    r"_.*|auto_map|attn_implementation|experts_implementation|quantization_config|architectures|transformers_version"
    r"|id2label|label2id|dtype|torch_dtype|trust_remote_code|use_kernels"
)
_WORD = re.compile(r"[\w.-]{0,60}")
_MOST_LAYERS = 1000


@final
class Logits(nn.Module):
    """Network of transformers that gives its logits alone: (batch, classes), or (batch, classes, positions)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).logits.movedim(-1, 1)


@final
@dataclass(frozen=True)
class TimmNetwork(Brought):
    """Network of `timm.create_model`.

    Attributes:
        name: "timm:" and the name of the architecture.
        arguments: further arguments of `create_model`, such as `drop_path_rate`.
    """

    name: str
    arguments: Mapping[str, Any]

    def describe(self, shape: Sequence[int], classes: int) -> dict[str, Any]:
        return {"name": self.name, "arguments": dict(self.arguments), "shape": list(shape), "classes": classes}

    def make(self, shape: Sequence[int], classes: int, *, pretrained: bool) -> nn.Module:
        architecture = self.name.partition(":")[2]
        _check_word("the architecture", architecture)
        for name, value in self.arguments.items():
            if re.match("pretrained|checkpoint|cache|scriptable|exportable", name) or not _is_plain(value):
                raise ValueError(f"{self.text}: {name}={value!r} is not one of an architecture's settings")
        try:
            timm: Any = importlib.import_module("timm")
        except ImportError as error:
            raise ImportError(f"{self.name} needs timm: pip install timm ({error})") from None
        options = {"num_classes": classes, "in_chans": shape[0], **self.arguments}
        return _guarded(self, lambda: timm.create_model(architecture, pretrained=pretrained, **options))


@final
@dataclass(frozen=True)
class TransformersNetwork(Brought):
    """Network of transformers, from its configuration.

    Attributes:
        name: "hf:" and the name of a model of the hub, or of a folder; of a folder, what tickets keep is its own name.
        arguments: fields of the configuration that are others, such as `num_hidden_layers`, and `task`.
        config: the configuration, where a ticket holds it; empty: it is read by the name.
    """

    name: str
    arguments: Mapping[str, Any]
    config: Mapping[str, Any]

    def describe(self, shape: Sequence[int], classes: int) -> dict[str, Any]:
        with _quiet():
            config = self._configure(shape, classes, pretrained=False)
        place = self.name.partition(":")[2]
        short = f"hf:{Path(place).resolve().name}" if Path(place).is_dir() else self.name
        facts = {"name": short, "arguments": dict(self.arguments), "shape": list(shape), "classes": classes}
        return facts | {"config": _cleaned(config.to_diff_dict()) | {"num_labels": classes}}

    def make(self, shape: Sequence[int], classes: int, *, pretrained: bool) -> nn.Module:
        with _quiet():
            return Logits(_guarded(self, lambda: self._make(shape, classes, pretrained)))

    def _make(self, shape: Sequence[int], classes: int, pretrained: bool) -> nn.Module:
        config = self._configure(shape, classes, pretrained=pretrained)
        task = self.arguments.get("task") or self._task_for(config, shape)
        if task not in _TASKS:
            raise ValueError(f"task must be {', '.join(_TASKS)}, got {task!r}")
        auto = getattr(_transformers(self.name), _TASKS[task])
        same = {"trust_remote_code": False, "attn_implementation": "eager"}  # the same bits on every machine
        if pretrained:
            return auto.from_pretrained(self.name.partition(":")[2], config=config, **same)
        return auto.from_config(config, **same)

    def _configure(self, shape: Sequence[int], classes: int, *, pretrained: bool) -> Any:
        auto = _transformers(self.name).AutoConfig
        own = {name: value for name, value in self.arguments.items() if name != "task"}
        if self.config:
            return auto.for_model(**_cleaned({**self.config}))
        config = auto.from_pretrained(self.name.partition(":")[2], trust_remote_code=False)
        for name, value in own.items():
            if not hasattr(config, name) or _LEFT_OUT.fullmatch(name):
                raise ValueError(f"its configuration has no {name!r}")
            setattr(config, name, value)
        config.num_labels = classes
        if len(shape) == 3 and not pretrained:
            for name, value in {"num_channels": shape[0], "image_size": _side(shape)}.items():
                if hasattr(config, name) and name not in own:
                    setattr(config, name, value)
        if self.arguments.get("task") == "causal-lm" and not pretrained and "vocab_size" not in own:
            config.vocab_size = classes
        return config

    def _task_for(self, config: Any, shape: Sequence[int]) -> str:
        images = _transformers(self.name).AutoModelForImageClassification._model_mapping
        return "image-classification" if len(shape) == 3 and type(config) in images else "sequence-classification"

    def example(self, shape: Sequence[int]) -> Tensor:
        """Return inputs: images for a shape of three sides, else numbers of words."""
        return torch.zeros(2, *shape, dtype=torch.float32 if len(shape) == 3 else torch.int64)


def of_library(name: str, given: Mapping[str, Any]) -> Brought | None:
    """Return the network of a library that a name says; None if it names none of them."""
    if name.startswith("timm:"):
        return TimmNetwork(name, given)
    return TransformersNetwork(name, given, {}) if name.startswith("hf:") else None


def described(told: Description) -> Brought | None:
    """Return the network of a library that a ticket describes; None for one that a user's code gives."""
    if told.sha256 or (found := of_library(told.name, told.arguments)) is None:
        return None
    if isinstance(found, TransformersNetwork):
        return replace(found, config=told.config) if told.config else None
    return found


def _transformers(name: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise ImportError(f"{name} needs transformers: pip install transformers") from None
    return transformers


def _quiet() -> warnings.catch_warnings:
    """Return a context in which deprecations inside of the library, of which users cannot do anything, are silent."""
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)


def _guarded(network: Brought, make: Any) -> nn.Module:
    try:
        return make()
    except Exception as error:  # a library may raise errors of any class
        reason = " ".join(str(error).split())[:400]
        raise ValueError(f"{network.text}: {type(error).__name__}: {reason}") from error


def _cleaned(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what names code, files or versions, and refuse networks inside of it by name."""
    if config.get("backbone") or config.get("model_type") == "timm_wrapper":
        raise ValueError("a configuration that names another network is not supported")
    kept = {name: value for name, value in config.items() if not _LEFT_OUT.fullmatch(str(name))}
    for name, value in kept.items():
        if isinstance(value, int) and value > (_MOST_LAYERS if "layer" in name or "depth" in name else 1 << 24):
            raise ValueError(f"its configuration asks for {name} = {value:,}")
    return {name: _cleaned(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _side(shape: Sequence[int]) -> int | list[int]:
    return shape[1] if shape[1] == shape[2] else list(shape[1:])


def _is_plain(value: Any) -> bool:
    """Return True for what an architecture's setting may be: no path."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float) or bool(_WORD.fullmatch(str(value)))


def _check_word(what: str, text: str) -> None:
    if not _WORD.fullmatch(text):
        raise ValueError(f"{what} must be a name, got {text[:80]!r}")
