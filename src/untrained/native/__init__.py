"""Kernels in C++, built on first use where there is a compiler, and kept in a cache; there is a plain path for each."""
