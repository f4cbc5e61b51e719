"""Choice of the highest scores, and its straight-through gradient."""
