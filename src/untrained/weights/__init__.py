"""Frozen weights: a pure function of a seed and a tensor's name."""
