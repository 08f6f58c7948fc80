"""Training-data formats: pure functions from an accepted completion to a row, and back."""

from winnow.formats.format import Conversation, Format
from winnow.formats.registry import find, find_all, names

__all__ = ["Conversation", "Format", "find", "find_all", "names"]
