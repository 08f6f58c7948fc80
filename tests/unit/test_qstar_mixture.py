"""From logits to a token: temperature, mixture, truncation and the draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chi_square import goodness
from hypothesis import given
from hypothesis import strategies as st

from winnow.arms import Alpha
from winnow.qstar.mixture import draw, log_probabilities, mix, truncate
from winnow.qstar.randomness import Role, uniforms

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
OTHER = torch.tensor([[0.0, 3.0, 0.5, 1.0]], dtype=torch.float64)
LAST = 1 - 2.0**-53


def random_row(seed: int, size: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(1, size, generator=generator, dtype=torch.float64)).log_softmax(dim=1)


def test_temperature_divides_the_logits_of_each_model():
    expected = np.exp(LOGITS.numpy() / 0.5)
    assert log_probabilities(LOGITS, 0.5).exp().numpy() == pytest.approx(expected / expected.sum())


def test_zero_temperature_keeps_the_models_own_distribution():
    assert torch.equal(log_probabilities(LOGITS, 0.0), log_probabilities(LOGITS, 1.0))


def test_half_precision_is_raised_to_float32_before_the_softmax():
    assert log_probabilities(LOGITS.bfloat16(), 1.0).dtype == torch.float32
    assert log_probabilities(LOGITS, 1.0).dtype == torch.float64


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_mixture_is_geometric_with_the_teachers_weight(weight):
    s, t = log_probabilities(LOGITS, 1.0), log_probabilities(OTHER, 1.0)
    expected = s.exp().numpy() ** (1 - weight) * t.exp().numpy() ** weight
    log_q, solution = mix(s, t, Alpha.parse(f"fixed-{weight:g}"))
    assert log_q.exp().numpy() == pytest.approx(expected / expected.sum())
    assert solution.alpha.item() == weight


@pytest.mark.parametrize(
    "alpha", ["fixed-0.5", "kl_symmetry", "entropy", "ess_balance", "reverse_kl_symmetry"]
)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_masked_tokens_keep_probability_zero(alpha, temperature):
    theta, t = LOGITS.clone(), OTHER.clone()
    theta[0, 0], t[0, 3] = -torch.inf, -torch.inf
    log_q, _ = mix(
        log_probabilities(theta, temperature), log_probabilities(t, temperature), Alpha.parse(alpha)
    )
    assert log_q.exp()[0, [0, 3]].tolist() == [0.0, 0.0]
    assert log_q.exp().sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", ["fixed-0", "fixed-1"])
def test_the_ends_take_one_model_whole_even_where_the_other_is_masked(alpha):
    theta, t = LOGITS.clone(), OTHER.clone()
    theta[0, 0], t[0, 3] = -torch.inf, -torch.inf
    s, t = log_probabilities(theta, 1.0), log_probabilities(t, 1.0)
    log_q, _ = mix(s, t, Alpha.parse(alpha))
    assert log_q.exp().numpy() == pytest.approx((s if alpha == "fixed-0" else t).exp().numpy())


def test_disjoint_rows_are_drawn_from_the_teacher_and_marked():
    s = torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64).log()
    t = torch.tensor([[0.0, 0.0, 0.25, 0.75]], dtype=torch.float64).log()
    log_q, solution = mix(s, t, Alpha.parse("kl_symmetry"))
    assert log_q.exp()[0].tolist() == pytest.approx([0.0, 0.0, 0.25, 0.75])
    assert solution.disjoint.tolist() == [True]


@pytest.mark.parametrize("broken", ["student", "teacher", "both"])
@pytest.mark.parametrize("alpha", ["fixed-0", "fixed-0.5", "fixed-1", "kl_symmetry", "entropy"])
def test_a_model_that_gives_nan_is_not_taken_for_one_without_common_tokens(broken, alpha):
    s, t = log_probabilities(LOGITS, 1.0), log_probabilities(OTHER, 1.0)
    nothing = torch.full_like(s, torch.nan)
    s, t = nothing if broken != "teacher" else s, nothing if broken != "student" else t
    assert mix(s, t, Alpha.parse(alpha))[0].isnan().all()


@given(st.integers(0, 10**6), st.integers(0, 14), st.floats(0.01, 1.0))
def test_truncation_keeps_the_head_and_renormalises(seed, top_k, top_p):
    log_q = random_row(seed)
    q = log_q.exp()[0].tolist()
    order = sorted(range(len(q)), key=lambda token: -q[token])
    kept, mass = [], 0.0
    for token in order[: top_k or None]:
        if kept and mass >= top_p:
            break
        kept.append(token)
        mass += q[token]
    truncated = truncate(log_q, top_k, top_p).exp()[0].tolist()
    assert {i for i, p in enumerate(truncated) if p > 0} == set(kept)
    assert [truncated[i] for i in kept] == pytest.approx([q[i] / mass for i in kept])
    assert truncated[order[0]] > 0


def test_top_p_keeps_the_token_that_reaches_p():
    log_q = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    assert (truncate(log_q, 0, 0.5).exp() > 0).tolist() == [[True, False, False]]
    assert (truncate(log_q, 0, 0.51).exp() > 0).tolist() == [[True, True, False]]
    assert (truncate(log_q, 0, 1e-9).exp() > 0).tolist() == [[True, False, False]]
    assert truncate(log_q, 0, 1.0) is log_q


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 2.0**-53, 0.25, 0.5, LAST]),
    st.sets(st.integers(0, 11), max_size=11),
)
def test_never_draws_a_token_of_probability_zero(seed, uniform, masked):
    log_q = random_row(seed)
    log_q[0, list(masked)] = -torch.inf
    log_q = log_q.log_softmax(dim=1)
    for row in (log_q, log_q.float()):
        token = draw(row.exp(), torch.tensor([uniform], dtype=torch.float64)).item()
        assert row[0, token] > -torch.inf


def test_draws_by_the_inverse_distribution_function():
    log_q = torch.tensor([[0.0, 0.5, 0.0, 0.25, 0.25, 0.0]], dtype=torch.float64).log()
    for uniform, token in [(0.0, 1), (0.4999, 1), (0.5, 3), (0.7499, 3), (0.75, 4), (LAST, 4)]:
        assert draw(log_q.exp(), torch.tensor([uniform], dtype=torch.float64)).item() == token


def test_each_row_has_its_own_number():
    log_q = torch.full((3, 4), 0.25, dtype=torch.float64).log()
    numbers = torch.tensor([0.9, 0.1, 0.6], dtype=torch.float64)
    assert draw(log_q.exp(), numbers).tolist() == [3, 0, 2]


def test_the_draws_follow_q():
    log_q = random_row(4)
    log_q[0, 5] = -torch.inf
    log_q = log_q.log_softmax(dim=1)
    count = 200_000
    numbers = uniforms(torch.arange(count), torch.zeros(count, dtype=torch.int64), Role.DRAFT)
    tokens = torch.cat([draw(log_q.exp().expand(10_000, -1), part) for part in numbers.split(10_000)])
    assert goodness(torch.bincount(tokens, minlength=12).tolist(), log_q.exp()[0].tolist()) > 1e-3


def test_a_row_of_nan_still_gives_an_id():
    weights = torch.full((1, 4), torch.nan)
    assert 0 <= draw(weights, torch.tensor([0.5], dtype=torch.float64)).item() < 4


def test_drawing_leaves_the_probabilities_as_they_are():
    for dtype in (torch.float64, torch.float32):
        weights = random_row(3).exp().to(dtype)
        before = weights.clone()
        draw(weights, torch.tensor([0.5], dtype=torch.float64))
        assert torch.equal(weights, before)


def test_solving_in_threads_goes_on_in_inference_mode():
    s, t = (torch.cat([random_row(seed, 1 << 15) for seed in range(start, start + 16)]) for start in (0, 20))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            log_q, _ = mix(s, t, Alpha.parse("kl_symmetry"))
            tokens = draw(log_q.exp(), torch.full((16,), 0.5, dtype=torch.float64))
    finally:
        torch.set_num_threads(threads)
    assert log_q.is_inference()
    assert log_q.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 16)
    assert torch.equal(tokens, torch.cat([draw(row.exp()[None], torch.tensor([0.5])) for row in log_q]))
