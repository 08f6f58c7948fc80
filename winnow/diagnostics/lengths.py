"""Completion lengths in tokens, of those that passed and those that failed."""

from __future__ import annotations

from typing import Any

from winnow.diagnostics.completions import Completions
from winnow.diagnostics.summaries import describe, histogram, integer_edges, share


def lengths_report(completions: Completions) -> dict[str, Any]:
    """Distributions of length, and how many completions were cut off at the longest length."""
    tokens, passed = completions.tokens, completions.passed
    cut = int(completions.cut.sum())
    edges = integer_edges(int(tokens.min()), int(tokens.max())) if len(tokens) else integer_edges(0, 0)
    return {
        "cut": cut,
        "cut_share": share(cut, completions.generated),
        "tokens": int(tokens.sum()),
        "all": describe(tokens),
        "passed": describe(tokens[passed]) | {"histogram": histogram(tokens[passed], edges)},
        "failed": describe(tokens[~passed]) | {"histogram": histogram(tokens[~passed], edges)},
    }
