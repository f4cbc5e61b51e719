"""The search for weights of a given architecture."""
