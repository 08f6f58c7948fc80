"""What follows from α in float32 against float64, and that neither chunks nor batch mates show in it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from bisection import bisect, log_sum_exp, mixture, roots_function
from hypothesis import given
from hypothesis import strategies as st
from test_qstar_alpha import every_kind, pair, total_variation
from test_qstar_verification import proposal

from winnow.arms import Alpha
from winnow.qstar import chunks
from winnow.qstar.alpha import solve_alpha
from winnow.qstar.buffers import Buffers
from winnow.qstar.description import LARGEST_LOG_WEIGHT
from winnow.qstar.exponential import exp
from winnow.qstar.mixture import mix
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.roots import Point, hermite_start, quintic_start
from winnow.qstar.verification import ByTorch

KL_SYMMETRY = Alpha.parse("kl_symmetry")
TOLD = ("kl_theta", "kl_t", "ess_theta", "ess_t", "beta")


def told(solution) -> dict[str, np.ndarray]:
    return {name: getattr(solution, name).double().numpy() for name in TOLD}


def expected(s: torch.Tensor, t: torch.Tensor, alpha: torch.Tensor) -> dict[str, np.ndarray]:
    """The same from logarithms alone, in float64."""
    s, t = s.double().numpy(), t.double().numpy()
    q, log_q, log_z = mixture(s, t, alpha.double().numpy())
    common = np.isfinite(s) & np.isfinite(t)
    mean = (q * np.where(common, t - np.where(common, s, 0), 0)).sum(axis=1)
    kl_theta = alpha.double().numpy() * mean - log_z
    # At either end one model is drawn from whole.
    at = alpha.double().numpy()[:, None]
    drawn = np.where(at == 0, np.exp(s), np.where(at == 1, np.exp(t), q))
    found = {"kl_theta": kl_theta, "kl_t": kl_theta - mean, "beta": np.minimum(drawn, np.exp(s)).sum(axis=1)}
    for name, model in (("ess_theta", s), ("ess_t", t)):
        squares = np.where(common, 2 * np.where(common, model, 0) - np.where(common, log_q, 0), -np.inf)
        alone = (np.isfinite(model) & ~common).any(axis=1)
        found[name] = np.where(alone, 0.0, np.exp(-log_sum_exp(squares)))
    return found


@pytest.mark.parametrize("method", ["kl_symmetry", "entropy", "fixed-0.2", "fixed-0.9"])
@given(st.integers(4, 60), st.integers(0, 2**31))
def test_float32_tells_what_float64_does(method, vocabulary, seed):
    # Whole, sharp, near-disjoint and masked rows: weights e^0 to e^150, and q* that underflows.
    s, t = (values.float() for values in every_kind(vocabulary, seed))
    solution = solve_alpha(s, t, method)
    common = torch.isfinite(s) & torch.isfinite(t)
    # What float32 makes of a difference of logarithms.
    slack = 2e-6 * (1 + (t - s).abs().where(common, 0.0).amax(dim=1).double().numpy())
    for name, values in expected(s, t, solution.alpha).items():
        assert (np.abs(told(solution)[name] - values) <= 5e-4 * np.abs(values) + slack).all(), name


@pytest.mark.parametrize("given_to", [-1.0, -20.0, -44.0, -60.0])
@pytest.mark.parametrize("side", [0, 1])
def test_weights_next_to_the_largest_that_is_a_quotient(given_to, side):
    for log_weight in (
        1.0,
        LARGEST_LOG_WEIGHT - 0.5,
        LARGEST_LOG_WEIGHT + 0.5,
        40.0,
        60.0,
        80.0,
        95.0,
        170.0,
    ):
        # One model gives a token, perhaps next to nothing, that q* rules out: π²/q* need not be small.
        # The last tokens are beyond float32's smallest number for both.
        one = torch.tensor([[-1.0, -1.5, given_to, -102.0, -140.0]]).log_softmax(1)
        other = torch.tensor([[-1.5, -1.0, given_to - 2 * log_weight, -140.0, -102.0]]).log_softmax(1)
        s, t = (other, one) if side else (one, other)
        solution = solve_alpha(s, t, "fixed-0.5")
        for name, values in expected(s, t, solution.alpha).items():
            assert told(solution)[name] == pytest.approx(values, rel=2e-4, abs=1e-37), (log_weight, name)


def test_exp_of_float32_is_as_exact_as_its_argument():
    x = -torch.rand(1001, generator=torch.Generator().manual_seed(0)).mul(80.0)
    error = (exp(x).double() / x.double().exp() - 1).abs()
    assert (error <= (2 + 1.25 * x.abs()) * 2.0**-24).all()
    ends = torch.tensor([0.0, -torch.inf, torch.nan, -104.0])
    assert exp(ends)[:2].tolist() == [1.0, 0.0]
    assert exp(ends)[2].isnan()
    assert exp(ends)[3] <= 1e-45
    assert torch.equal(exp(x.double()), x.double().exp())
    assert exp(x, out=x) is x


@pytest.mark.parametrize("method", ["kl_symmetry", "ess_balance", "entropy", "fixed-0.3"])
@pytest.mark.parametrize("elements", [1, 41 * 5, 1 << 30])
def test_the_size_of_chunks_changes_nothing(method, elements, monkeypatch):
    s, t = every_kind(41, 6)
    whole = mix(s, t, Alpha.parse(method), described=True)
    monkeypatch.setattr(chunks, "CACHE_ELEMENTS", elements)
    assert_same(mix(s, t, Alpha.parse(method), described=True, buffers=Buffers()), whole)
    assert_same(mix(s, t, Alpha.parse(method)), whole)


def test_threads_change_nothing(monkeypatch):
    s, t = every_kind(41, 8)
    alone = mix(s, t, KL_SYMMETRY, described=True)
    monkeypatch.setattr(chunks, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(chunks, "THREAD_ELEMENTS", 41)
    threads, buffers = torch.get_num_threads(), Buffers()
    try:
        torch.set_num_threads(2)
        for _ in range(3):
            assert_same(mix(s, t, KL_SYMMETRY, described=True, buffers=buffers), alone)
    finally:
        torch.set_num_threads(threads)


def assert_same(found, other):
    (log_q, solution), (expected_log_q, expected_solution) = found, other
    assert torch.equal(log_q, expected_log_q)
    for name in ("alpha", "log_z", "passes", *TOLD):
        assert torch.equal(getattr(solution, name), getattr(expected_solution, name)), name


def test_masked_batch_mates_change_nothing():
    s, t = pair("moderate", 37, 1)
    alone = mix(s, t, KL_SYMMETRY, described=True)
    others = [pair(kind, 37, 2) for kind in ("masked", "sharp", "near-disjoint")]
    rows = [torch.cat(values) for values in zip((s, t), *others, strict=True)]
    log_q, solution = mix(*rows, KL_SYMMETRY, described=True)
    assert torch.equal(log_q[:3], alone[0])
    for name in ("alpha", "log_z", *TOLD):
        assert torch.equal(getattr(solution, name)[:3], getattr(alone[1], name)), name


def test_buffers_are_used_again_and_hold_nothing_that_is_told():
    buffers = Buffers()
    log_q, first = mix(*pair("moderate", 37, 1), KL_SYMMETRY, described=True, buffers=buffers)
    before = {**told(first), "alpha": first.alpha.clone().numpy()}
    again, _ = mix(*pair("sharp", 37, 2), KL_SYMMETRY, described=True, buffers=buffers)
    assert again.data_ptr() == log_q.data_ptr()
    after = {**told(first), "alpha": first.alpha.numpy()}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    with torch.inference_mode():
        mix(*pair("sharp", 20, 3), KL_SYMMETRY, described=True, buffers=buffers)
    mix(*(logs.float() for logs in pair("sharp", 50, 3)), KL_SYMMETRY, described=True, buffers=buffers)


def test_the_quintic_start_is_the_root_of_a_quintics_slope():
    # f = (x − 0.3)(1 + x²): F, f and f′ at both ends.
    f = np.polynomial.Polynomial([-0.3, 1.0, -0.3, 1.0])
    ends = [Point(f(x), f.deriv()(x), 1.0, f.integ()(x)) for x in (0.0, 1.0)]
    assert quintic_start(*ends) == pytest.approx(0.3, abs=5e-3)
    assert abs(hermite_start(ends[0].value, ends[1].value) - 0.3) > 5e-2
    # Ends that fit no such function: the cubic's minimum.
    assert quintic_start(Point(-1.0, 1e9, 1.0, 0.0), Point(1.0, 1e9, 1.0, 0.0)) == pytest.approx(0.5)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
@given(st.integers(4, 60), st.integers(0, 2**31))
def test_what_newton_misses_is_below_the_tolerance(tolerance, vocabulary, seed):
    s, t = every_kind(vocabulary, seed)
    alpha = solve_alpha(s, t, "kl_symmetry", tolerance=tolerance).alpha.numpy()
    exact = bisect(roots_function("kl_symmetry", s.numpy(), t.numpy()), len(s))
    assert total_variation(s, t, alpha, exact).max() <= tolerance


def test_what_was_drafted_from_is_the_student_where_no_head_is_cut():
    asked, seeds, positions = proposal(0.7)
    blank = dataclasses.replace(asked, first=torch.full_like(asked.first, torch.nan))
    whole = SamplingParameters(temperature=0.7)
    own, without = (ByTorch(KL_SYMMETRY, whole)(each, seeds, positions) for each in (asked, blank))
    for name in ("accepted", "metrics", "lost"):
        assert torch.equal(getattr(own, name), getattr(without, name)), name
    # After a head it is not: the logits are.
    cut = SamplingParameters(temperature=0.7, top_k=60)
    assert (ByTorch(KL_SYMMETRY, cut)(blank, seeds, positions).lost == 1).all()
