"""The networks of "What's Hidden in a Randomly Weighted Neural Network?" (Ramanujan et al., 2019)."""

import functools
import inspect
import math
import reprlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, final

import torch
from torch import Tensor, nn

MAX_WEIGHTS = 2**28  # 1 GiB of float32; the largest of the paper's networks has 127 million
_MAX_SIZE = 2**20  # of one number; keeps every product below 2**63, where torch stops counting
_MAX_ENTRIES = 32  # of one list
_MAX_WIDTH = 64.0

NETWORKS: dict[str, Callable[..., "Network"]] = {}

_Arguments = ParamSpec("_Arguments")
_Shape = Sequence[int]
_Stem = Literal["small", "large"] | None
_CIFAR = (3, 32, 32)


@final
class Network(nn.Sequential):
    """Layers in order, and in `built_by` the name and the arguments that `build` makes them from again."""

    built_by: dict[str, Any]


def build(name: str, /, **arguments: Any) -> Network:
    """Build a network by name; safe to call with a name and arguments from an untrusted file.

    Args:
        name: a key of `NETWORKS`, such as "conv4".
        arguments: those of that builder; a list will do where it takes a tuple.

    Returns:
        The network, with `built_by` set, so that `build(m.built_by["name"], **m.built_by["arguments"])` is
        the same architecture, also after a trip through JSON.

    Raises:
        ValueError: unknown name or argument, argument of the wrong type or out of range, input too small, or
            more than `MAX_WEIGHTS` weights; nothing has been allocated by then.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"unknown network {reprlib.repr(name)}; known: {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    for key in arguments:
        if key not in known:
            raise ValueError(f"{name} has no argument {reprlib.repr(key)}; it has {', '.join(known)}")
    return NETWORKS[name](**arguments)


def _check_size(label: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MAX_SIZE:
        raise ValueError(f"{label} must be an integer from 1 to {_MAX_SIZE:,}, not {reprlib.repr(value)}")
    return value


def _check_sizes(label: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MAX_ENTRIES:
        raise ValueError(f"{label} must be a list of at most {_MAX_ENTRIES} integers, not {reprlib.repr(value)}")
    return tuple(_check_size(f"{label}[{index}]", size) for index, size in enumerate(value))


def _check_shape(label: str, value: Any) -> tuple[int, ...]:
    shape = _check_sizes(label, value)
    if not shape or math.prod(shape) > MAX_WEIGHTS:
        raise ValueError(f"{label} must hold 1 to {MAX_WEIGHTS:,} values, not {reprlib.repr(shape)}")
    return shape


def _check_width(label: str, value: Any) -> float:
    # The chained comparison also refuses NaN.
    if type(value) not in (int, float) or not 0 < value <= _MAX_WIDTH:
        raise ValueError(f"{label} must be a number in (0, {_MAX_WIDTH:g}], not {reprlib.repr(value)}")
    return float(value)


def _check_stem(label: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value in ("small", "large")):
        raise ValueError(f'{label} must be "small", "large" or None, not {reprlib.repr(value)}')
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "widths": _check_sizes,
    "shape": _check_shape,
    "classes": _check_size,
    "width": _check_width,
    "stem": _check_stem,
}


def _network(builder: Callable[_Arguments, Network]) -> Callable[_Arguments, Network]:
    """Register a builder in `NETWORKS`, check its arguments and size, and note them on what it builds."""
    name = builder.__name__.replace("_", "-")
    signature = inspect.signature(builder)

    @functools.wraps(builder)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Network:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        for key, value in call.arguments.items():
            call.arguments[key] = _CHECKS[key](key, value)
        # A first build without memory counts the weights; it draws nothing from the random generator.
        with torch.device("meta"):
            weights = sum(p.numel() for p in builder(*call.args, **call.kwargs).parameters())
        if weights > MAX_WEIGHTS:
            raise ValueError(f"this {name} would have {weights:,} weights; the limit is {MAX_WEIGHTS:,}")
        network = builder(*call.args, **call.kwargs)
        as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in call.arguments.items()}
        network.built_by = {"name": name, "arguments": as_json}
        return network

    NETWORKS[name] = checked
    return checked


def _pixels(shape: _Shape, stride: int, border: int = 0) -> tuple[int, int]:
    """Height and width left of an image of (channels, height, width) without its border, shrunk by stride."""
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), not {shape}")
    height, width = ((side - border) // stride for side in shape[1:])
    if min(height, width) < 1:
        raise ValueError(f"shape {shape} is too small: height and width must be {stride + border} or more")
    return height, width


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _dense(sizes: Sequence[int]) -> OrderedDict[str, nn.Module]:
    """Fully connected layers from each size to the next, with ReLU between them."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for index in range(1, len(sizes)):
        if index > 1:
            layers[f"fc_relu{index - 1}"] = nn.ReLU()
        layers[f"fc{index}"] = nn.Linear(sizes[index - 1], sizes[index], bias=False)
    return layers


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


@_network
def fc(widths: Sequence[int] = (300, 100), shape: _Shape = (1, 28, 28), classes: int = 10) -> Network:
    """Fully connected network with ReLU; with the defaults LeNet-300-100.

    Args:
        widths: hidden units of each layer; none makes a linear classifier.
        shape: of one input, any number of dimensions; it is flattened.
        classes: outputs.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument of the wrong type or out of range, or more than `MAX_WEIGHTS` weights.

    Source: LeCun et al. 1998; "FC" of Ramanujan et al. 2019.
    """
    return Network(_dense([math.prod(shape), *widths, classes]))


def _vgg(pairs: int, width: float, shape: _Shape, classes: int) -> Network:
    height, columns = _pixels(shape, stride=2**pairs)
    layers = OrderedDict[str, nn.Module]()
    inputs = shape[0]
    for pair in range(pairs):
        outputs = _scaled(64 * 2**pair, width)
        for index in (2 * pair + 1, 2 * pair + 2):
            layers[f"conv{index}"] = _conv(inputs, outputs, kernel=3)
            layers[f"conv_relu{index}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{pair + 1}"] = nn.MaxPool2d(2)
    hidden = _scaled(256, width)
    return Network(layers | _dense([inputs * height * columns, hidden, hidden, classes]))


@_network
def conv2(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10) -> Network:
    """VGG-like network of one pair of 3x3 convolutions, a max-pool and three fully connected layers.

    Args:
        width: factor on the channels and hidden units; inputs and outputs stay.
        shape: (channels, height, width) of one image; each pair of convolutions halves height and width.
        classes: outputs.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument of the wrong type or out of range, a shape too small for the max-pools, or
            more than `MAX_WEIGHTS` weights.

    Source: Frankle & Carbin 2019; Ramanujan et al. 2019.
    """
    return _vgg(1, width, shape, classes)


@_network
def conv4(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10) -> Network:
    """As `conv2` in all but its two pairs of convolutions."""
    return _vgg(2, width, shape, classes)


@_network
def conv6(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10) -> Network:
    """As `conv2` in all but its three pairs of convolutions."""
    return _vgg(3, width, shape, classes)


@_network
def conv8(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10) -> Network:
    """As `conv2` in all but its four pairs of convolutions."""
    return _vgg(4, width, shape, classes)


@_network
def mnist_conv(shape: _Shape = (1, 28, 28), classes: int = 10) -> Network:
    """Two-convolution network of the one-file MNIST example of the paper's authors.

    Args:
        shape: (channels, height, width) of one image, at least 6 x 6 pixels.
        classes: outputs.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument of the wrong type or out of range, a shape too small for the max-pool, or
            more than `MAX_WEIGHTS` weights.

    Source: Ramanujan et al. 2019, code.
    """
    height, columns = _pixels(shape, stride=2, border=4)
    return Network(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(shape[0], 32, 3, bias=False),
            conv_relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3, bias=False),
            conv_relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            dropout1=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * height * columns, 128, bias=False),
            fc_relu1=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            fc2=nn.Linear(128, classes, bias=False),
        )
    )


@final
class _Residual(nn.Module):
    """Convolutions of (kernel, channels, stride), each with a norm, added to a shortcut around them."""

    def __init__(self, inputs: int, convolutions: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = inputs
        for kernel, outputs, stride in convolutions:
            norm = nn.BatchNorm2d(outputs, affine=False)
            layers += [_conv(channels, outputs, kernel, stride), norm, nn.ReLU()]
            channels = outputs
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Sequential()
        stride = math.prod(stride for _, _, stride in convolutions)
        if stride > 1 or channels != inputs:
            self.shortcut.append(_conv(inputs, channels, 1, stride))
            self.shortcut.append(nn.BatchNorm2d(channels, affine=False))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


def _resnet(
    blocks: Sequence[int],
    width: float,
    shape: _Shape,
    classes: int,
    stem: _Stem,
    *,
    bottleneck: bool = True,
    inner_factor: int = 1,
) -> Network:
    _pixels(shape, stride=1)
    if stem is None:
        stem = "small" if shape[1] <= 64 else "large"
    _pixels(shape, stride=8 if stem == "small" else 32)

    channels = _scaled(64, width)
    kernel, stride = (3, 1) if stem == "small" else (7, 2)
    layers = OrderedDict[str, nn.Module](
        conv=_conv(shape[0], channels, kernel, stride),
        norm=nn.BatchNorm2d(channels, affine=False),
        relu=nn.ReLU(),
    )
    if stem == "large":
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    for stage, count in enumerate(blocks):
        base = _scaled(64 * 2**stage, width)
        stage_layers = nn.Sequential()
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            if bottleneck:
                inner = inner_factor * base
                convolutions = [(1, inner, 1), (3, inner, stride), (1, 4 * base, 1)]
            else:
                convolutions = [(3, base, stride), (3, base, 1)]
            stage_layers.append(_Residual(channels, convolutions))
            channels = convolutions[-1][1]
        layers[f"stage{stage + 1}"] = stage_layers
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    return Network(layers | _dense([channels, classes]))


@_network
def resnet18(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """Residual network of basic blocks, with batch norms that have running statistics and no weights.

    Args:
        width: factor on all channels; inputs and outputs stay.
        shape: (channels, height, width) of one image, no side below the total stride: 8 with the small
            stem, 32 with the large one.
        classes: outputs.
        stem: "small" (3x3 convolution), "large" (7x7 convolution of stride 2 and max-pool), or None: small
            up to 64 pixels of height.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument of the wrong type or out of range, a shape too small for the strides, or more
            than `MAX_WEIGHTS` weights.

    Source: He et al. 2016; Ramanujan et al. 2019.
    """
    return _resnet((2, 2, 2, 2), width, shape, classes, stem, bottleneck=False)


@_network
def resnet34(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """As `resnet18` in all but its number of blocks."""
    return _resnet((3, 4, 6, 3), width, shape, classes, stem, bottleneck=False)


@_network
def resnet50(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """As `resnet18` in all but its bottleneck blocks and their number; on ImageNet, shape (3, 224, 224)."""
    return _resnet((3, 4, 6, 3), width, shape, classes, stem)


@_network
def resnet101(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """As `resnet50` in all but its number of blocks."""
    return _resnet((3, 4, 23, 3), width, shape, classes, stem)


@_network
def wide_resnet50(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """As `resnet50` in all but the inner channels of its blocks, twice as many (Zagoruyko 2016)."""
    return _resnet((3, 4, 6, 3), width, shape, classes, stem, inner_factor=2)


@_network
def wide_resnet101(width: float = 1.0, shape: _Shape = _CIFAR, classes: int = 10, stem: _Stem = None) -> Network:
    """As `resnet101` in all but the inner channels of its blocks, twice as many (Zagoruyko 2016)."""
    return _resnet((3, 4, 23, 3), width, shape, classes, stem, inner_factor=2)
