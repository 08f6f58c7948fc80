"""Sequence-level q*: weights against enumeration of all sequences of a toy, and the odd cases."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from chi_square import goodness
from hypothesis import given
from hypothesis import strategies as st

from winnow.resampling import choose, weigh

WORDS, LENGTH, DRAWS = 4, 3, 200_000
SEQUENCES = list(itertools.product(range(WORDS), repeat=LENGTH))


def language(seed: int) -> np.ndarray:
    """log π of every sequence, by a distribution of its own for each prefix."""
    source = np.random.default_rng(seed)
    tables = {
        prefix: np.log(source.dirichlet(np.full(WORDS, 2.0)))
        for length in range(LENGTH)
        for prefix in itertools.product(range(WORDS), repeat=length)
    }
    return np.array([sum(tables[each[:i]][each[i]] for i in range(LENGTH)) for each in SEQUENCES])


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("drawn_by", ["teacher", "policy", "neither"])
def test_estimates_and_draws_agree_with_enumeration(alpha: float, drawn_by: str) -> None:
    log_theta, log_t, log_other = language(1), language(2), language(3)
    target = np.exp((1 - alpha) * log_theta + alpha * log_t)
    z, exact = target.sum(), target / target.sum()
    log_drawn = {"teacher": log_t, "policy": log_theta, "neither": log_other}[drawn_by]
    source = np.random.default_rng(17)
    drawn = source.choice(len(SEQUENCES), DRAWS, p=np.exp(log_drawn) / np.exp(log_drawn).sum())
    weights = weigh(log_theta[drawn], log_t[drawn], log_drawn[drawn], alpha)
    assert weights is not None
    estimate = np.bincount(drawn, weights.normalised, len(SEQUENCES))
    # The deviation of a self-normalised estimate: sqrt(q (1 − q) / ESS), or somewhat more.
    deviation = np.sqrt(exact * (1 - exact) / weights.ess)
    assert (np.abs(estimate - exact) < 7 * deviation + 1e-9).all()
    assert weights.log_z == pytest.approx(math.log(z), abs=0.02)
    assert np.abs(estimate - exact).sum() < 0.05 < np.abs(np.exp(log_drawn) - exact).sum(), "it has power"
    expected_ess = DRAWS * z**2 / (np.exp(log_drawn) * np.exp(2 * (np.log(target) - log_drawn))).sum()
    assert weights.ess == pytest.approx(expected_ess, rel=0.05)
    chosen = Counter(drawn[choose(weights, 7, "prompt", sample)] for sample in range(10_000))
    assert goodness([chosen[i] for i in range(len(SEQUENCES))], estimate) > 1e-4
    assert goodness([chosen[i] for i in range(len(SEQUENCES))], np.exp(log_drawn)) < 1e-6


numbers = st.floats(-1e4, 0.0)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=20), st.floats(0, 1))
def test_weights_are_shares_and_ess_counts_candidates(rows: list, alpha: float) -> None:
    theta, t, drawn = (np.array(column) for column in zip(*rows, strict=True))
    weights = weigh(theta, t, drawn, alpha)
    assert weights is not None
    assert weights.normalised.sum() == pytest.approx(1)
    assert 1 - 1e-9 <= weights.ess <= len(rows) + 1e-9
    assert math.isfinite(weights.log_z)
    index = choose(weights, 1, "p", 0)
    assert weights.normalised[index] > 0


def test_models_that_agree_choose_freely_and_one_that_cannot_say_it_never_has_its_way() -> None:
    same = np.array([-3.0, -50.0, -900.0])
    weights = weigh(same, same, same, 0.5)
    assert weights is not None
    assert (weights.ess, weights.log_z) == (pytest.approx(3), pytest.approx(0))
    theta = np.array([-np.inf, -2.0, -np.inf])
    weights = weigh(theta, same, same, 0.5)
    assert weights is not None
    assert {choose(weights, 1, "p", sample) for sample in range(50)} == {1}
    assert weights.ess == pytest.approx(1)
    assert weigh(np.full(3, -np.inf), same, same, 0.5) is None
    alone = weigh(np.full(3, -np.inf), same, same, 1.0)
    assert alone is not None
    assert alone.ess == pytest.approx(3), "the student has no part in it"
    with pytest.raises(ValueError, match="candidates"):
        weigh(same, same[:2], same, 0.5)


def test_draws_depend_on_run_prompt_and_sample() -> None:
    weights = weigh(np.zeros(9), np.arange(9.0) / 9, np.zeros(9), 0.5)
    assert weights is not None
    chosen = [choose(weights, 5, "p", sample) for sample in range(12)]
    assert len(set(chosen)) > 1, "each has a draw of its own"
    assert chosen != [choose(weights, 6, "p", sample) for sample in range(12)]
    assert chosen != [choose(weights, 5, "q", sample) for sample in range(12)]
