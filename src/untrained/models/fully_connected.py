"""Networks of fully connected layers alone."""

import math
from collections.abc import Sequence

from untrained.models.arguments import Activation, Norm, Shape
from untrained.models.layers import dense
from untrained.models.registry import Network, register


@register
def fc(
    widths: Sequence[int] = (300, 100),
    shape: Shape = (1, 28, 28),
    classes: int = 10,
    activation: Activation = "relu",
    norm: Norm = None,
) -> Network:
    """Build a fully connected network; with the defaults LeNet-300-100.

    Args:
        widths: hidden units of each layer; none makes a linear classifier.
        shape: of one input, any number of dimensions; it is flattened.
        classes: outputs.
        activation: "relu", "elu" (Clevert et al. 2016), or "sign": `BinaryActivation`.
        norm: "batch" puts a batch norm without scale and shift (Ioffe & Szegedy 2015) before every activation.

    Returns:
        A network from (batch, *shape) to (batch, classes).

    Raises:
        ValueError: an argument is out of range, the shape too small, or the network above `MAX_WEIGHTS` weights.

    Source: LeCun et al. 1998; "FC" of Ramanujan et al. 2019.

    Example:
        >>> ut.models.fc((300, 100))(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return Network(dense([math.prod(shape), *widths, classes], activation, norm))
