"""Run a found network from its codes: Linear and Conv layers whose weights are all -σ, 0 or +σ, at two bits or less."""

from untrained.packed.modules import Layer as Layer
from untrained.packed.modules import Packed as Packed
from untrained.packed.modules import PackedConv as PackedConv
from untrained.packed.modules import PackedLinear as PackedLinear
from untrained.packed.modules import layers as layers
from untrained.packed.modules import pack_ as pack_
