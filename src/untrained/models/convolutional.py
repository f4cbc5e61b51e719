"""Networks of convolutions without shortcuts: VGG-like ones, and that of the MNIST example."""

import functools
from collections import OrderedDict

from torch import nn

from untrained.models.arguments import Activation, Norm, Shape
from untrained.models.layers import CIFAR, conv, dense, hidden, pixels, scaled
from untrained.models.registry import Network, register, register_variant


def _vgg(pairs: int, width: float, shape: Shape, classes: int, activation: Activation, norm: Norm) -> Network:
    height, columns = pixels(shape, stride=2**pairs)
    layers = OrderedDict[str, nn.Module]()
    inputs = shape[0]
    for pair in range(pairs):
        outputs = scaled(64 * 2**pair, width)
        for index in (2 * pair + 1, 2 * pair + 2):
            layers |= hidden(index, conv(inputs, outputs, kernel=3), activation, norm)
            inputs = outputs
        layers[f"pool{pair + 1}"] = nn.MaxPool2d(2)
    units = scaled(256, width)
    return Network(layers | dense([inputs * height * columns, units, units, classes], activation, norm))


@register
def conv2(
    width: float = 1.0,
    shape: Shape = CIFAR,
    classes: int = 10,
    activation: Activation = "relu",
    norm: Norm = None,
) -> Network:
    """Build a VGG-like network of one pair of 3x3 convolutions, a max-pool and three fully connected layers.

    Args:
        width: factor on the channels and hidden units; inputs and outputs stay.
        shape: (channels, height, width) of one image; each pair of convolutions halves height and width.
        classes: outputs.
        activation: "relu", "elu" (Clevert et al. 2016), or "sign": `BinaryActivation`.
        norm: "batch" puts a batch norm without scale and shift (Ioffe & Szegedy 2015) before every activation.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument is out of range, the shape too small, or the network above `MAX_WEIGHTS` weights.

    Source: Frankle & Carbin 2019; Ramanujan et al. 2019.

    Example:
        >>> ut.models.conv2(width=0.1, shape=(1, 28, 28))(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return _vgg(1, width, shape, classes, activation, norm)


def _variant(name: str, pairs: int, in_words: str):
    first = f"Build a VGG-like network of {in_words} pairs of 3x3 convolutions."
    return register_variant(conv2, name, first, functools.partial(_vgg, pairs))


conv4 = _variant("conv4", 2, "two")
conv6 = _variant("conv6", 3, "three")
conv8 = _variant("conv8", 4, "four")


@register
def mnist_conv(
    shape: Shape = (1, 28, 28), classes: int = 10, activation: Activation = "relu", norm: Norm = None
) -> Network:
    """Build the network of two convolutions of the one-file MNIST example of the paper's authors.

    Args:
        shape: (channels, height, width) of one image, at least 6 x 6 pixels.
        classes: outputs.
        activation: "relu", "elu" (Clevert et al. 2016), or "sign": `BinaryActivation`.
        norm: "batch" puts a batch norm without scale and shift (Ioffe & Szegedy 2015) before every activation.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument is out of range, the shape too small, or the network above `MAX_WEIGHTS` weights.

    Source: Ramanujan et al. 2019, code.

    Example:
        >>> ut.models.mnist_conv()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    height, columns = pixels(shape, stride=2, border=4)
    layers = OrderedDict[str, nn.Module](hidden(1, nn.Conv2d(shape[0], 32, 3, bias=False), activation, norm))
    layers |= hidden(2, nn.Conv2d(32, 64, 3, bias=False), activation, norm)
    layers |= {"pool": nn.MaxPool2d(2), "dropout1": nn.Dropout(0.25), "flatten": nn.Flatten()}
    layers |= hidden(1, nn.Linear(64 * height * columns, 128, bias=False), activation, norm)
    layers |= {"dropout2": nn.Dropout(0.5), "fc2": nn.Linear(128, classes, bias=False)}
    return Network(layers)
