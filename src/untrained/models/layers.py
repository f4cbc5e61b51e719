"""Layers of the networks, all without a bias."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from untrained.models.arguments import Activation, Norm, Shape
from untrained.models.binary_activation import BinaryActivation

CIFAR = (3, 32, 32)

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "sign": BinaryActivation}


def pixels(shape: Shape, stride: int, border: int = 0) -> tuple[int, int]:
    """Return (height, width) of an image of this shape without its border, divided by the stride."""
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {shape}")
    height, width = ((side - border) // stride for side in shape[1:])
    if min(height, width) < 1:
        raise ValueError(f"shape {shape} is too small: height and width must be {stride + border} or more")
    return height, width


def scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def activate(activation: Activation) -> nn.Module:
    """Return a fresh activation layer."""
    return _ACTIVATIONS[activation]()


def hidden(index: int, layer: nn.Linear | nn.Conv2d, activation: Activation, norm: Norm) -> dict[str, nn.Module]:
    """Return a hidden layer, its norm if there is one, and its activation, by name."""
    kind = "conv" if isinstance(layer, nn.Conv2d) else "fc"
    layers: dict[str, nn.Module] = {f"{kind}{index}": layer}
    if norm == "batch":
        per_channel = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
        layers[f"{kind}_norm{index}"] = per_channel(len(layer.weight), affine=False)
    return layers | {f"{kind}_{activation}{index}": activate(activation)}


def dense(sizes: Sequence[int], activation: Activation, norm: Norm = None) -> OrderedDict[str, nn.Module]:
    """Return fully connected layers from each size to the next, with norms and activations between them."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    *pairs, last = pairwise(sizes)
    for index, (inputs, outputs) in enumerate(pairs, start=1):
        layers |= hidden(index, nn.Linear(inputs, outputs, bias=False), activation, norm)
    layers[f"fc{len(sizes) - 1}"] = nn.Linear(*last, bias=False)
    return layers


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
