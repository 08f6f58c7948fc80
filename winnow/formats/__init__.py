"""Training-data formats: pure functions from an accepted completion to a row, and back."""

from winnow.formats.registry import Format, find, names

__all__ = ["Format", "find", "names"]
