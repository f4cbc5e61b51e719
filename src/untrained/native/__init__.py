"""Kernels in C++, for those who have a compiler: built on first use, kept in a cache, and never needed."""
