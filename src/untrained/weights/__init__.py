"""Frozen weights: a pure function of a seed and a tensor's name."""

# Pickles of masked models name the laws by this path.
from untrained.weights.laws import (  # noqa: F401
    KaimingNormal,
    KaimingUniform,
    Prototype,
    SignedConstant,
    Standard,
    UnsignedConstant,
    XavierConstant,
    XavierNormal,
    XavierUniform,
)  # fmt: skip
