"""The weights behind a run's ticket: as they were drawn, as they are used, and which way they turn a signal."""

from __future__ import annotations

from torch import Tensor

from untrained.masking.mask import source_of
from untrained.methods.base import Method
from untrained.runs.run import Run
from untrained.search.trace import Sample


def frozen_of(run: Run, name: str) -> Tensor | None:
    """What was frozen of a tensor, perhaps several of its shape; None where that was a pretrained model's."""
    ticket, entry = run.ticket, run.ticket.tensors[name]
    if ticket.law is None or entry.method is None:
        return None
    source = source_of(name, entry.shape, entry.dtype, ticket.seed, ticket.law, entry.method)
    return entry.method.frozen(source, ticket.codes[name])


def effective_of(run: Run, name: str) -> Tensor:
    """What is used of a tensor; the ticket must have a law of its own."""
    return dict(run.ticket.rebuilt(without=run.ticket.tensors.keys() - {name}))[name]


def signs_of(run: Run, sample: Sample, *, last: bool) -> Tensor | None:
    """Signs of the weights drawn, float32 (outputs, inputs); None where an edge is several or their signs are unknown.

    Args:
        run: the run.
        sample: what is drawn of a tensor.
        last: whether those at the end are asked for, not those of any epoch.
    """
    method = run.ticket.tensors[sample.name].method
    if sample.weights_per_edge > 1 or run.ticket.law is None or method is None:
        return None
    # A mask leaves what is frozen as it is; other methods' codes, of which the trace has no more, may turn it round.
    plain = type(method).decode is Method.decode and type(method).frozen is Method.frozen
    if not plain and not last:
        return None
    weight = frozen_of(run, sample.name) if plain else effective_of(run, sample.name)
    assert weight is not None
    return weight.flatten(1)[list(sample.outputs)][:, list(sample.inputs)].sign().float()
