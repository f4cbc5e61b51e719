"""Data sets: reading, download, splits and batches."""
