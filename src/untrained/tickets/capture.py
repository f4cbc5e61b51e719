"""Capture of a masked model for its ticket: entries and codes of its tensors, checked against the seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from untrained.masking.mask import codes, record
from untrained.masking.masked_class import tensors_of
from untrained.masking.memory import sha256_of
from untrained.masking.state import Record
from untrained.methods.dense import Dense
from untrained.tickets import contents, header
from untrained.tickets.header import TensorEntry


class Capture(NamedTuple):
    """Contents of a ticket, taken from a masked model.

    Attributes:
        record: the model's record.
        tensors: the entries of tensors that the seed and the codes give.
        codes: the codes of masked tensors, on the CPU.
        extra: all other tensors, copied to the CPU.
        base: a pretrained model's values by name; None if a law gives them.
        effective: the values that each tensor has in use.
    """

    record: Record
    tensors: dict[str, TensorEntry]
    codes: dict[str, Tensor]
    extra: dict[str, Tensor]
    base: dict[str, Tensor] | None
    effective: dict[str, Tensor]

    @staticmethod
    def of(model: nn.Module) -> Capture:
        """Capture a masked model in its present state.

        Raises:
            ValueError: it is not masked, a score is NaN, or it has state that a ticket cannot store.
        """
        masked = record(model)
        contents.refuse_other_state(model)
        plain = tensors_of(model)
        padded = {name: row for name, row in masked.padding.items() if name in masked.drawn}
        tensors = _entries(masked, plain)
        tensors |= {name: replace(tensors[name], method=Dense()) for name in padded}  # whole, but for a row of zeros
        others = {name: tensor.detach() for name, tensor in plain.items() if name not in tensors}
        contents.refuse_unstorable(others)
        # Copied into fresh memory: a view may have other strides, and its numbers be conjugated when they are read.
        extra = {n: torch.empty(t.shape, dtype=t.dtype, device="cpu").copy_(t) for n, t in others.items()}
        chosen = codes(model)
        for name, row in padded.items():
            chosen[name] = torch.ones(plain[name].shape, dtype=torch.int8, device="cpu")
            chosen[name][row] = 0
        base = None if masked.law is not None else plain | {state.name: state.weight for state in masked.states}
        for name, tensor in (base or {}).items():
            dtype, sha256 = masked.own.get(name, (None, ""))
            if tensor.dtype == dtype and sha256_of(tensor) != sha256:  # converted as a whole it may be
                raise ValueError(f"{name!r} no longer equals the pretrained model's: its frozen values were changed")
        effective = plain | {name: tensor for group in masked.groups for name, tensor in group.choose().items()}
        on_cpu = {name: code.cpu().contiguous() for name, code in sorted(chosen.items())}
        return Capture(masked, dict(sorted(tensors.items())), on_cpu, extra, base, effective)

    def compared(self, rebuilt: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Yield rebuilt tensors after comparing each with the model's.

        An average d·v + (1 - d)·v of equal numbers drifts in float32, by up to 1,400 units in the last place for
        d = 0.9999, and by one in narrower dtypes. So |held - rebuilt| may be 2⁻¹² · |rebuilt|, or one such unit.

        Raises:
            ValueError: a tensor of the model differs.
        """
        for name, tensor in rebuilt:
            held, share = self.effective[name].cpu(), max(2.0**-12, torch.finfo(tensor.dtype).eps)
            if not torch.equal(tensor, held):
                expected = tensor.double()
                if not bool(((held.double() - expected).abs() <= share * expected.abs()).all()):
                    raise ValueError(
                        f"{name!r} no longer equals the weights drawn from the seed: its frozen values were changed or "
                        "converted. Only the scores and what also_train names may change: load and average those alone"
                    )
            yield name, tensor


def _entries(masked: Record, plain: Mapping[str, Tensor]) -> dict[str, TensorEntry]:
    """Return the entries of all tensors that are not stored whole."""
    tensors = {
        state.name: TensorEntry(state.shape, state.frozen.dtype, method=group.final)
        for group in masked.groups
        for state in group.states
    }
    whole = masked.drawn
    if masked.law is None:
        frozen = {name: t for name, t in plain.items() if name not in masked.trained and isinstance(t, nn.Parameter)}
        whole = [name for name, tensor in frozen.items() if tensor.is_floating_point()]
    for name, constant in {**masked.constant, **dict.fromkeys(whole)}.items():
        dtype = plain[name].dtype
        if dtype not in header.DTYPES.values():
            raise ValueError(f"{name!r} must be one of {', '.join(header.DTYPES)}, got {header.dtype_name(dtype)}")
        tensors[name] = TensorEntry(tuple(plain[name].shape), dtype, constant=constant)
    return tensors
