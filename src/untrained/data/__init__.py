"""Data sets: read, downloaded, split, and handed out in batches."""
