"""Residual networks, also folded: with convolutions that blocks share."""

import functools
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from untrained.models.arguments import Activation, Shape, Stem
from untrained.models.layers import CIFAR, activate, conv, dense, pixels, scaled
from untrained.models.registry import Network, register, register_variant


@final
class _Residual(nn.Module):
    """Convolutions, which blocks may share, each followed by a norm, added to a shortcut around them."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], activation: Activation) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for convolution in convolutions:
            norm = nn.BatchNorm2d(convolution.out_channels, affine=False)
            layers += [convolution, norm, activate(activation)]
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Sequential()
        inputs, outputs = convolutions[0].in_channels, convolutions[-1].out_channels
        stride = math.prod(convolution.stride[0] for convolution in convolutions)
        if stride > 1 or inputs != outputs:
            self.shortcut.append(conv(inputs, outputs, 1, stride))
            self.shortcut.append(nn.BatchNorm2d(outputs, affine=False))
        self.activation = activate(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


def _resnet(
    blocks: Sequence[int],
    inner_factor: int | None,
    width: float,
    shape: Shape,
    classes: int,
    stem: Stem,
    activation: Activation,
    folded: bool,
) -> Network:
    """Build stages of bottleneck blocks, their numbers given; of basic blocks without a factor of inner channels."""
    pixels(shape, stride=1)
    if stem is None:
        stem = "small" if shape[1] <= 64 else "large"
    pixels(shape, stride=8 if stem == "small" else 32)

    channels = scaled(64, width)
    kernel, stride = (3, 1) if stem == "small" else (7, 2)
    layers = OrderedDict[str, nn.Module](conv=conv(shape[0], channels, kernel, stride))
    layers["norm"] = nn.BatchNorm2d(channels, affine=False)
    layers[activation] = activate(activation)
    if stem == "large":
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    for stage, count in enumerate(blocks):
        base = scaled(64 * 2**stage, width)
        stage_layers, convolutions = nn.Sequential(), []
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            if folded and block >= 2:
                pass  # the convolutions of the block before
            elif inner_factor is None:
                convolutions = [conv(channels, base, 3, stride), conv(base, base, 3)]
            else:
                inner = inner_factor * base
                convolutions = [conv(channels, inner, 1), conv(inner, inner, 3, stride), conv(inner, 4 * base, 1)]
            stage_layers.append(_Residual(convolutions, activation))
            channels = convolutions[-1].out_channels
        layers[f"stage{stage + 1}"] = stage_layers
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    return Network(layers | dense([channels, classes], activation))


@register
def resnet18(
    width: float = 1.0,
    shape: Shape = CIFAR,
    classes: int = 10,
    stem: Stem = None,
    activation: Activation = "relu",
    folded: bool = False,
) -> Network:
    """Build a residual network of basic blocks, with batch norms that have running statistics and no weights.

    Folded, it is a hidden-fold network: the blocks of a stage after its first, which changes channels or stride, all
    use the same convolutions, each with other norms. A stage then stores two blocks' convolutions however many
    blocks it has; `resnet18` has two blocks a stage, and no block to fold. A convolution that is used several times has
    one mask.

    Args:
        width: factor on all channels; inputs and outputs stay.
        shape: (channels, height, width) of one image, no side below the total stride: 8 with the small
            stem, 32 with the large one.
        classes: outputs.
        stem: "small" (3x3 convolution), "large" (7x7 convolution of stride 2 and max-pool), or None: small
            up to 64 pixels of height.
        activation: "relu", "elu" (Clevert et al. 2016), or "sign": `BinaryActivation`.
        folded: share the convolutions of a stage's blocks.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument is out of range, the shape too small, or the network above `MAX_WEIGHTS` weights.

    Source: He et al. 2016; Ramanujan et al. 2019; folded: López García-Arias et al. 2021, arXiv 2111.12330.

    Example:
        >>> ut.models.resnet18(width=0.05)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return _resnet((2, 2, 2, 2), None, width, shape, classes, stem, activation, folded)


def _variant(name: str, kind: str, blocks: Sequence[int], inner_factor: int | None = 1):
    first = f"Build a residual network of {', '.join(map(str, blocks))} {kind} blocks in its four stages."
    return register_variant(resnet18, name, first, functools.partial(_resnet, blocks, inner_factor))


resnet34 = _variant("resnet34", "basic", (3, 4, 6, 3), None)
resnet50 = _variant("resnet50", "bottleneck", (3, 4, 6, 3))
resnet101 = _variant("resnet101", "bottleneck", (3, 4, 23, 3))
# Twice the inner channels (Zagoruyko & Komodakis 2016).
wide_resnet50 = _variant("wide_resnet50", "wide bottleneck", (3, 4, 6, 3), 2)
wide_resnet101 = _variant("wide_resnet101", "wide bottleneck", (3, 4, 23, 3), 2)
