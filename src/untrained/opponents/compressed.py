"""The file of a trained opponent: safetensors with a header, entropy-coded codes, scales and other tensors.

    header   canonical JSON under the key "untrained", as that of a ticket: format, opponent, network, meta, producer,
             sha256, and for each coded tensor its shape, coding, values, counts and number of scales
    codes/N  the bytes of the codes of tensor N, by the coder of tickets
    scales   float16, of all coded tensors in the order of their names
    whole/N  any other tensor of the state: float16, float8 (e4m3fn) where that holds its numbers exactly, or its own
             dtype where float16 cannot hold them

The network is built from its name and arguments in the header; codes are decoded only after all shapes are found to be
those of the network, so that a small file cannot ask for more memory than a network of `untrained.models` may have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from untrained._version import __version__
from untrained.masking.masked_class import tensors_of
from untrained.models.registry import Network, build
from untrained.opponents.base import Coded, Opponent
from untrained.opponents.course import weights_of
from untrained.opponents.quantise import decode
from untrained.tickets import codec, hashes, header
from untrained.tickets.codec import Encoded
from untrained.tickets.file import add_path_to_errors, read_safetensors
from untrained.tickets.header import TicketError

FORMAT = "compressed-1"
_PARTS = "codes", "scale"
_NARROW = torch.float8_e4m3fn, torch.float16
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("format", "producer", "sha256"), (str,)),
    **dict.fromkeys(("opponent", "network", "meta", "tensors"), (dict,)),
}
_LINE: dict[str, tuple[type, ...]] = {
    "coding": (str,), "scales": (int,), **dict.fromkeys(("shape", "values", "counts"), (list,)),
}  # fmt: skip


@final
@dataclass(frozen=True)
class Compressed:
    """Network of an opponent, as its file holds it.

    Attributes:
        opponent: its configuration.
        coded: codes and scales.
        whole: the other tensors.
        built_by: name and arguments of the network.
        meta: JSON-able facts.
    """

    opponent: Opponent
    coded: Coded
    whole: Mapping[str, Tensor]
    built_by: Mapping[str, Any]
    meta: Mapping[str, Any]

    @staticmethod
    def of(network: Network, coded: Coded, opponent: Opponent, meta: Mapping[str, Any]) -> Compressed:
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
        return Compressed(opponent, coded, whole, network.built_by, meta)

    def to_bytes(self) -> bytes:
        """Return the bytes of the file."""
        encoded = {name: codec.encode(codes.to(torch.int8)) for name, (codes, _) in sorted(self.coded.items())}
        lines = {
            name: {"shape": list(self.coded[name][0].shape), "scales": len(self.coded[name][1]), "coding": one.coding}
            | {"values": list(one.values), "counts": list(one.counts)}
            for name, one in encoded.items()
        }
        stored = {
            f"codes/{name}": torch.from_numpy(np.frombuffer(bytearray(one.data), np.uint8))
            for name, one in encoded.items()
        }
        stored |= {f"whole/{name}": tensor.cpu().contiguous() for name, tensor in self.whole.items()}
        if encoded:
            stored["scales"] = torch.cat([self.coded[name][1].cpu() for name in encoded])
        head = {"format": FORMAT, "opponent": header.describe(self.opponent), "network": self.built_by}
        head |= {"meta": self.meta, "tensors": lines, "producer": f"untrained {__version__}"}
        text = header.to_json(head | {"sha256": hashes.of_file(head, stored)})
        return safetensors.torch.save(stored, metadata={header.KEY: text})

    @staticmethod
    def load(path: Path) -> Compressed:
        """Read a file.

        Raises:
            TicketError: it is missing, damaged, or not the file of an opponent; the message names the file.
        """
        with add_path_to_errors(path), header.within_memory():
            return _read(path)

    @torch.no_grad()
    def network(self) -> Network:
        """Return the network, in evaluation mode and on the CPU."""
        network = build(self.built_by["name"], **self.built_by["arguments"]).eval()
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


def _read(path: Path) -> Compressed:
    head, stored = read_safetensors(path)
    if head.get("format") != FORMAT:
        raise TicketError(f"its format is {str(head.get('format'))[:80]!r}, not {FORMAT!r}")
    header.check_keys("the header", head, _KINDS, set())
    if head["sha256"] != hashes.of_file({k: v for k, v in head.items() if k != "sha256"}, stored):
        raise TicketError("its contents do not have the sha256 in its header: the file is damaged")
    opponent = header.revive(Opponent, head["opponent"], "opponent")
    header.check_keys("the network", head["network"], {"name": (str,), "arguments": (dict,)}, set())
    try:
        with torch.device("meta"):
            held = _state(build(head["network"]["name"], **head["network"]["arguments"]))
    except (TypeError, ValueError) as error:
        raise TicketError(f"its network: {error}") from None
    whole = {name.removeprefix("whole/"): t for name, t in stored.items() if name.startswith("whole/")}
    _check_names(held, head["tensors"], whole, stored)
    coded = _decode(head["tensors"], stored, held)
    for name, tensor in whole.items():
        if tensor.shape != held[name].shape or tensor.dtype not in (*_NARROW, held[name].dtype):
            raise TicketError(f"{name!r} is {_form(tensor)} in the file and {_form(held[name])} in the network")
        if not tensor.double().isfinite().all():
            raise TicketError(f"{name!r} holds a number that is not finite")
    return Compressed(opponent, coded, whole, head["network"], head["meta"])


def _check_names(
    held: Mapping[str, Tensor], coded: Mapping[str, Any], whole: Mapping[str, Tensor], stored: Mapping[str, Tensor]
) -> None:
    for name in sorted(held.keys() ^ (coded.keys() | whole.keys())):
        raise TicketError(f"{name!r} is {'missing' if name in held else 'not in the network'}")
    for name in sorted(coded.keys() & whole.keys()):
        raise TicketError(f"{name!r} is there twice")
    expected = {f"codes/{name}" for name in coded} | {f"whole/{name}" for name in whole}
    expected |= {"scales"} if coded else set()
    for name in sorted(stored.keys() ^ expected):
        raise TicketError(f"{name!r} is {'missing' if name in expected else 'not named in the header'}")


def _decode(lines: Mapping[str, Any], stored: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> Coded:
    coded: Coded = {}
    scales, used = stored.get("scales", torch.zeros(0, dtype=torch.float16)), 0
    if scales.dtype != torch.float16 or scales.ndim != 1 or not scales.isfinite().all():
        raise TicketError("its scales are not a row of finite float16 numbers")
    for name, line in sorted(lines.items()):
        if not isinstance(line, dict):
            raise TicketError(f"{name!r} is described by {line!r}")
        header.check_keys(repr(name), line, _LINE, set())
        data, like = stored[f"codes/{name}"], held[name]
        if line["shape"] != list(like.shape) or like.ndim < 2:
            raise TicketError(f"{name!r} has shape {line['shape']} in the file and is {_form(like)} in the network")
        if data.dtype != torch.uint8 or data.ndim != 1:
            raise TicketError(f"the codes of {name!r} are not a row of bytes")
        if any(type(number) is not int for number in (*line["values"], *line["counts"])):
            raise TicketError(f"{name!r}: values and counts must be integers")
        if sum(line["counts"]) != math.prod(line["shape"]) or line["scales"] not in (1, len(like)):
            raise TicketError(f"{name!r} has {sum(line['counts'])} codes and {line['scales']} scales")
        part = scales[used : (used := used + line["scales"])]
        try:
            one = Encoded(line["coding"], tuple(line["values"]), tuple(line["counts"]), data.numpy().tobytes())
            codes = codec.decode(one)
        except ValueError as error:
            raise TicketError(f"the codes of {name!r}: {error}") from None
        coded[name] = codes.reshape(line["shape"]), part
    if used != len(scales):
        raise TicketError(f"it has {len(scales)} scales, not {used}")
    return coded


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state that a forward pass uses, each tensor once: no counts of batches."""
    counts = {f"{path}.num_batches_tracked" for path, m in network.named_modules() if isinstance(m, _NormBase)}
    return {name: tensor for name, tensor in tensors_of(network).items() if name not in counts}


def _shorten(tensor: Tensor) -> Tensor:
    """Return a copy in float8 if that holds the numbers exactly, as calibrated statistics, or else in float16."""
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        return tensor.clone()
    narrow, half = tensor.to(_NARROW[0]), tensor.to(torch.float16)
    if torch.equal(narrow.to(tensor.dtype), tensor):
        return narrow
    return half if half.isfinite().all() else tensor.clone()


def _form(tensor: Tensor) -> str:
    return f"{header.dtype_name(tensor.dtype)} {tuple(tensor.shape)}"
