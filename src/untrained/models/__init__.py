"""The networks of "What's Hidden in a Randomly Weighted Neural Network?" (Ramanujan et al., 2019).

Each is a function that builds it, and an entry of `NETWORKS`, from which `build` makes it by name.
"""

from untrained.models.arguments import MAX_WEIGHTS as MAX_WEIGHTS
from untrained.models.binary_activation import BinaryActivation as BinaryActivation
from untrained.models.registry import NETWORKS as NETWORKS
from untrained.models.registry import Network as Network
from untrained.models.registry import build as build

# isort: split
# NETWORKS lists them in this order, the simplest first.
from untrained.models.fully_connected import fc as fc

# isort: split
from untrained.models.convolutional import conv2 as conv2
from untrained.models.convolutional import conv4 as conv4
from untrained.models.convolutional import conv6 as conv6
from untrained.models.convolutional import conv8 as conv8
from untrained.models.convolutional import mnist_conv as mnist_conv
from untrained.models.residual import resnet18 as resnet18
from untrained.models.residual import resnet34 as resnet34
from untrained.models.residual import resnet50 as resnet50
from untrained.models.residual import resnet101 as resnet101
from untrained.models.residual import wide_resnet50 as wide_resnet50
from untrained.models.residual import wide_resnet101 as wide_resnet101
