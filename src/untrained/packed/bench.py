"""Time a found network on this machine: dense, in bfloat16, in int8, and packed.

One thread, process CPU time, the variants taking turns, so that other programs on the machine disturb least.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from untrained.native import processor
from untrained.native.compiler import LEVELS, NoCompiler
from untrained.packed import kernels
from untrained.packed import modules as packed
from untrained.tickets.networks import read_input_shape, rebuild
from untrained.tickets.ticket import Ticket

DENSE = "dense float32"
_BFLOAT16 = "dense bfloat16"
PACKED = "packed"
_LOWER = f"{PACKED}, "
_SECONDS = 3.0
_LEAST_SECONDS = 0.002
_CLEARLY = 1.1


@dataclass(frozen=True)
class Row:
    """Time, memory and error of one variant at one batch size.

    Attributes:
        batch: inputs at a time.
        variant: `DENSE`, `PACKED` or another way to run the network; "packed, avx2" is what a machine with no better
            instructions would pack, run here.
        ms: of CPU time for a batch, the median over rounds.
        bytes: of weights in memory.
        error: the largest |Δ output| over the largest |output| of `DENSE`.
        emulated: True of bfloat16 on a processor without instructions for it: torch computes in float32 and rounds,
            which is mostly slower than float32. False as well where the processor cannot be asked.
    """

    batch: int
    variant: str
    ms: float
    bytes: int
    error: float
    emulated: bool = False


def bench(ticket: Ticket, batches: Sequence[int] = (1, 8, 64), model: nn.Module | None = None) -> list[Row]:
    """Time a ticket's network on random inputs; torch's number of threads is restored afterwards.

    Args:
        ticket: the ticket.
        batches: sizes, each 1 or more.
        model: a freshly built model of the ticket's architecture, which becomes the network; not needed for the
            networks of `untrained.models`.

    Returns:
        For each size a row per variant. int8 is torch's dynamic quantisation of Linear layers, and left out where
        there is none of them or torch cannot; without Linear or Conv weights of -σ, 0 and +σ packed is left out.

    Raises:
        TicketError: a model is needed, the ticket does not fit it, or the shape of its input is not known.
        ValueError: a batch size below 1.
    """
    if not batches or min(batches) < 1:
        raise ValueError(f"batches must be 1 or more, got {list(batches)}")
    dense = ticket.apply_(rebuild(ticket) if model is None else model).eval()
    shape = read_input_shape(ticket)
    rows, emulated = [], processor.computes_bfloat16() is False
    with _one_thread(), torch.no_grad():
        variants = _build_variants(dense)
        for batch in batches:
            x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0), device="cpu") * 2 - 1
            outputs = {name: run(x) for name, (_, run) in variants.items()}  # each once before it is timed
            largest = outputs[DENSE].abs().max().item()
            seconds = _take_turns({name: functools.partial(run, x) for name, (_, run) in variants.items()})
            for name, (model, _) in variants.items():
                error = (outputs[name] - outputs[DENSE]).abs().max().item() / largest if largest else 0.0
                figures = 1000 * seconds[name], _count_bytes(model), error
                rows.append(Row(batch, name, *figures, emulated=emulated and name == _BFLOAT16))
    return rows


def verdict(rows: Sequence[Row]) -> list[str]:
    """Name the fastest variant for each batch size, in a line each: dense unless another one wins by a tenth.

    Kernels of lower levels than the machine's do not take part.
    """
    lines = []
    rows = [row for row in rows if not row.variant.startswith(_LOWER)]
    for batch in dict.fromkeys(row.batch for row in rows):
        of_batch = {row.variant: row for row in rows if row.batch == batch}
        best, dense = min(of_batch.values(), key=lambda row: row.ms), of_batch[DENSE]
        if dense.ms <= _CLEARLY * best.ms:  # a difference within the noise is not worth a change
            best = dense
        line = f"batch {batch}: {best.variant} is fastest"
        if best is not dense:
            line += f", {dense.ms / best.ms:.1f} times as fast as {DENSE}"
        if PACKED in of_batch and best.variant != PACKED:
            line += f"; packed takes {of_batch[PACKED].ms / best.ms:.1f} times as long"
        lines.append(line if PACKED in of_batch else f"{line}; no weight can be packed")
    return lines


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _build_variants(dense: nn.Module) -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Return the model and the call of each variant that this network and machine have."""
    half = copy.deepcopy(dense).bfloat16()
    variants: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]] = {
        DENSE: (dense, dense),
        _BFLOAT16: (half, lambda x: half(x.bfloat16()).float()),
    }
    int8 = _quantise(dense)
    if int8 is not None:
        variants["int8 dynamic"] = int8, int8
    try:
        small = packed.pack_(copy.deepcopy(dense))
    except ValueError:
        return variants
    variants[PACKED] = small, small
    best = kernels.current().level
    for level in list(LEVELS)[list(LEVELS).index(best) + 1 :] if best else []:
        with contextlib.suppress(NoCompiler), kernels.held_to(level):
            lower = packed.pack_(copy.deepcopy(dense))
            variants[_LOWER + level] = lower, kernels.held_to(level)(lower.__call__)
    return variants


def _quantise(dense: nn.Module) -> nn.Module | None:
    """Return the network with torch's int8 Linear layers; None: it has no Linear, or torch cannot."""
    if not any(type(module) is nn.Linear for module in dense.modules()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        try:
            from torch.ao.quantization import quantize_dynamic

            return quantize_dynamic(copy.deepcopy(dense), {nn.Linear}, dtype=torch.qint8)
        except (ImportError, RuntimeError, NotImplementedError):
            return None


def _count_bytes(model: nn.Module) -> int:
    """Count the bytes of all tensors of two or more dimensions that a model computes with."""
    others = [module for module in model.modules() if not isinstance(module, packed.Packed)]
    quantised: list[Any] = [weight() for module in others if callable(weight := getattr(module, "weight", None))]
    return sum(layer.bytes for layer in packed.layers(model)) + sum(w.numel() * w.element_size() for w in quantised)


def _take_turns(variants: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the seconds of CPU time of each variant, the median over rounds in which all take turns."""

    def seconds(run: Callable[[], object], repeats: int = 1) -> float:
        start = time.process_time()
        for _ in range(repeats):
            run()
        return (time.process_time() - start) / repeats

    repeats = {name: max(1, round(_LEAST_SECONDS / max(seconds(run), 1e-6))) for name, run in variants.items()}
    rounds: list[dict[str, float]] = []
    stop = time.process_time() + _SECONDS
    while len(rounds) < 3 or (len(rounds) < 21 and time.process_time() < stop):
        rounds.append({name: seconds(run, repeats[name]) for name, run in variants.items()})
    return {name: statistics.median(times[name] for times in rounds) for name in variants}
