"""A found network as an ONNX graph, through PyTorch's exporter."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from untrained._version import __version__
from untrained.export.network import build_network, check_labels, check_per_channel, read_input_shape
from untrained.export.onnx_packed import Operators, pack_
from untrained.files import atomic_write
from untrained.terminal.extras import install_command
from untrained.tickets.header import TicketError
from untrained.tickets.ticket import Ticket

if TYPE_CHECKING:
    import onnx_ir as ir


def to_onnx(ticket: Ticket, path: str | Path, model: nn.Module | None = None, *, dense: bool = False) -> None:
    """Write the network as an ONNX graph, with weights of few distinct values packed, five or so to a byte.

    The graph takes batches of any size. Where the ticket's meta has the mean and std of images, its input is `pixels`,
    uint8 (batch, channels, height, width), 0..255, which the graph normalises; else, and with `dense`, it is `image`,
    float32 (batch, *shape), as the network takes it. Its output is `logits`, float32 (batch, classes). Metadata of
    the graph: input, output, ticket_sha256, labels as JSON where the meta has them, and with `dense` mean and std.
    Packed weights are exactly the same floats: standard operators look them up when the file is loaded. Weights that
    are all different have a bit each, and the kept ones as floats. An unfinished file is never left behind.

    Args:
        ticket: the ticket.
        path: the file.
        model: a freshly built model of the ticket's architecture, which becomes the network; not needed for the
            networks of `untrained.models`.
        dense: write all weights as plain floats, and leave normalisation out of the graph.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        TicketError: a model is needed, the ticket does not fit it, the shape of its input is not known, its meta does
            not fit the network, torch cannot export its forward pass, or can for one size of the batch only.
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
    normalisation = None if dense else _read_normalisation(ticket, shape)
    program = _export(network, shape)
    graph = program.model.graph
    _check_graph(graph)
    facts = _describe(graph, ticket)
    if dense:
        facts |= {name: json.dumps(ticket.meta[name]) for name in ("mean", "std") if name in ticket.meta}
    else:
        if normalisation is not None:
            facts["input"] = _take_pixels_(graph, *normalisation)
        pack_(graph)
    for node in graph:
        node.metadata_props.clear()  # torch's, with paths of this machine
    program.model.metadata_props.update(facts)
    program.model.producer_name, program.model.producer_version = "untrained", __version__
    with atomic_write(path) as unfinished:
        program.save(str(unfinished), external_data=False)


def _check_graph(graph: ir.Graph) -> None:
    if not graph.outputs:
        raise TicketError("its network gives no tensor")
    for value in (*graph.inputs, *graph.outputs):
        # torch takes the Dim for a hint, and writes the size of the example where the forward pass asks for a number.
        if not value.shape or isinstance(value.shape[0], int):
            raise TicketError(
                f"its forward pass is for one size of the batch only: {value.name} became {value.shape}. Write "
                "x.shape[0] for len(x) or int(x.shape[0]), x.flatten(1) for x.view(len(x), -1), and no loop over x"
            )


def _describe(graph: ir.Graph, ticket: Ticket) -> dict[str, str]:
    """Return the metadata for a graph that takes floats."""
    shapes = {value.name: ", ".join(map(str, value.shape or ())) for value in (*graph.inputs, *graph.outputs)}
    texts = [f"{name}: float32 ({shape})" for name, shape in shapes.items()]
    facts = {
        "input": f"{texts[0]}, as in the search",
        "output": "; ".join(texts[1:]),
        "ticket_sha256": hashlib.sha256(ticket.to_bytes()).hexdigest(),
    }
    first = graph.outputs[0].shape
    if "labels" in ticket.meta and first is not None:
        classes = first[1] if len(first) == 2 else None
        labels = ticket.meta["labels"]
        facts["labels"] = json.dumps(check_labels(labels, classes) if isinstance(classes, int) else labels)
        facts["output"] += ", one per label; their softmax is the probabilities"
    return facts


def _read_normalisation(ticket: Ticket, shape: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return mean and std (channels, 1, 1) on the 0..255 scale, or None if the input is no image of bytes."""
    if len(shape) != 3 or not {"mean", "std"} & ticket.meta.keys():
        return None
    mean = np.array(check_per_channel(ticket.meta, "mean", shape[0], 0.0), np.float32)[:, None, None]
    std = np.array(check_per_channel(ticket.meta, "std", shape[0], 1.0), np.float32)[:, None, None]
    return np.float32(255) * mean, np.float32(255) * std


def _take_pixels_(graph: ir.Graph, mean: np.ndarray, std: np.ndarray) -> str:
    """Put the normalisation of `Batches` before the graph, which then takes bytes; return the input's description."""
    import onnx_ir as ir

    image, new = graph.inputs[0], Operators(graph, "pixels")
    pixels = ir.Value(name="pixels", type=ir.TensorType(ir.DataType.UINT8), shape=image.shape)
    numbers = new.add("Cast", pixels, to=ir.DataType.FLOAT.value)
    normalised = new.add("Div", new.add("Sub", numbers, mean), std)
    ir.convenience.replace_all_uses_with(image, normalised)
    graph.inputs[0] = pixels
    new.insert_()
    colours = {1: "grey", 3: "red, green, blue"}.get(len(mean), f"{len(mean)} channels")
    return f"pixels: uint8 ({', '.join(map(str, image.shape or ()))}), 0..255, {colours}; normalised within"


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
