"""Every completion of toy models, its probability by hand, against the engine's own draws."""

from __future__ import annotations

import pytest
from chi_square import goodness
from toy import draws, enumerated

MIXED = ("fixed-0.3", "kl_symmetry", "entropy", "ess_balance", "reverse_kl_symmetry")
HEADS = [
    {"temperature": 0.6},
    {"temperature": 1.7},
    {"top_k": 3},
    {"top_p": 0.7},
    {"temperature": 1.3, "top_k": 4, "top_p": 0.9},
]


def check(alpha: str, depth: int | None, count: int, **parameters: float) -> None:
    """The p-value of the counts; each test stands for some hundred others, hence the small bound."""
    expected = enumerated(alpha, **parameters)
    assert sum(expected.values()) == pytest.approx(1.0)
    found = draws(alpha, depth, count, **parameters)
    assert sum(found.values()) == count
    assert goodness([found.get(tokens, 0) for tokens in expected], list(expected.values())) > 1e-4


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("alpha", MIXED)
def test_every_method(alpha, depth):
    check(alpha, depth, 6_000)


@pytest.mark.parametrize("alpha", ["policy", "teacher"])
def test_one_model(alpha):
    check(alpha, None, 6_000)


@pytest.mark.parametrize("parameters", HEADS, ids=str)
def test_temperature_and_heads(parameters):
    check("kl_symmetry", 2, 6_000, **parameters)


def test_zero_temperature_takes_the_arg_max_at_each_place():
    [likeliest] = [tokens for tokens, p in enumerated("kl_symmetry", temperature=0.0).items() if p > 0]
    for depth in (1, 2, 3, 4):
        assert draws("kl_symmetry", depth, 50, temperature=0.0) == {likeliest: 50}


@pytest.mark.parametrize("parameters", [{}, {"top_p": 0.8}])
def test_the_depth_changes_no_completion(parameters):
    alone = draws("kl_symmetry", 1, 2_000, **parameters)
    for depth in (2, 3, 4, 8, None):
        assert draws("kl_symmetry", depth, 2_000, slots=700, **parameters) == alone


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("alpha", MIXED)
def test_every_method_and_depth_at_length(alpha, depth):
    check(alpha, depth, 200_000)


@pytest.mark.slow
@pytest.mark.parametrize(("parameters", "depth"), [*zip(HEADS, (1, 2, 3, 4, 4), strict=True)], ids=str)
def test_temperature_and_heads_at_length(parameters, depth):
    check("kl_symmetry", depth, 200_000, **parameters)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["policy", "teacher", "fixed-0", "fixed-1"])
def test_either_end_at_length(alpha):
    check(alpha, None, 200_000, temperature=1.3, top_p=0.9)
