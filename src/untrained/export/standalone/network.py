"""Running of a network by numpy alone, which `untrained export --to numpy` writes behind the ticket's reader."""

import math
import sys
from pathlib import Path

import numpy as np

from untrained.export.standalone.ticket import read_ticket

# The shape of one input; operations on values, of which 0 is the input and k + 1 the result of operation k; the shapes
# of all tensors, and the network's name and arguments. The exporter writes them.
SHAPE: list = []
OPERATIONS: list = []
TENSORS: dict = {}
NETWORK = None
# end


def check_network(head):
    """Refuse a ticket of another network, before its weights are drawn."""
    tensors = {name: entry["shape"] for name, entry in head["tensors"].items()}
    for name in sorted(TENSORS.keys() | tensors.keys()):
        there, here = tensors.get(name, "missing"), TENSORS.get(name, "missing")
        if there != here:
            raise ValueError(f"it is of another network: {name!r} is {there} in it, and {here} in this file")
    model = head["meta"].get("model")  # the description of a network that is not one of untrained.models
    if (told := [head["network"], model if isinstance(model, dict) else None]) != NETWORK:
        raise ValueError(f"it is of another network: {told}, and this file is for {NETWORK}")
    if odd := [
        name for name, entry in head["tensors"].items() if "stored" not in entry and entry["dtype"] != "float32"
    ]:
        raise ValueError(f"{odd[0]!r} is not float32")


def windows(op, x, fill):
    """(n, channels, rows, columns, kernel's rows, kernel's columns), padded so far as the shape of the result needs."""
    step, gap, (_, *shape) = op["stride"], op.get("dilation", (1, 1)), op["shape"]
    spans = [(kernel - 1) * d + 1 for kernel, d in zip(op["kernel"], gap, strict=True)]
    ends = [(shape[i] - 1) * step[i] + spans[i] - op["padding"][i] - x.shape[2 + i] for i in (0, 1)]
    pads = [(before, max(0, end)) for before, end in zip(op["padding"], ends, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(padded, spans, (2, 3))
    return seen[:, :, :: step[0], :: step[1], :: gap[0], :: gap[1]][:, :, : shape[0], : shape[1]]


def conv(op, x, weight, bias=0.0):
    pairs = zip(np.split(windows(op, x, 0), op["groups"], 1), np.split(weight, op["groups"]), strict=True)
    parts = [np.tensordot(seen, part, ((1, 4, 5), (1, 2, 3))) for seen, part in pairs]
    return (np.concatenate(parts, -1) + bias).transpose(0, 3, 1, 2)


def norm(op, x, mean=0.0, variance=1.0, weight=1.0, bias=0.0):
    """Batch norm; layer norm and group norm, which first give each of an example's equal parts mean 0, variance 1."""
    if "parts" in op:
        y = x.reshape(len(x), op["parts"], -1)
        x = ((y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + op["eps"])).reshape(x.shape)
    mean, slope, bias = (
        value if op["op"] == "layernorm" else np.reshape(value, (-1, *[1] * (x.ndim - 2)))
        for value in (mean, weight / np.sqrt(variance + ("parts" not in op) * op["eps"]), bias)
    )
    return (x - mean) * slope + bias


KNOWN = {
    "linear": lambda op, x, weight, bias=0.0: x @ weight.T + bias,
    "conv": conv,
    "norm": norm,
    "layernorm": norm,
    "groupnorm": norm,
    "maxpool": lambda op, x: windows(op, x, -np.inf).max((-2, -1)),
    "avgpool": lambda op, x: windows(op, x, 0).mean((-2, -1)),
    "add": lambda op, x, y: x + y,
    "relu": lambda op, x: np.maximum(x, 0),
    "leakyrelu": lambda op, x: np.where(x > 0, x, op["slope"] * x),
    "elu": lambda op, x: np.where(x > 0, x, op["alpha"] * np.expm1(np.minimum(x, 0))),
    "selu": lambda op, x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "sign": lambda op, x: np.where(x < 0, -1.0, 1.0),
    "clip": lambda op, x: np.clip(x, op["low"], op["high"]),
    "sigmoid": lambda op, x: 0.5 + 0.5 * np.tanh(x / 2),
    "tanh": lambda op, x: np.tanh(x),
    "silu": lambda op, x: x * (0.5 + 0.5 * np.tanh(x / 2)),
    "gelu": lambda op, x: x * (0.5 + 0.5 * np.vectorize(math.erf, "d")(x / math.sqrt(2))),
    "softplus": lambda op, x: np.logaddexp(0, op["beta"] * x) / op["beta"],
    "logsoftmax": lambda op, x: x - np.logaddexp.reduce(x, 1, keepdims=True),
}


class Model:
    """The network of a ticket."""

    def __init__(self, head, tensors):
        self.meta, self.tensors = head["meta"], {name: tensor.astype(float) for name, tensor in tensors.items()}
        self.labels = self.meta.get("labels") or [f"class {number}" for number in range(OPERATIONS[-1]["shape"][0])]

    def normalise(self, pixels):
        """Return an input or a batch as the network takes it: from whole numbers 0…255, or floats 0…1."""
        x, whole = np.asarray(pixels, float), np.asarray(pixels).dtype.kind in "iu"
        x = x[None] if x.shape == tuple(SHAPE) else x
        if x.shape[1:] != tuple(SHAPE) or not len(x) or not np.isfinite(x).all():
            raise ValueError(f"expected finite numbers of shape {SHAPE}, or a batch of them, got {x.shape}")
        if "mean" not in self.meta or "std" not in self.meta:
            return x
        if x.min() < 0 or x.max() > (255 if whole else 1):
            raise ValueError(f"expected whole numbers 0…255 or floats 0…1, got {x.min():g}…{x.max():g}")
        mean, std = (np.reshape(self.meta[field], (-1, *[1] * (x.ndim - 2))) for field in ("mean", "std"))
        return (x / (255 if whole else 1) - mean) / std

    def __call__(self, x):
        """The logits of normalised inputs (n, *SHAPE)."""
        values = [np.asarray(x, float)]
        if values[0].shape[1:] != tuple(SHAPE):
            raise ValueError(f"expected a batch of shape (n, {', '.join(map(str, SHAPE))}), got {values[0].shape}")
        for op in OPERATIONS:
            own = {field: self.tensors[op[field]] for field in ("weight", "bias", "mean", "variance") if field in op}
            given = [values[i].reshape(len(x), *op["from"]) for i in op["in"]]
            values.append(KNOWN[op["op"]](op, *given, **own))
        return values[-1]


def load(path):
    """The network of a ticket, whose hashes are checked."""
    try:
        return Model(*read_ticket(Path(path).read_bytes(), check_network))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python found.py found.ticket image.npy")
    model = load(sys.argv[1])
    logits = model(model.normalise(np.load(sys.argv[2], allow_pickle=False)))
    for number, row in enumerate(np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))):
        best = [f"{model.labels[label]} {row[label]:.2%}" for label in np.argsort(-row, kind="stable")[:3]]
        print(f"{number}  {', '.join(best)}")
