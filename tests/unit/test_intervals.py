"""Confidence intervals: do they cover what they claim?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.intervals import accuracy, paired_difference

shares = st.lists(st.integers(0, 4).map(lambda passed: passed / 4), min_size=1, max_size=40)


@given(shares)
def test_stays_in_bounds_around_the_mean(per_prompt):
    estimate = accuracy(per_prompt)
    assert estimate.mean == pytest.approx(sum(per_prompt) / len(per_prompt))
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert estimate.low < estimate.high, "no finite sample is certain"


def simulate(rng, prompts, samples, spread):
    """Prompts of unlike difficulty, so that the samples of one go together."""
    skill = [rng.betavariate(0.3 * spread, 0.7 * spread) for _ in range(prompts)]
    return [sum(rng.random() < p for _ in range(samples)) / samples for p in skill]


@pytest.mark.parametrize(("prompts", "spread"), [(50, 0.5), (200, 2.0), (400, 0.5)])
def test_covers_the_truth_in_95_of_100_cases(prompts, spread):
    rng = random.Random(prompts)
    estimates = [accuracy(simulate(rng, prompts, 4, spread)) for _ in range(600)]
    covered = sum(estimate.low <= 0.3 <= estimate.high for estimate in estimates) / len(estimates)
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("truth", [0.02, 0.98])
def test_covers_near_the_ends(truth):
    rng = random.Random(1)
    estimates = [accuracy([float(rng.random() < truth) for _ in range(100)]) for _ in range(600)]
    assert sum(e.low <= truth <= e.high for e in estimates) / len(estimates) >= 0.9


def test_equals_wilson_for_independent_prompts():
    # 20 of 100: Wilson's interval is [0.1334, 0.2888] (Brown, Cai and DasGupta 2001).
    estimate = accuracy([1.0] * 20 + [0.0] * 80)
    assert (estimate.low, estimate.high) == (pytest.approx(0.1334, abs=2e-3), pytest.approx(0.2888, abs=2e-3))


def test_samples_that_agree_widen_it():
    assert accuracy([1, 1, 0, 0]).low < accuracy([0.5, 0.5, 0.6, 0.4]).low


def test_a_paired_difference_sees_through_unlike_prompts():
    rng = random.Random(5)
    before = [rng.random() * 0.8 for _ in range(100)]
    after = [p + 0.1 + rng.gauss(0, 0.05) for p in before]
    estimate = paired_difference(before, after)
    assert estimate.mean == pytest.approx(sum(after) / 100 - sum(before) / 100)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 0.05 / 10, rel=0.2)
    assert estimate.low < 0.1 < estimate.high
    assert paired_difference(after, before).mean == pytest.approx(-estimate.mean)


def test_a_paired_difference_covers():
    rng = random.Random(6)
    hits = 0
    for _ in range(600):
        before = [rng.random() < 0.4 for _ in range(80)]
        after = [rng.random() < 0.6 for _ in range(80)]
        estimate = paired_difference(before, after)
        hits += estimate.low <= 0.2 <= estimate.high
    assert 0.92 <= hits / 600 <= 0.98


def test_nothing_to_average_is_an_error():
    with pytest.raises(ValueError, match="no prompts"):
        accuracy([])
    for before, after in [([], []), ([1.0], [1.0, 0.0])]:
        with pytest.raises(ValueError, match="pair them"):
            paired_difference(before, after)
