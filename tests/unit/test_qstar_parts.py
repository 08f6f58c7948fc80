"""The small parts of q*: vocabularies, the order of rows, statistics, parameters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.qstar import SamplingParameters, diagnostics
from winnow.qstar.alpha import solve_alpha
from winnow.qstar.scheduler import Row, batches
from winnow.qstar.vocabulary import common_width

MAP = {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize(("theta", "t", "width"), [(3, 3, 3), (8, 5, 3), (3, 5, 3), (2, 5, 2), (5, 2, 2)])
def test_padding_is_cut(theta, t, width):
    assert common_width(MAP, dict(MAP), theta, t, "here") == width


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": 0, "c": 1, "b": 2}, "differ in 2 ids: id 1 is 'b' for the student, 'c' for the teacher; id 2"),
        ({"a": 0, "b": 1}, "differ in 1 ids: id 2 is 'c' for the student, None for the teacher"),
        ({**MAP, "d": 3}, "differ in 1 ids: id 3 is None for the student, 'd' for the teacher"),
    ],
)
def test_other_maps_are_refused(other, message):
    with pytest.raises(UserError) as error:
        common_width(MAP, other, 4, 4, "x and y")
    assert error.value.where == "x and y"
    assert message in error.value.found


rows = st.lists(
    st.tuples(st.integers(1, 5), st.none() | st.integers(1, 3)).map(
        lambda lengths: ((7,) * lengths[0], None if lengths[1] is None else (7,) * lengths[1])
    ),
    max_size=30,
)


@given(rows, st.integers(1, 8))
def test_batches_hold_each_row_once_the_longest_first(prompts, size):
    entries = [Row(f"{i:02d}", i, student, teacher, 4) for i, (student, teacher) in enumerate(prompts)]
    found = list(batches(iter(entries), size))
    assert all(len(batch) == size for batch in found[:-1])
    assert all(0 < len(batch) <= size for batch in found)
    flat = [row for batch in found for row in batch]
    assert sorted(flat, key=lambda row: row.id) == entries
    lengths = [len(row.prompt) for row in flat]
    assert lengths == sorted(lengths, reverse=True)


def test_the_samples_of_a_prompt_stay_together():
    entries = [Row(f"{i}", i, ((1, 2), (2, 1))[i % 2], None, 4) for i in range(12)]
    for batch in batches(entries, 6):
        assert len({row.prompt for row in batch}) == 1


def metrics(**columns) -> torch.Tensor:
    count = len(next(iter(columns.values())))
    return torch.tensor([columns.get(name, [0.0] * count) for name in diagnostics.METRICS]).T


def test_mean_and_deviation_over_the_tokens():
    summary = diagnostics.summarize(metrics(alpha=[0.25, 0.75, 0.5], beta=[1.0, 1.0, 0.4]))
    assert summary["tokens"] == 3
    assert summary["alpha_values"] == [0.25, 0.75, 0.5]
    assert summary["alpha_mean"] == pytest.approx(0.5)
    assert summary["alpha_std"] == pytest.approx(math.sqrt(0.125 / 3), abs=1e-6)
    assert summary["beta_mean"] == pytest.approx(0.8)
    assert summary["disjoint_tokens"] == 0


def test_infinite_values_are_counted_and_left_out():
    inf = math.inf
    summary = diagnostics.summarize(
        metrics(alpha=[0.5, 1.0, 1.0], kl_theta=[0.3, inf, inf], neg_log_z=[0.1, inf, inf])
    )
    assert summary["disjoint_tokens"] == 2
    assert summary["kl_theta_mean"] == pytest.approx(0.3)
    assert summary["kl_theta_std"] == 0.0
    assert summary["alpha_mean"] == pytest.approx(2.5 / 3, abs=1e-6)


def test_a_metric_that_is_never_finite_is_null():
    summary = diagnostics.summarize(metrics(kl_theta=[math.inf, math.inf]))
    assert (summary["kl_theta_mean"], summary["kl_theta_std"]) == (None, None)
    assert summary["disjoint_tokens"] == 2


def test_stack_has_a_column_for_each_metric():
    s, t = (torch.randn(3, 9, dtype=torch.float64).log_softmax(1) for _ in range(2))
    solution = solve_alpha(s, t, "kl_symmetry")
    stacked = diagnostics.stack(solution)
    expected = [
        solution.alpha, solution.ess_theta / solution.ess_t, solution.kl_theta, solution.kl_t,
        -solution.log_z, solution.beta,
    ]  # fmt: skip
    assert stacked.shape == (3, len(diagnostics.METRICS))
    assert all(torch.equal(stacked[:, i], column) for i, column in enumerate(expected))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, math.nan]),
        ("top_k", [-1]),
        ("top_p", [0.0, -0.5, 1.01]),
        ("max_new_tokens", [0]),
    ],
)
def test_parameters_out_of_range_are_named(name, values):
    for value in values:
        with pytest.raises(UserError, match=name):
            SamplingParameters(**{name: value})
    SamplingParameters(temperature=0, top_k=0, top_p=1, max_new_tokens=1)
