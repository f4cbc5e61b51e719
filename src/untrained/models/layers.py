"""Layers of the networks, all without a bias."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import nn

from untrained.models.arguments import Activation, Shape
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


def dense(sizes: Sequence[int], activation: Activation) -> OrderedDict[str, nn.Module]:
    """Return fully connected layers from each size to the next, with activations between them."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for index in range(1, len(sizes)):
        if index > 1:
            layers[f"fc_{activation}{index - 1}"] = activate(activation)
        layers[f"fc{index}"] = nn.Linear(sizes[index - 1], sizes[index], bias=False)
    return layers


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
