"""Verifiers: what turns a completion into a score. `registry` knows them by name."""

from winnow.scoring.registry import Score, Scorer, build, measure, names, parse, versions

__all__ = ["Score", "Scorer", "build", "measure", "names", "parse", "versions"]
