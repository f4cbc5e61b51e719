"""What a found network is in each format, in bytes; and ternary weights in an ONNX file, in all the ways there are.

.venv/bin/python benchmarks/production.py        (about two minutes)
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import untrained as ut
from harness import take_turns, write
from untrained.export.onnx_packed import pack_
from untrained.tickets.networks import rebuild

ROWS, COLUMNS, SIGMA = 256, 16384, np.float32(1 / 128)
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "64-300-100-10, digits": lambda: ut.models.fc((300, 100), (1, 8, 8)),
    "Conv2, CIFAR-10": lambda: ut.models.conv2(shape=(3, 32, 32)),
    "ResNet-18, CIFAR-10": lambda: ut.models.resnet18(shape=(3, 32, 32)),
}


def files(name: str) -> dict[str, Any]:
    """Sizes of all formats, and how far the answers of both ONNX files are from torch's; scores are random."""
    masked, generator = ut.mask_(NETWORKS[name](), ut.EdgePopup(keep=0.5)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for scores in ut.scores(masked):  # others than those of the seed, which take no bytes
            scores.normal_(generator=generator)
        for name_of, buffer in masked.named_buffers():  # statistics of norms
            if name_of.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
            elif name_of.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
    shape = [1, 8, 8] if "digits" in name else [3, 32, 32]
    labels = [str(label) for label in range(10)]
    mean, std = [0.5] * shape[0], [0.25] * shape[0]
    ticket = ut.Ticket.of(masked, {"shape": shape, "labels": labels, "mean": mean, "std": std})
    result: dict[str, Any] = {"weights": sum(codes.numel() for codes in ticket.codes.values())}
    pixels = torch.randint(256, (8, *shape), dtype=torch.uint8, generator=generator)
    image = (pixels.float() - 127.5) / 63.75
    expected = ticket.apply_(rebuild(ticket)).eval()(image).detach().numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        ticket.save(path)
        result["ticket"] = path.stat().st_size
        for form, given in {"onnx": {"pixels": pixels}, "onnx --dense": {"image": image}}.items():
            ut.export.to_onnx(ticket, path, dense="dense" in form)
            (got,) = onnxruntime.InferenceSession(path).run(None, {key: x.numpy() for key, x in given.items()})
            result[f"error of {form}"] = float(np.abs(got - expected).max() / np.abs(expected).max())
            result[form] = path.stat().st_size
        for form in ("numpy", "js", "safetensors", "html"):
            getattr(ut.export, f"to_{form}")(ticket, path)
            result[form] = path.stat().st_size
    print(name, result)
    return result


def graph_of(nodes: list[Any], constants: list[Any], opset: int, ir_version: int = 10) -> bytes:
    ends = (("x", COLUMNS), ("y", ROWS))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in ends)
    graph = helper.make_graph(nodes, "layer", [x], [y], constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()


def packed_bits(trits: np.ndarray, bits: int) -> np.ndarray:
    fields = (trits + 1).astype(np.uint8).reshape(-1, 8 // bits)
    return (fields << (bits * np.arange(8 // bits))).sum(axis=1).astype(np.uint8)


def dequantized(trits: np.ndarray, bits: int, product: str) -> bytes:
    kind, opset, version = (TensorProto.UINT2, 25, 13) if bits == 2 else (TensorProto.UINT4, 21, 10)
    weight = TensorProto(name="q", data_type=kind, dims=trits.shape, raw_data=packed_bits(trits, bits).tobytes())
    zero = TensorProto(name="zero", data_type=kind, raw_data=bytes([1]))
    nodes = [helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"])]
    if product == "Gemm":
        nodes.append(helper.make_node("Gemm", ["x", "w"], ["y"], transB=1))
    else:
        nodes += [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    return graph_of(nodes, [weight, zero, numpy_helper.from_array(SIGMA, "scale")], opset, version)


def blocks(trits: np.ndarray, bits: int, accuracy: int, block: int = 128) -> bytes:
    shape = ROWS, COLUMNS // block
    zeros = packed_bits(np.zeros(shape, np.int8), bits).reshape(ROWS, -1)
    constants = {
        "q": packed_bits(trits, bits).reshape(*shape, -1), "scale": np.full(shape, SIGMA, np.float32), "zero": zeros
    }  # fmt: skip
    sizes = {"K": COLUMNS, "N": ROWS, "bits": bits, "block_size": block, "accuracy_level": accuracy}
    node = helper.make_node("MatMulNBits", ["x", *constants], ["y"], domain="com.microsoft", **sizes)
    return graph_of([node], [numpy_helper.from_array(array, name) for name, array in constants.items()], 20)


def forms() -> list[dict[str, Any]]:
    """Bytes, time to load, time to run and error of a layer of 4.2 million trits."""
    rng = np.random.default_rng(0)
    trits = rng.integers(-1, 2, (ROWS, COLUMNS)).astype(np.int8)
    weight = trits * SIGMA
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    dense = graph_of([node], [numpy_helper.from_array(weight, "w")], 20)
    small = ir.from_proto(onnx.load_from_string(dense))
    pack_(small.graph)
    models = {
        "float32 (--dense)": dense,
        "digits to base 3, looked up (the default)": ir.to_proto(small).SerializeToString(),
    }
    models |= {
        f"DequantizeLinear of uint{bits}, {product}": dequantized(trits, bits, product)
        for bits in (4, 2) for product in ("Gemm", "MatMul")
    }  # fmt: skip
    models |= {
        f"MatMulNBits, {bits} bits, {kind}": blocks(trits, bits, level)
        for bits in (4, 2) for kind, level in (("float32", 1), ("int8", 4))
    }  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    start = lambda model: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])  # noqa: E731
    sessions, rows, seconds = {}, [], {}
    for name, model in models.items():
        try:
            begun = time.process_time()
            sessions[name] = start(model)
            seconds[name] = [time.process_time() - begun]
        except Exception as error:  # onnxruntime's have no class of their own
            rows.append({"form": name, "bytes": len(model), "fails": str(error).partition("\n")[0][:120]})
    for _ in range(4):
        for name in sessions:
            begun = time.process_time()
            start(models[name])
            seconds[name].append(time.process_time() - begun)
    times, errors = {}, {}
    for batch in (1, 64):
        x = rng.standard_normal((batch, COLUMNS)).astype(np.float32)
        exact = x @ weight.T
        runs = {name: lambda session=session, x=x: session.run(None, {"x": x}) for name, session in sessions.items()}
        times[batch] = take_turns(runs, rounds=9)
        errors = {name: float(np.abs(run()[0] - exact).max() / np.abs(exact).max()) for name, run in runs.items()}
    for name in sessions:
        row = {"form": name, "bytes": len(models[name]), "load_ms": 1000 * min(seconds[name])}
        row |= {f"batch {batch}, ms": 1000 * min(taken[name]) for batch, taken in times.items()}
        rows.append({**row, "error": errors[name]})
    for row in rows:
        print(row)
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}", file=sys.stderr)
    versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "torch": torch.__version__}
    write("production", {"versions": versions, "files": {name: files(name) for name in NETWORKS}, "forms": forms()})
