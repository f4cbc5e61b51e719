"""Kernels in C++, compiled on first use and cached; where there is no compiler, Python does the same."""
