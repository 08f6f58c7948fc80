"""Verifiers: what turns a completion into a score. `registry` knows them by name."""

from winnow.scoring.registry import build, measure, names, parse, versions
from winnow.scoring.score import Measure, Score, Scorer

__all__ = ["Measure", "Score", "Scorer", "build", "measure", "names", "parse", "versions"]
