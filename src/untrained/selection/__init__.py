"""Which scores survive, and the straight-through gradient of that choice."""
