"""The result of a search as a file: a seed and a small integer per weight."""
