"""A found network as an ONNX graph, through PyTorch's exporter."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from untrained.export.network import build_network, read_input_shape
from untrained.files import atomic_write
from untrained.terminal.extras import install_command
from untrained.tickets.header import TicketError
from untrained.tickets.ticket import Ticket


def to_onnx(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write the network as an ONNX graph.

    The graph's input is `image`, float32 (batch, *shape), normalised as in the search; its output is `logits`,
    float32 (batch, classes), for any batch. Labels, mean and std of the ticket's meta are in the graph's metadata, as
    JSON. An unfinished file is never left behind.

    Args:
        ticket: the ticket.
        path: the file.
        model: a freshly built model of the ticket's architecture, which becomes the network; not needed for the
            networks of `untrained.models`.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        TicketError: a model is needed, the ticket does not fit it, the shape of its input is not known, torch cannot
            export its forward pass, or can for one size of the batch only.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_onnx(ut.Ticket.of(model), "network.onnx")
    """
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise ImportError(f"exporting to ONNX needs onnx and onnxscript: {install_command('onnx')}")
    network, shape = build_network(ticket, model), read_input_shape(ticket)
    dtypes = {tensor.dtype for tensor in network.parameters()}
    if dtypes != {torch.float32}:
        raise TicketError(f"its tensors are {', '.join(sorted(map(str, dtypes)))}; ONNX files are of torch.float32")
    for name, _ in network.named_modules():
        if '"' in name or "\\" in name or not name.isprintable():  # torch writes Python code with the names in it
            raise TicketError(f"torch cannot export a layer called {name!r}")
    program = _export(network, shape)
    graph = program.model.graph
    if not graph.outputs:
        raise TicketError("its network gives no tensor")
    for value in (*graph.inputs, *graph.outputs):
        # torch takes the Dim for a hint, and writes the size of the example where the forward pass asks for a number.
        if not value.shape or isinstance(value.shape[0], int):
            raise TicketError(
                f"its forward pass is for one size of the batch only: {value.name} became {value.shape}. Write "
                "x.shape[0] for len(x) or int(x.shape[0]), x.flatten(1) for x.view(len(x), -1), and no loop over x"
            )
    facts = {name: json.dumps(ticket.meta[name]) for name in ("labels", "mean", "std") if name in ticket.meta}
    program.model.metadata_props.update(facts)
    with atomic_write(path) as unfinished:
        program.save(str(unfinished), external_data=False)


def _export(network: nn.Module, shape: list[int]) -> torch.onnx.ONNXProgram:
    with _silence_exporter():
        try:
            program = torch.onnx.export(
                network,
                (torch.zeros(2, *shape, device="cpu"),),  # a batch of 1 would be taken for a constant
                dynamo=True,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().partition("\n")[0]
            raise TicketError(f"torch cannot export its forward pass: {cause[:200]}") from error
    assert program is not None
    return program


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Silence the warnings of torch's exporter that its users cannot act on."""
    # It logs that torchvision, which is not used, is missing.
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # of torch and Python
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        log.setLevel(level)
