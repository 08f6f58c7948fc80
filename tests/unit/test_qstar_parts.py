"""The small parts of q*: vocabularies, the order of rows, statistics, parameters."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.qstar import SamplingParameters, diagnostics
from winnow.qstar.alpha import solve_alpha
from winnow.qstar.assembly import Models
from winnow.qstar.scheduler import Row, Slots
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


LONG = {f"t{index}": index for index in range(500)}
LONGER = {**LONG, "<tool>": 500, "<think>": 502}


@pytest.mark.parametrize(("theta", "t", "whose"), [(LONG, LONGER, "teacher"), (LONGER, LONG, "student")])
def test_the_last_tokens_that_only_one_has_are_not_drawn(theta, t, whose, caplog):
    assert common_width(theta, t, 512, 640, "x and y", extras=True) == 500
    assert f"only the {whose} has the last 2 ids, from 500 ('<tool>') on" in caplog.text
    with pytest.raises(UserError, match="differ in 2 ids: id 500"):
        common_width(theta, t, 512, 640, "x and y")


def test_an_end_that_only_one_model_has_is_not_cut_away():
    """Else the teacher's turn would never end."""

    def model(name, tokens, ends):
        return SimpleNamespace(
            name=name, width=512, eos_ids=frozenset(ends), tokenizer=SimpleNamespace(get_vocab=lambda: tokens)
        )

    student = model("student", LONG, {2})
    assert Models(student, model("teacher", LONGER, {2})).width() == 500
    with pytest.raises(UserError, match="it ends completions with id 502") as error:
        Models(student, model("teacher", LONGER, {2, 502})).width()
    assert error.value.where == "teacher"


@pytest.mark.parametrize(
    "other",
    [
        {**{token: index for token, index in LONG.items() if index != 7}, "<tool>": 500},
        {**LONG, "t3": 4, "t4": 3, "<tool>": 500},
        {**LONG, **{f"<tool {index}>": 500 + index for index in range(6)}},
    ],
)
def test_more_than_the_last_few_is_refused(other):
    for pair in ((LONG, other), (other, LONG)):
        with pytest.raises(UserError, match="the tokenizers differ"):
            common_width(*pair, 512, 640, "x and y", extras=True)


def passing(entries, count, lengths):
    """Let rows pass through slots, each for so many rounds; (slot, row) of each, in order."""
    slots, order, left = Slots(iter(entries), count), [], {}
    assert slots.longest == (
        [max(len(row.prompt) + row.max_new_tokens for row in entries)] if entries else []
    )
    while slots:
        admitted = slots.fill()
        moves = slots.close()
        assert not {slot for slot, _ in admitted} & {slot for move in moves for slot in move}
        for slot, row in admitted:
            left[row.id] = lengths[row.id]
            assert slots.active[slot].row is row
        order += admitted
        assert len(slots.active) <= count
        for sequence in slots.active:
            left[sequence.row.id] -= 1
            if not left[sequence.row.id]:
                sequence.finish_reason = "stop"
    return order


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), max_size=30), st.integers(1, 8))
def test_each_row_passes_once_the_longest_first(shapes, count):
    entries = [Row(f"{i:02d}", i, (7,) * length, None, 4) for i, (length, _) in enumerate(shapes)]
    order = passing(
        entries, count, {row.id: rounds for row, (_, rounds) in zip(entries, shapes, strict=True)}
    )
    assert sorted((row for _, row in order), key=lambda row: row.id) == entries
    lengths = [len(row.prompt) for _, row in order]
    assert lengths == sorted(lengths, reverse=True)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_gaps_are_closed_from_behind(ended):
    slots = Slots([Row(str(i), i, (7,), None, 4) for i in range(len(ended))], len(ended))
    slots.fill()
    for sequence, over in zip(slots.active, ended, strict=True):
        sequence.finish_reason = "stop" if over else None
    held = [sequence.row.id for sequence in slots.active]
    for source, target in slots.close():
        held[target] = held[source]
    going = [sequence.row.id for sequence in slots.active]
    assert held[: len(going)] == going
    assert len(going) == ended.count(False)
    assert all(sequence.finish_reason is None for sequence in slots.active)


def test_a_restart_puts_back_what_is_in_progress():
    entries = [Row(str(i), i, (7,), None, 4) for i in range(5)]
    slots = Slots(entries, 4)
    slots.fill()
    slots.active[1].finish_reason = "stop"
    slots.restart(2)
    assert (slots.count, len(slots), slots.active) == (2, 4, [])
    assert [row.id for _, row in slots.fill()] == ["0", "2"]


def test_the_samples_of_a_prompt_stay_together():
    entries = [Row(f"{i}", i, ((1, 2), (2, 1))[i % 2], None, 4) for i in range(12)]
    order = [row.prompt for _, row in passing(entries, 6, {row.id: 1 for row in entries})]
    assert order == sorted(order)


def metrics(**columns) -> np.ndarray:
    count = len(next(iter(columns.values())))
    return np.array([columns.get(name, [0.0] * count) for name in diagnostics.METRICS]).T


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
        ("temperature", [-0.1, math.nan, math.inf, 1e-40]),
        ("top_k", [-1, 2.5, True]),
        ("top_p", [0.0, -0.5, 1.01]),
        ("max_new_tokens", [0, 4.5]),
    ],
)
def test_parameters_out_of_range_are_named(name, values):
    for value in values:
        with pytest.raises(UserError, match=name):
            SamplingParameters(**{name: value})
    SamplingParameters(temperature=0, top_k=0, top_p=1, max_new_tokens=1)
