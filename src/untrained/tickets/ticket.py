"""A ticket: a seed and one small integer per weight, in memory and as a file that loads bit-exactly anywhere.

The file format is specified in docs/format.md. A reader trusts no file: every fault raises a `TicketError`
that names the file and the cause, and the model to be loaded is unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from untrained.files import atomic_write
from untrained.masking.mask import is_masked
from untrained.masking.masked_class import tensors_of
from untrained.methods import Method
from untrained.methods.base import UNDECIDED
from untrained.models import Network
from untrained.tickets import compact, container, contents, file, hashes, header
from untrained.tickets.capture import Capture
from untrained.tickets.codec import Encoded, encode
from untrained.tickets.difference import Difference, difference
from untrained.tickets.direct_load import DirectLoad
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TensorEntry, TicketError, within_memory
from untrained.weights.laws import WeightLaw


@final
@dataclass(frozen=True)
class Ticket:
    """A found network as data.

    Attributes:
        seed: the seed of the frozen weights.
        law: their distribution, or None for those of a pretrained model.
        tensors: the origin of each tensor that is not stored whole, by name.
        codes: the choice, int8, by the name of the masked tensor.
        extra: tensors that the seed does not give, whole: running statistics, and those trained as usual.
        built_by: name and arguments of the network, when it is one of `untrained.models`.
        meta: JSON-able facts about the model. The command line keeps here: data, accuracy, labels,
            shape, mean, std.
        format: of its file, 1 or 2; format 2 is smaller, and older versions of untrained read only 1.

    Example:
        >>> ticket = ut.Ticket.of(ut.mask_(ut.models.fc((300, 100)), ut.EdgePopup(keep=0.5)), meta={"run": 7})
        >>> ticket.seed, ticket.meta, sorted(ticket.codes)
        (0, {'run': 7}, ['fc1.weight', 'fc2.weight', 'fc3.weight'])
    """

    seed: int
    law: WeightLaw | None
    tensors: Mapping[str, TensorEntry]
    codes: Mapping[str, Tensor]
    extra: Mapping[str, Tensor]
    built_by: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    sample_sha256: str = ""
    format: int = 2

    @staticmethod
    @torch.no_grad()
    def of(model: nn.Module, meta: Mapping[str, Any] | None = None) -> Ticket:
        """Make the ticket of a masked model in its present state.

        Args:
            model: a model that `mask_` was called on.
            meta: JSON-able facts to keep with it.

        Raises:
            ValueError: the model is not masked, a score is NaN, meta is not JSON-able, a frozen tensor no longer equals
                the weights drawn from the seed, or the model has state that a ticket cannot store: extra state, or
                tensors that are sparse, nested, quantised or of a dtype that the format does not have.
        """
        found = Capture.of(model)
        built_by = model.built_by if isinstance(model, Network) else None
        facts = json.loads(header.to_json(dict(meta or {})))
        seed, law = found.record.seed, found.record.law
        ticket = Ticket(seed, law, found.tensors, found.codes, found.extra, built_by, facts)
        full, sample = hashes.of_weights(found.compared(ticket.rebuilt(found.base)))
        return replace(ticket, weights_sha256=full, sample_sha256=sample)

    @property
    def method(self) -> Method:
        """The method of all its masked tensors.

        Raises:
            ValueError: they have several; see `tensors[name].method`.
        """
        first, *others = dict.fromkeys(m for entry in self.tensors.values() if (m := entry.method))
        if others:
            raise ValueError(f"this ticket has {1 + len(others)} methods; see tensors[name].method")
        return first

    def rebuilt(
        self, base: Mapping[str, Tensor] | None = None, without: Collection[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor on the CPU) for each tensor that comes from the seed and the codes, in order of names.

        Args:
            base: the frozen weights by name, when the ticket has no law.
            without: names to leave out.
        """
        for name, entry in sorted(self.tensors.items()):
            if name not in without:
                own = None
                if self.law is None and entry.constant is None:
                    assert base is not None, "a ticket without a law needs the weights it was found on"
                    own = base[name].detach().cpu()
                yield name, self._rebuild_tensor(name, entry, own)

    @within_memory()
    def _rebuild_tensor(self, name: str, entry: TensorEntry, own: Tensor | None) -> Tensor:
        if entry.constant is not None:
            return torch.full(entry.shape, entry.constant, dtype=entry.dtype, device="cpu")
        source = entry.source(name, self.seed, self.law, own)
        if entry.method is None:
            return source.draw()
        try:
            return entry.method.shown(source, self.codes[name])
        except ValueError as error:  # impossible codes, or draws that do not exist
            raise TicketError(str(error)) from None

    @within_memory()
    def encoded(self) -> dict[str, Encoded]:
        """Encode the codes for a file of format 1, without those that the seed gives."""
        encoded = {}
        for name, codes in self.codes.items():
            given = self.tensors[name].given(name, self.seed)
            encoded[name] = encode(codes if given is None else codes[given == UNDECIDED])
        return encoded

    @within_memory()
    def coded(self) -> dict[str, bytes]:
        """Encode the codes for a file of format 2."""
        return {
            name: compact.encode_tensor(codes, name, self.tensors[name], self.seed, self.law)
            for name, codes in self.codes.items()
        }

    def to_bytes(self, format: Literal[1, 2] | None = None, coded: Mapping[str, bytes] | None = None) -> bytes:
        """Return the bytes of the ticket's file; the same ticket always gives the same bytes.

        Args:
            format: of the file; None: that of the ticket.
            coded: the result of `coded`, where it is there already.

        Raises:
            ValueError: the format is neither 1 nor 2, or it cannot hold the ticket's header.
        """
        format = self.format if format is None else format  # pyright: ignore[reportAssignmentType]
        if format not in (1, 2):
            raise ValueError(f"format must be 1 or 2, got {format!r}")
        facts = {"seed": self.seed, "network": self.built_by, "meta": self.meta}
        hashed = {"weights_sha256": self.weights_sha256, "sample_sha256": self.sample_sha256}
        sums = self.weights_sha256, self.sample_sha256
        if format == 2 and compact.fits(sums):
            head = header.compose(self.tensors, self.law, facts, {})
            data = compact.to_bytes(head, sums, self.coded() if coded is None else coded, self.extra)
        else:
            encoded = self.encoded()
            head = header.compose(self.tensors, self.law, {**facts, **hashed, "format": 1}, encoded)
            data = file.to_bytes(head, encoded, self.extra)
        header.check_expansion(self.tensors, len(data))
        return data

    def save(self, path: str | Path, format: Literal[1, 2] | None = None) -> None:
        """Write the ticket, whole or not at all.

        Args:
            path: the file.
            format: of the file; None: that of the ticket.

        Raises:
            OSError: the file cannot be written.
        """
        data = self.to_bytes(format)
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(data)

    @staticmethod
    def load(path: str | Path) -> Ticket:
        """Read a ticket and make all checks that need no weights.

        Raises:
            TicketError: the file is missing, damaged, not a ticket, or of another format.
        """
        with add_path_to_errors(path), within_memory():
            return Ticket.from_bytes(container.whole(Path(path)))

    @staticmethod
    def from_bytes(data: bytes) -> Ticket:
        """Read a ticket from the bytes of its file.

        Raises:
            TicketError: they are damaged, not a ticket, or of another format.
        """
        with within_memory():
            return Ticket(**file.read(bytes(data)))

    @torch.no_grad()
    @within_memory()
    def apply_(self, model: nn.Module) -> nn.Module:
        """Turn a freshly built model into the found network: plain, dense, frozen; in place.

        Args:
            model: a model of the architecture that the ticket was made from; for a ticket found with `weights=None`,
                the same pretrained model.

        Returns:
            The model itself.

        Raises:
            TicketError: a tensor is missing, unknown, of another shape or dtype, shares memory with another or cannot
                be written, or the weights differ from those that were saved. The model is unchanged then.
        """
        if is_masked(model):
            raise TicketError("the model is masked; a ticket applies to a plain model")
        held = tensors_of(model)
        loadings = contents.find_loadings(model, held, self.extra)
        others = {name for loading in loadings for name in loading.state}
        self._check_fit({name: tensor for name, tensor in held.items() if name not in others}, without=others)
        contents.check_writable(model, held)
        direct = self._direct_loads(held)
        rebuilt = dict(self.rebuilt(held, without=direct))
        # A law gives the same weights or entirely other ones; another pretrained model's weights may differ in one.
        if self.law is None:
            same = hashes.of_weights(rebuilt.items()) == (self.weights_sha256, self.sample_sha256)
        else:
            at = {name: hashes.places(held[name].numel()) for name in self.tensors}
            samples = {name: tensor.reshape(-1)[at[name]] for name, tensor in rebuilt.items()}
            samples |= {name: way.at(at[name]) for name, way in direct.items()}
            same = hashes.of_samples(sorted(samples.items())) == self.sample_sha256
        if not same:
            raise _weights_error()
        for name, tensor in (*rebuilt.items(), *self.extra.items()):
            if name not in others:
                held[name].copy_(tensor)
        for name, way in direct.items():
            way.write_(held[name])
        for loading in loadings:
            loading.load_into(loading.module)
        for parameter in model.parameters():  # a ScriptModule does not have requires_grad_
            parameter.requires_grad_(False)
        return model

    def diff(self, other: Ticket) -> Difference:
        """Return what differs between this ticket, the first, and another one, the second."""
        return difference(vars(self), vars(other))

    def _check_fit(self, held: Mapping[str, Tensor], *, without: Collection[str] = ()) -> None:
        """Check that a model of these tensors has all of the ticket's but `without`, and no others."""
        wanted = {**self.tensors, **self.extra}
        contents.check_fit({name: each for name, each in wanted.items() if name not in without}, held)

    def _direct_loads(self, held: Mapping[str, Tensor]) -> dict[str, DirectLoad]:
        """Return the tensors that need no memory but the model's."""
        ways = {
            name: DirectLoad.of(entry.source(name, self.seed, self.law), entry.method, self.codes, held[name])
            for name, entry in self.tensors.items()
        }
        return {name: way for name, way in ways.items() if way is not None}

    @torch.no_grad()
    @within_memory()
    def verify(self, model: nn.Module | None = None) -> None:
        """Rebuild every weight and check the sha256 of them all.

        Args:
            model: the pretrained model, for a ticket found with `weights=None`.

        Raises:
            TicketError: the hash differs, or a pretrained model is needed and was not given, or does not fit.
        """
        if self.law is None and model is None:
            raise TicketError("this ticket was found on a pretrained model; verify it with that model")
        base = None
        if model is not None and self.law is None:
            base = tensors_of(model)
            contents.check_fit(self.tensors, base, alone=False)
        if hashes.of_weights(self.rebuilt(base))[0] != self.weights_sha256:
            raise _weights_error()


def _weights_error() -> TicketError:
    return TicketError("the weights come out different from those that were saved (sha256 of the weights)")


def save(model: nn.Module, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
    """Save a masked model as a ticket: the seed and a bit per weight.

    Args:
        model: a model that `mask_` was called on.
        path: the file to write; a half-written file never replaces it.
        meta: JSON-able facts to keep with it.

    Raises:
        ValueError: the model is not masked, a score is NaN, or meta is not JSON-able.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep=0.5))
        >>> ut.save(model, "found.ticket", meta={"run": 7})
        >>> ut.Ticket.load("found.ticket").meta
        {'run': 7}
    """
    Ticket.of(model, meta).save(path)
