"""Compiled loops and elementary functions with the same bits on every machine."""
