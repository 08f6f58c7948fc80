"""Training-data formats: pure functions from accepted completions to a row, and back."""

from winnow.formats.format import Answered, Conversation, Format, Pair
from winnow.formats.registry import filenames, find, find_all, names, needs_pairs, needs_scored, of_file

__all__ = [
    "Answered",
    "Conversation",
    "Format",
    "Pair",
    "filenames",
    "find",
    "find_all",
    "names",
    "needs_pairs",
    "needs_scored",
    "of_file",
]
