"""Whole experiments from their settings: find, compare and sweep."""
