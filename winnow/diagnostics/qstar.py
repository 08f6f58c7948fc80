"""What q* looked like: the distribution of each metric, and α along the completion.

Reads the rows that `winnow.qstar.diagnostics.summarize` writes, without importing torch.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow import jsonl
from winnow.arms import blocks_for, shard_name
from winnow.diagnostics.completions import Floats, Integers
from winnow.diagnostics.summaries import describe, histogram, linear_edges, log_edges, number, share
from winnow.errors import UserError

METRICS = ("alpha", "ess_ratio", "beta", "kl_theta", "kl_t", "neg_log_z")
INFINITE_IF_DISJOINT = ("kl_theta", "neg_log_z")
"""Metrics whose mean leaves out the tokens at which the models share no support."""
LEVELS = 201
"""α is counted to the nearest 0.005, with 0, ½ and 1 exact: memory grows with length, not with rows."""
ALPHA_EDGES = np.concatenate(([0.0], np.arange(0.0125, 1.0, 0.025), [1.0]))
"""Bins centred on 0, 0.025, … 1: five levels each, and ½ lies on no edge."""
FRINGE = 0.005
"""Of the completions, at either end, which a histogram may leave out."""
WORTH_A_LOOK = (0.2, 0.8)
"""α outside of this deserves a look."""


def diagnostics_files(given: Sequence[str], num_shards: int, n: int, block_size: int) -> list[Path]:
    """The diagnostics of the blocks in a folder of completions, or the files that are given.

    Raises:
        UserError: a file is missing.
    """
    files = [Path(path) for path in given]
    if len(files) == 1 and files[0].is_dir():
        files = [
            files[0] / f"{shard_name(shard, num_shards)}.block-{block}.diagnostics.jsonl"
            for shard in range(num_shards)
            for block in blocks_for(n, block_size)
        ]
    for path in files:
        if not path.is_file():
            raise UserError(
                path,
                "no such file",
                "the diagnostics of each block",
                "generate with --save_diagnostics, or leave out --diagnostics",
            )
    return files


class AlphaByPosition:
    """How often each level of α occurred at each token position."""

    def __init__(self) -> None:
        self._counts = np.zeros((64, LEVELS), dtype=np.int64)

    def add(self, alpha_values: Sequence[float]) -> None:
        """Count one completion's α, token by token."""
        length = len(alpha_values)
        while length > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        levels = np.rint(np.asarray(alpha_values, dtype=np.float64) * (LEVELS - 1)).astype(np.int64)
        self._counts[np.arange(length), levels] += 1

    @property
    def counts(self) -> Integers:
        """[positions, LEVELS], up to the longest completion."""
        return self._counts[: int(self._counts.any(axis=1).sum())]


def qstar_report(files: Iterable[Path], n: int) -> dict[str, Any]:
    """Distributions over the completions of the samples below n.

    `<metric>_mean` weighs each completion by its tokens: it is the mean over all tokens.
    """
    columns = {metric: array("d") for metric in METRICS}
    tokens, disjoint = array("q"), array("q")
    positions = AlphaByPosition()
    for path in files:
        for line, row in jsonl.numbered(path):
            try:
                if row["sample"] >= n:
                    continue
                for metric, column in columns.items():
                    mean = row[f"{metric}_mean"]
                    column.append(math.nan if mean is None else mean)
                tokens.append(row["tokens"])
                disjoint.append(row["disjoint_tokens"])
                positions.add(row["alpha_values"])
            except KeyError as missing:
                raise UserError(
                    f"{path}, line {line}",
                    f"a row without {missing}",
                    "the diagnostics that generate.py --save_diagnostics writes",
                    "pass these files",
                ) from None
    total, apart = np.array(tokens, np.int64), np.array(disjoint, np.int64)
    report: dict[str, Any] = {
        "completions": len(total),
        "tokens": int(total.sum()),
        "disjoint_tokens": int(apart.sum()),
    }
    values = {metric: np.array(column) for metric, column in columns.items()}
    for metric in METRICS:
        weights = total - apart if metric in INFINITE_IF_DISJOINT else total
        report[f"{metric}_mean"] = _weighted_mean(values[metric], weights)
    report["distributions"] = {metric: _distribution(metric, values[metric]) for metric in METRICS}
    return report | alpha_report(positions.counts, len(total))


def alpha_report(counts: Integers, completions: int) -> dict[str, Any]:
    """α over all tokens, and its median and quartiles at each position.

    Far along, a few long completions are all that is left and quartiles mean little: positions that
    fewer than one in twenty completions reach (and at least 20, or half of them if they are fewer)
    are counted in `reached` only.
    """
    levels = np.arange(LEVELS) / (LEVELS - 1)
    of_tokens, _ = np.histogram(levels, ALPHA_EDGES, weights=counts.sum(axis=0))
    low, high = WORTH_A_LOOK
    outside = counts[:, (levels < low) | (levels > high)].sum()
    reached = counts.sum(axis=1)
    enough = max(completions / 20, min(20, completions / 2))
    shown = counts[reached >= enough]
    return {
        "alpha_tokens": {
            "outside_0.2_0.8": share(int(outside), int(counts.sum())),
            "edges": [number(edge) for edge in ALPHA_EDGES],
            "counts": [int(count) for count in of_tokens],
        },
        "alpha_along_completion": {
            "reached": reached.tolist(),
            "least_reached": number(enough),
            "lower_quartile": _level_at(shown, 0.25),
            "median": _level_at(shown, 0.5),
            "upper_quartile": _level_at(shown, 0.75),
        },
    }


def _level_at(counts: Integers, quantile: float) -> list[float | None]:
    """The level of α at which each position's cumulative count passes the quantile."""
    cumulative = counts.cumsum(axis=1)
    level = (cumulative >= quantile * cumulative[:, -1:]).argmax(axis=1)
    return [number(value / (LEVELS - 1)) for value in level]


def _distribution(metric: str, values: Floats) -> dict[str, Any]:
    """`beyond` is how many values lie outside the histogram."""
    finite = values[np.isfinite(values)]
    found = histogram(finite, _edges(metric, finite))
    return describe(finite) | {"histogram": found, "beyond": len(finite) - sum(found["counts"])}


def _edges(metric: str, values: Floats) -> Floats:
    if metric == "alpha":
        return ALPHA_EDGES
    if metric == "ess_ratio":
        # A ratio of exactly 0 (disjoint support at every token) has no place on a log axis.
        positive = values[values > 0]
        low, high = np.exp(_extent(np.log(positive))) if len(positive) else (1.0, 1.0)
        return log_edges(low, high, len(positive))
    if metric == "beta":
        return linear_edges(min(_extent(np.append(values, 1.0))[0], 0.9), 1.0, len(values))
    return linear_edges(0.0, _extent(np.append(values, 0.0))[1] or 1.0, len(values))


def _extent(values: Floats) -> tuple[float, float]:
    """Least and largest value; without the outermost, where these would take more than half of the axis."""
    whole = float(values.min()), float(values.max())
    low, high = (float(edge) for edge in np.quantile(values, (FRINGE, 1.0 - FRINGE)))
    return (low, high) if whole[1] - whole[0] > 2 * (high - low) > 0 else whole


def _weighted_mean(values: Floats, weights: Integers) -> float | None:
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return None
    return number(np.average(values[known], weights=weights[known]))
