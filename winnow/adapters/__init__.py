"""Data sets: where rows come from, and what in a row is the prompt, the reference and the id."""

from winnow.adapters.example import Adapter, Example
from winnow.adapters.fields import adapter
from winnow.adapters.sources import read_dataset

__all__ = ["Adapter", "Example", "adapter", "read_dataset"]
