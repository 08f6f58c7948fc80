"""pass@k, maj@n and pass rates: how often a prompt is solved, with k tries, by vote, or with one."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from winnow.diagnostics.completions import Completions
from winnow.diagnostics.summaries import number, share
from winnow.intervals import accuracy

INTERVAL = "95 % over prompts: Wilson with an effective sample size"


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The chance that at least one of k completions, drawn from n of which `passed` pass, passes.

    1 − C(n − c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, eq. 1),
    in their product form, which forms no large binomials.

    Raises:
        ValueError: not 0 ≤ passed ≤ n and 1 ≤ k ≤ n.
    """
    if not (0 <= passed <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {passed} passed among {n}")
    if n - passed < k:
        return 1.0
    none = 1.0
    for i in range(n - passed + 1, n + 1):
        none *= 1.0 - k / i
    return 1.0 - none


def powers_up_to(n: int) -> list[int]:
    """1, 2, 4, … and n itself."""
    return [*(1 << i for i in range(n.bit_length()) if 1 << i < n), n]


def pass_at_k_report(completions: Completions) -> dict[str, Any]:
    """pass@k for k = 1, 2, 4 … n, averaged over the prompts that have at least k completions.

    The completions of one prompt are not independent, so the interval (`winnow.intervals.accuracy`)
    rests on the variance between prompts.
    """
    estimate = functools.cache(pass_at_k)
    counts = list(
        zip(
            completions.per_prompt().tolist(),
            completions.per_prompt(completions.passed).tolist(),
            strict=True,
        )
    )
    points = []
    for k in powers_up_to(completions.n):
        per_prompt = [estimate(drawn, passed, k) for drawn, passed in counts if drawn >= k]
        point: dict[str, Any] = {"k": k, "estimate": None, "low": None, "high": None}
        if per_prompt:
            mean = accuracy(per_prompt)
            point |= {"estimate": number(mean.mean), "low": number(mean.low), "high": number(mean.high)}
        points.append(point | {"prompts": len(per_prompt)})
    return {"interval": INTERVAL, "points": points}


def majority_report(completions: Completions) -> dict[str, Any]:
    """maj@n: the share of prompts whose most frequent answer is right (Wang et al. 2022, arXiv 2203.11171).

    Unlike pass@n it needs no verifier where it is used, so it does not grow by luck alone. Answers are
    compared as classes (`winnow.selection.answer_classes`). Prompts of which nothing was generated are
    left out.
    """
    known = completions.majority[np.isfinite(completions.majority)]
    found: dict[str, Any] = {"n": completions.n, "estimate": None, "low": None, "high": None}
    if len(known):
        mean = accuracy(known.tolist())
        found |= {"estimate": number(mean.mean), "low": number(mean.low), "high": number(mean.high)}
    return found | {"prompts": len(known), "ties": completions.ties, "interval": INTERVAL}


def pass_rate_report(completions: Completions) -> dict[str, Any]:
    """How many prompts have 0, 1, … n completions that passed, and the pass rate over all.

    Prompts of which nothing was generated have no pass rate and are left out.
    """
    drawn = completions.per_prompt()
    passed = completions.per_prompt(completions.passed)
    kept = drawn > 0
    prompts = int(kept.sum())
    histogram = np.bincount(passed[kept], minlength=completions.n + 1)
    return {
        "generated": completions.generated,
        "passed": int(passed.sum()),
        "rate": share(int(passed.sum()), completions.generated),
        "prompts": prompts,
        "prompts_none_passed": int((passed[kept] == 0).sum()),
        "prompts_all_passed": int((passed == drawn)[kept].sum()),
        "histogram": [
            {"passed": count, "prompts": int(number_of), "share": share(int(number_of), prompts)}
            for count, number_of in enumerate(histogram)
        ],
    }
