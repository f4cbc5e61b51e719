"""A ticket: a seed and one small integer per weight, in memory and as a file that loads bit-exactly anywhere.

The file format is specified in docs/format.md. A reader takes nothing on trust: whatever is wrong with a file raises
a `TicketError` that names the file and the cause, and the model it was meant for is left as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from untrained.files import written_whole
from untrained.masking import mask as attach
from untrained.masking.memory import sha256_of
from untrained.methods import Method
from untrained.methods.base import UNDECIDED
from untrained.methods.dense import Dense
from untrained.models import Network, build
from untrained.tickets import contents, header
from untrained.tickets import hashes as digest
from untrained.tickets.codec import Codes, Encoded, decode_each, encode
from untrained.tickets.direct_load import Straight
from untrained.tickets.header import TensorEntry, TicketError, within_memory
from untrained.weights.laws import WeightLaw

_LONGEST = 2000  # characters of a message


@final
@dataclass(frozen=True)
class Ticket:
    """A found network as data.

    Attributes:
        seed: what the frozen weights are drawn from.
        law: their distribution, or None when they are a pretrained model's own.
        tensors: how each tensor that needs no bytes of its own comes about, by name.
        codes: the choice, int8, by the name of the masked tensor.
        extra: what the seed does not give, whole: running statistics and tensors that were also trained.
        built_by: name and arguments of the network, when it is one of `untrained.models`.
        meta: anything JSON-able that belongs to the model. The command line keeps here: data, accuracy, labels,
            shape, mean, std.
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

    @staticmethod
    @torch.no_grad()
    def of(model: nn.Module, meta: Mapping[str, Any] | None = None) -> Ticket:
        """The ticket of a masked model as it stands.

        Args:
            model: a model that `mask_` was called on.
            meta: JSON-able facts to keep with it.

        Raises:
            ValueError: the model is not masked, a score is NaN, meta is not JSON-able, a frozen tensor is no longer
                what the seed gives, or the model holds what a ticket cannot: extra state, or tensors that are sparse,
                nested, quantised or of a dtype that the format does not have.
        """
        record = attach.record(model)
        contents.refuse_other_state(model)
        plain = contents.tensors_of(model)

        def entry(name: str, constant: float | None = None) -> TensorEntry:
            if plain[name].dtype not in header.DTYPES.values():
                known = ", ".join(header.DTYPES)
                raise ValueError(f"{name!r} must be one of {known}, got {header.dtype_name(plain[name].dtype)}")
            return TensorEntry(tuple(plain[name].shape), plain[name].dtype, constant=constant)

        tensors = {
            state.name: TensorEntry(state.shape, state.frozen.dtype, method=group.final)
            for group in record.groups
            for state in group.states
        }
        tensors |= {name: entry(name, value) for name, value in record.constant.items()}
        whole = record.drawn if record.law is not None else _backbone(plain, record.trained)
        tensors |= {name: entry(name) for name in whole}
        padded = {name: row for name, row in record.padding.items() if name in record.drawn}
        tensors |= {name: replace(entry(name), method=Dense()) for name in padded}  # whole, but for a row of zeros
        others = {name: tensor.detach() for name, tensor in plain.items() if name not in tensors}
        contents.refuse_unstorable(others)
        # Copied into fresh memory: a view may have other strides, and its numbers be conjugated when they are read.
        extra = {n: torch.empty(t.shape, dtype=t.dtype, device="cpu").copy_(t) for n, t in others.items()}
        chosen = attach.codes(model)
        for name, row in padded.items():
            chosen[name] = torch.ones(plain[name].shape, dtype=torch.int8, device="cpu")
            chosen[name][row] = 0
        codes = {name: code.cpu().contiguous() for name, code in sorted(chosen.items())}
        built_by = model.built_by if isinstance(model, Network) else None
        facts = json.loads(header.to_json(dict(meta or {})))
        ticket = Ticket(record.seed, record.law, dict(sorted(tensors.items())), codes, extra, built_by, facts)

        base = None if record.law is not None else plain | {state.name: state.weight for state in record.states}
        for name, tensor in (base or {}).items():
            dtype, sha256 = record.own.get(name, (None, ""))
            if tensor.dtype == dtype and sha256_of(tensor) != sha256:  # converted as a whole it may be
                raise ValueError(f"{name!r} is no longer what the pretrained model had: its frozen values were changed")
        held = plain | {name: tensor for group in record.groups for name, tensor in group.choose().items()}
        full, sample = digest.of_weights(_as_held(ticket.rebuilt(base), held))
        return replace(ticket, weights_sha256=full, sample_sha256=sample)

    @property
    def method(self) -> Method:
        """The method of all its masked tensors.

        Raises:
            ValueError: they have several; `tensors[name].method` tells each one's.
        """
        first, *others = dict.fromkeys(m for entry in self.tensors.values() if (m := entry.method))
        if others:
            raise ValueError(f"this ticket has {1 + len(others)} methods; see tensors[name].method")
        return first

    def rebuilt(
        self, base: Mapping[str, Tensor] | None = None, without: Collection[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that comes from the seed and the codes, one after the other, by name.

        Args:
            base: the frozen weights by name, when the ticket has no law of its own.
            without: names to leave out.

        Yields:
            (name, tensor on the CPU): the effective weights, frozen whole tensors and constants.
        """
        for name, entry in sorted(self.tensors.items()):
            if name in without:
                continue
            own = None
            if self.law is None and entry.constant is None:
                assert base is not None, "a ticket without a law needs the weights it was found on"
                own = base[name].detach().cpu()
            yield name, self._made(name, entry, own)

    @within_memory()
    def _made(self, name: str, entry: TensorEntry, own: Tensor | None) -> Tensor:
        """One tensor, from the seed and its codes, or from a pretrained model's own."""
        if entry.constant is not None:
            return torch.full(entry.shape, entry.constant, dtype=entry.dtype, device="cpu")
        source = entry.source(name, self.seed, self.law, own)
        if entry.method is None:
            return source.draw()
        try:
            return entry.method.shown(source, self.codes[name])
        except ValueError as error:  # codes that it cannot have, or draws that there are not
            raise TicketError(str(error)) from None

    @within_memory()
    def encoded(self) -> dict[str, Encoded]:
        """The codes as they are stored: those that the seed gives left out."""
        encoded = {}
        for name, codes in self.codes.items():
            given = _given(self.seed, name, self.tensors[name])
            encoded[name] = encode(codes if given is None else codes[given == UNDECIDED])
        return encoded

    def to_bytes(self) -> bytes:
        """The ticket as the bytes of its file; the same ticket always gives the same bytes."""
        encoded = self.encoded()
        stored = {f"codes/{name}": _as_bytes(e.data) for name, e in encoded.items()}
        stored |= {f"extra/{name}": tensor for name, tensor in self.extra.items()}
        head = header.compose(
            seed=self.seed,
            law=self.law,
            tensors=self.tensors,
            encoded=encoded,
            built_by=self.built_by,
            meta=self.meta,
            weights_sha256=self.weights_sha256,
            sample_sha256=self.sample_sha256,
        )
        head["sha256"] = digest.of_file(head, stored)
        text = header.to_json(head)
        try:
            data = safetensors.torch.save(stored, metadata={header.KEY: text})
        except SafetensorError as error:
            meta = len(header.to_json(self.meta))
            raise ValueError(
                f"this ticket cannot be written: its header takes {len(text):,} bytes, {meta:,} of them meta ({error})"
            ) from None
        header.check_expansion(self.tensors, len(data))
        return data

    def save(self, path: str | Path) -> None:
        """Write the ticket, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        data = self.to_bytes()
        with written_whole(path) as unfinished:
            unfinished.write_bytes(data)

    @staticmethod
    def load(path: str | Path) -> Ticket:
        """Read a ticket and check everything that needs no weights.

        Raises:
            TicketError: the file is missing, damaged, not a ticket, or of a format this version does not know.
        """
        with naming(path), within_memory():
            head, stored = _read(Path(path))
            if head.get("sha256") != digest.of_file({k: v for k, v in head.items() if k != "sha256"}, stored):
                raise TicketError("its contents do not have the sha256 in its header: the file is damaged")
            parsed = header.parse(head)
            header.check_expansion(parsed.tensors, Path(path).stat().st_size)
            expected = {f"codes/{name}" for name in parsed.coded}
            for name in sorted(stored.keys() ^ expected):
                if name in expected:
                    raise TicketError(f"{name!r} is named in the header and missing")
                if not name.startswith("extra/"):
                    raise TicketError(f"{name!r} is stored and not named in the header")
            encoded, givens = [], {}
            for name, (coding, values, counts) in parsed.coded.items():
                data = stored[f"codes/{name}"]
                if data.dtype != torch.uint8 or data.ndim != 1:
                    raise TicketError(f"the codes of {name!r} are not a row of bytes")
                entry = parsed.tensors[name]
                givens[name] = given = _given(parsed.rest["seed"], name, entry)
                wanted = math.prod(entry.shape) if given is None else int((given == UNDECIDED).sum())
                if sum(counts) != wanted:
                    raise TicketError(f"{name!r} has {sum(counts)} codes for shape {entry.shape}, not {wanted}")
                encoded.append(Encoded(coding, values, counts, data.numpy().tobytes()))
            decoded, held = decode_each(encoded), {}
            for name, given in givens.items():
                try:
                    flat = next(decoded)
                except ValueError as error:
                    raise TicketError(f"the codes of {name!r}: {error}") from None
                if given is not None:
                    free = flat if isinstance(flat, Tensor) else flat.codes()
                    flat = given.masked_scatter(given == UNDECIDED, free)
                held[name] = flat, parsed.tensors[name].shape
            extra = {name.removeprefix("extra/"): t for name, t in stored.items() if name.startswith("extra/")}
            for name, tensor in extra.items():
                if name in parsed.tensors:
                    raise TicketError(f"{name!r} is both stored and drawn from the seed")
                if math.prod(max(1, side) for side in tensor.shape) >= 1 << 62:
                    raise TicketError(f"{name!r} has the impossible shape {tuple(tensor.shape)}")
            return Ticket(codes=Codes(held), extra=extra, tensors=parsed.tensors, **parsed.rest)

    @torch.no_grad()
    @within_memory()
    def apply_(self, model: nn.Module) -> nn.Module:
        """Turn a freshly built model into the found network: plain, dense, frozen; in place.

        Args:
            model: a model of the architecture that the ticket was made from; with `weights=None` tickets, the same
                pretrained model.

        Returns:
            The model itself.

        Raises:
            TicketError: a tensor is missing, unknown, of another shape or dtype, shares memory with another or cannot
                be written, or the weights come out different from those that were saved. The model is unchanged then.
        """
        if attach.is_masked(model):
            raise TicketError("the model is masked; a ticket applies to a plain model")
        held = contents.tensors_of(model)
        loadings = contents.own_loadings(model, held, self.extra)
        others = {name for loading in loadings for name in loading.state}
        self._check_fit({name: tensor for name, tensor in held.items() if name not in others}, without=others)
        contents.check_writable(model, held)
        straight = self._straight(held)
        rebuilt = dict(self.rebuilt(held, without=straight))
        # A law gives the same weights or quite other ones; somebody else's pretrained weights may differ in one.
        if self.law is None:
            same = digest.of_weights(rebuilt.items()) == (self.weights_sha256, self.sample_sha256)
        else:
            at = {name: digest.places(held[name].numel()) for name in self.tensors}
            samples = {name: tensor.reshape(-1)[at[name]] for name, tensor in rebuilt.items()}
            samples |= {name: way.at(at[name]) for name, way in straight.items()}
            same = digest.of_samples(sorted(samples.items())) == self.sample_sha256
        if not same:
            raise TicketError("the weights come out different from those that were saved (sha256 of the weights)")
        for name, tensor in (*rebuilt.items(), *self.extra.items()):
            if name not in others:
                held[name].copy_(tensor)
        for name, way in straight.items():
            way.write_(held[name])
        for loading in loadings:
            loading.load_()
        for parameter in model.parameters():  # a ScriptModule has no requires_grad_ of its own
            parameter.requires_grad_(False)
        return model

    def _check_fit(self, held: Mapping[str, Tensor], *, without: Collection[str] = ()) -> None:
        """Check that a model of these tensors has all of the ticket's but `without`, and no others."""
        wanted = {name: (entry.shape, entry.dtype) for name, entry in self.tensors.items()}
        wanted |= {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in self.extra.items()}
        contents.check_fit({name: kind for name, kind in wanted.items() if name not in without}, held)

    def _straight(self, plain: Mapping[str, Tensor]) -> dict[str, Straight]:
        """The tensors that need no memory but the model's."""
        found = {}
        for name, entry in self.tensors.items():
            if way := Straight.of(entry.source(name, self.seed, self.law), entry.method, self.codes, plain[name]):
                found[name] = way
        return found

    @torch.no_grad()
    @within_memory()
    def verify(self, model: nn.Module | None = None) -> None:
        """Make every weight again and check the sha256 of them all.

        Args:
            model: the pretrained model, for a ticket found with `weights=None`.

        Raises:
            TicketError: the hash differs, or a pretrained model is needed and was not given, or does not fit.
        """
        if self.law is None and model is None:
            raise TicketError("this ticket was found on a pretrained model; verify it with that model")
        base = None
        if model is not None and self.law is None:
            base = contents.tensors_of(model)
            contents.check_fit({name: (e.shape, e.dtype) for name, e in self.tensors.items()}, base, alone=False)
        if digest.of_weights(self.rebuilt(base))[0] != self.weights_sha256:
            raise TicketError("the weights come out different from those that were saved (sha256 of the weights)")


def save(model: nn.Module, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
    """Save a masked model as a ticket: the seed and a bit per weight.

    Args:
        model: a model that `mask_` was called on.
        path: the file to write; a half-written file never takes its place.
        meta: JSON-able facts to keep with it.

    Raises:
        ValueError: the model is not masked, a score is NaN, or meta is not JSON-able.
        OSError: the file cannot be written.
    """
    Ticket.of(model, meta).save(path)


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Load a ticket into a freshly built model, bit for bit the network that was saved.

    Args:
        path: the ticket.
        model: a model of the same architecture; may be left out when the network is one of `untrained.models`.

    Returns:
        The model: a plain dense nn.Module, frozen.

    Raises:
        TicketError: the file is damaged or not a ticket, or it does not fit the model, which is unchanged then.
    """
    ticket = Ticket.load(path)
    with naming(path):
        return ticket.apply_(rebuild(ticket) if model is None else model)


@within_memory()
def rebuild(ticket: Ticket) -> nn.Module:
    """The network of a ticket, when it is one of `untrained.models`, in memory that `apply_` is to fill.

    Raises:
        TicketError: it is not one of ours, its arguments are refused, or its tensors are not the ticket's.
    """
    if ticket.built_by is None:
        raise TicketError("it does not say how its network is built; pass a freshly built model")
    try:
        with torch.device("meta"):  # a small file may name a large network: compared before it has memory
            network = build(ticket.built_by["name"], **ticket.built_by["arguments"])
    except ValueError as error:
        raise TicketError(f"its network cannot be built: {error}") from None
    ticket._check_fit(contents.tensors_of(network))
    return network.to_empty(device=torch.get_default_device())


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name in front of every TicketError raised inside."""
    try:
        yield
    except TicketError as error:
        raise TicketError(f"{path}: {_in_a_line(str(error))}") from None


def _in_a_line(message: str) -> str:
    """The message without what could steer a terminal, and not endless: parts of it are from the file."""
    shown = message if len(message) <= _LONGEST else f"{message[:_LONGEST]} …"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise TicketError("no such file")
    try:
        with _spelled_for_rust(path) as spelled, safe_open(spelled, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}
        _check_index(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise TicketError(f"not a ticket, or a damaged one ({error})") from None
    if header.KEY not in metadata:
        raise TicketError("a safetensors file, but not a ticket: its metadata have no 'untrained'")
    return header.from_json(metadata[header.KEY]), stored


def _check_index(path: Path) -> None:
    """Refuse what safetensors itself lets pass: one name twice, and tensors that are not described by an object."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(members := dict(pairs)) < len(pairs):
            raise ValueError("a name is there twice")
        return members

    with path.open("rb") as file:
        index = json.loads(file.read(int.from_bytes(file.read(8), "little")), object_pairs_hook=unique)
    if not all(isinstance(line, dict) for line in index.values()):
        raise ValueError("a tensor is not described by an object")


def _given(seed: int, name: str, entry: TensorEntry) -> Tensor | None:
    """The codes of a masked tensor that the seed alone gives."""
    assert entry.method is not None
    return entry.method.given(entry.source(name, seed, None))


@contextmanager
def _spelled_for_rust(path: Path) -> Iterator[str | Path]:
    """A path of the file in UTF-8, which is all that safetensors opens."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield path


def _backbone(plain: Mapping[str, Tensor], trained: Collection[str]) -> list[str]:
    """Which tensors of a masked pretrained model are that model's own, and not something that was learned."""
    return [
        name
        for name, tensor in plain.items()
        if isinstance(tensor, nn.Parameter) and tensor.is_floating_point() and name not in trained
    ]


def _as_held(rebuilt: Iterable[tuple[str, Tensor]], held: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The rebuilt tensors, each compared with what the model holds before it is passed on.

    An average d·v + (1 - d)·v of equal numbers drifts in float32, by up to 1,400 units in the last place for d = 0.9999
    and by one in narrower dtypes. So |held - rebuilt| may be 2⁻¹² · |rebuilt|, or one such unit.
    """
    for name, tensor in rebuilt:
        given, share = held[name].cpu(), max(2.0**-12, torch.finfo(tensor.dtype).eps)
        if not torch.equal(tensor, given) and not _near(given.double(), tensor.double(), share):
            raise ValueError(
                f"{name!r} is no longer what the seed gives: its frozen values were changed or converted. Only the "
                "scores and what also_train names may change: load and average those alone"
            )
        yield name, tensor


def _near(given: Tensor, expected: Tensor, share: float) -> bool:
    return bool(((given - expected).abs() <= share * expected.abs()).all())


def _as_bytes(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytearray(data), np.uint8))
