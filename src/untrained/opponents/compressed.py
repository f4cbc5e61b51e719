"""The file of a trained opponent: what tickets of format 2 have, without a seed: codes in contexts, scales, statistics.

    kind     the 8 bytes "trained1", and the 8 of the check
    header   compressed canonical JSON: opponent, network, meta, producer, and a line for each tensor of the state
    coded    a tensor with the line {"scale": …}: its codes, by the coder of tickets, and its scale, float16
    whole    any other tensor, with the line of a stored tensor of a ticket: rounded to float16 where that is finite,
             and in the narrowest dtype that holds its numbers exactly

The network is built from its name and arguments in the header, which give the shapes of coded tensors; a file that asks
for many more weights than its bytes can hold is refused before any is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from untrained._version import __version__
from untrained.masking.masked_class import tensors_of
from untrained.models.registry import Network, build
from untrained.opponents.base import Coded, Opponent
from untrained.opponents.course import weights_of
from untrained.opponents.quantise import decode
from untrained.tickets import container, header
from untrained.tickets.coded import Job, Side, decode_each, encode
from untrained.tickets.contexts import Seeded
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TensorEntry, TicketError

_PARTS = "codes", "scale"
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("opponent", "meta", "tensors"), (dict,)),
    "network": (dict, type(None)),
    "producer": (str,),
}


@final
@dataclass(frozen=True)
class Compressed:
    """Network of an opponent, as its file holds it.

    Attributes:
        opponent: its configuration.
        coded: codes and scales.
        whole: the other tensors.
        built_by: name and arguments of the network, when it is one of `untrained.models`.
        meta: JSON-able facts.
    """

    opponent: Opponent
    coded: Coded
    whole: Mapping[str, Tensor]
    built_by: Mapping[str, Any] | None
    meta: Mapping[str, Any]

    @staticmethod
    def of(network: nn.Module, coded: Coded, opponent: Opponent, meta: Mapping[str, Any]) -> Compressed:
        """Take a network that `shrink_` gave these weights, with statistics taken since.

        Raises:
            ValueError: a number is not finite.
        """
        whole = {name: _shorten(t) for name, t in _state(network).items() if name not in coded}
        numbers = {
            f"{name} ({what})": each for name, pair in coded.items() for what, each in zip(_PARTS, pair, strict=True)
        }
        numbers |= whole
        for name, tensor in numbers.items():
            if tensor.is_floating_point() and not tensor.double().isfinite().all():
                raise ValueError(f"{name} must be finite in float16: the training diverged; try a lower rate")
        built_by = network.built_by if isinstance(network, Network) else None
        return Compressed(opponent, coded, whole, built_by, meta)

    def to_bytes(self) -> bytes:
        """Return the bytes of the file."""
        lines, data = {}, {}
        for name, (codes, scale) in self.coded.items():
            flat = codes.to("cpu", torch.int8).contiguous().numpy().reshape(-1)
            line, its = container.store(scale.cpu())
            lines[name] = {"scale": line}
            data[name] = container.codes_bytes(encode(flat, _seedless(name, codes), None)) + its
        for name, tensor in self.whole.items():
            lines[name], data[name] = container.store(tensor.cpu())
        head = {"opponent": header.describe(self.opponent), "network": self.built_by, "meta": self.meta}
        head |= {"tensors": lines, "producer": f"untrained {__version__}"}
        return container.pack(container.TRAINED, b"", head, data)

    @staticmethod
    def load(path: Path, model: nn.Module | None = None) -> Compressed:
        """Read a file; `model` is a freshly built network, if it is none of `untrained.models`.

        Raises:
            TicketError: it is missing, damaged, or not the file of an opponent; the message names the file.
        """
        with add_path_to_errors(path), header.within_memory():
            return _read(path, model)

    @torch.no_grad()
    def network(self, model: nn.Module | None = None) -> nn.Module:
        """Return the network, in evaluation mode and on the CPU; `model` is as of `load`, and becomes it."""
        network = (_build(self.built_by) if model is None else model).eval()
        _fill_(network, self.coded)
        held = _state(network)
        for name, tensor in self.whole.items():
            held[name].copy_(tensor)
        return network


@torch.no_grad()
def shrink_(network: nn.Module, opponent: Opponent) -> Coded:
    """Give a network the weights that its opponent's file holds, and return their codes and scales.

    Raises:
        ValueError: a weight is infinite or NaN.
    """
    weights = weights_of(network)
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{name!r} must be finite: the training diverged")
    coded = opponent.coded(weights)
    _fill_(network, coded)
    return coded


def _fill_(network: nn.Module, coded: Coded) -> None:
    for name, (codes, scale) in coded.items():
        weight = network.get_parameter(name)
        weight.copy_(decode(codes.to(weight), scale.to(weight.device)))


def _read(path: Path, model: nn.Module | None) -> Compressed:
    data = container.whole(path)
    if not data.startswith(container.TRAINED):
        raise TicketError("not the file of a trained opponent, or one of an older version, which cannot be read")
    _, head, side = container.unpack(data, 0)
    header.check_keys("the header", head, _KINDS, set())
    opponent = header.revive(Opponent, head["opponent"], "opponent")
    with torch.device("meta"):
        held = _state(_build(head["network"]) if model is None else model)
    for name in sorted(held.keys() ^ head["tensors"].keys()):
        raise TicketError(f"{name!r} is {'missing' if name in held else 'not in the network'}")
    header.check_expansion({n: TensorEntry(tuple(t.shape), t.dtype) for n, t in held.items()}, len(side.data))
    coded, whole = _take(head["tensors"], held, side)
    return Compressed(opponent, coded, whole, head["network"], head["meta"])


def _build(built_by: Mapping[str, Any] | None) -> nn.Module:
    if built_by is None:
        raise TicketError("it does not describe its network; pass a freshly built model")
    header.check_keys("the network", built_by, {"name": (str,), "arguments": (dict,)}, set())
    try:
        return build(built_by["name"], **built_by["arguments"])
    except (TypeError, ValueError) as error:
        raise TicketError(f"its network: {error}") from None


def _take(lines: Mapping[str, Any], held: Mapping[str, Tensor], side: Side) -> tuple[Coded, dict[str, Tensor]]:
    """Return codes and scales, and the other tensors."""
    jobs, scales, whole = {}, {}, {}
    for name, line in sorted(lines.items()):
        like = held[name]
        try:
            if not isinstance(line, dict):
                raise TicketError(f"{name!r} is described by {str(line)[:80]!r}")
            if "scale" in line:
                jobs[name] = Job(container.take_codes(side), _seedless(name, like), None, like.numel())
                scales[name] = _take_scale(name, line, like, side)
            else:
                whole[name] = _finite(name, container.take_stored(name, line, side))
        except ValueError as error:
            raise error if isinstance(error, TicketError) else TicketError(f"{name!r}: {error}") from None
        if name in whole and (whole[name].shape != like.shape or whole[name].dtype != like.dtype):
            raise TicketError(f"{name!r} is {_form(whole[name])} in the file and {_form(like)} in the network")
    if side.at != len(side.data):
        raise TicketError("it holds more than its tensors")
    coded, decoded = {}, decode_each(list(jobs.values()))
    for name, scale in scales.items():
        try:
            flat = next(decoded)
        except ValueError as error:
            raise TicketError(f"the codes of {name!r}: {error}") from None
        coded[name] = (flat if isinstance(flat, Tensor) else flat.codes()).reshape(held[name].shape), scale
    return coded, whole


def _take_scale(name: str, line: Mapping[str, Any], like: Tensor, side: Side) -> Tensor:
    header.check_keys(repr(name), line, {"scale": (dict,)}, set())
    scale = _finite(name, container.take_stored(name, line["scale"], side))
    if like.ndim < 2 or scale.dtype != torch.float16 or scale.shape not in ((1,), (len(like),)):
        raise TicketError(f"{name!r} is {_form(like)} in the network and its scale {_form(scale)}")
    return scale


def _finite(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() and not tensor.double().isfinite().all():
        raise TicketError(f"{name!r} holds a number that is not finite")
    return tensor


def _seedless(name: str, tensor: Tensor) -> Seeded:
    """Return what codes have as contexts: rows and columns, without weights or scores of a seed."""
    return Seeded(None, name, tuple(tensor.shape), None)


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state that a forward pass uses, each tensor once: no counts of batches."""
    counts = {f"{path}.num_batches_tracked" for path, m in network.named_modules() if isinstance(m, _NormBase)}
    return {name: tensor for name, tensor in tensors_of(network).items() if name not in counts}


def _shorten(tensor: Tensor) -> Tensor:
    """Return a copy that is rounded to float16 where that is finite."""
    tensor = tensor.detach()
    half = tensor.to(torch.float16).to(tensor.dtype) if tensor.is_floating_point() else tensor
    return (half if half.isfinite().all() else tensor).clone()


def _form(tensor: Tensor) -> str:
    return f"{header.dtype_name(tensor.dtype)} {tuple(tensor.shape)}"
