"""Clusters of Dask and Ray as workers."""
