"""Data sets: where rows come from, and what in a row is the prompt, the reference and the id."""

from winnow.adapters.example import Adapter, Example
from winnow.adapters.registry import BUILTIN, adapter, code, takes
from winnow.adapters.sources import read_dataset

__all__ = ["BUILTIN", "Adapter", "Example", "adapter", "code", "read_dataset", "takes"]
