"""Verifiers: what turns a completion into a score. `registry` knows them by name."""

from winnow.scoring.registry import (
    behind,
    build,
    divided,
    is_text_scorer,
    kind,
    measure,
    names,
    parse,
    versions,
)
from winnow.scoring.score import AnyScorer, Combiner, Item, ItemScorer, Measure, Score, Scorer

__all__ = [
    "AnyScorer",
    "Combiner",
    "Item",
    "ItemScorer",
    "Measure",
    "Score",
    "Scorer",
    "behind",
    "build",
    "divided",
    "is_text_scorer",
    "kind",
    "measure",
    "names",
    "parse",
    "versions",
]
