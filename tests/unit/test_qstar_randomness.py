"""Random numbers: uniform, unrelated, and those of SplitMix64's finalizer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from splitmix import GOLDEN, MASK, finalizer, uniform

from winnow.qstar.randomness import Role, uniforms
from winnow.records import completion_seed

COUNT = 50_000


def stream(seeds=None, positions=None, role=Role.DRAFT) -> torch.Tensor:
    seeds = torch.arange(COUNT) if seeds is None else torch.full((COUNT,), seeds)
    positions = torch.arange(COUNT) if positions is None else torch.full((COUNT,), positions)
    return uniforms(seeds, positions, role)


def kolmogorov_smirnov(values: torch.Tensor) -> float:
    """√n · sup |F_n − F|: above 1.95 with probability 0.001."""
    n = len(values)
    ordered, grid = values.sort().values, torch.arange(n, dtype=torch.float64)
    return math.sqrt(n) * max((ordered - grid / n).max(), ((grid + 1) / n - ordered).max())


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """In units of its own deviation under independence."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) * math.sqrt(len(a))


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**31), st.sampled_from(Role))
def test_equals_the_finalizer_in_python(seed, position, role):
    found = uniforms(torch.tensor([seed]), torch.tensor([position]), role).item()
    assert found == uniform(seed, position, role)
    assert 0.0 <= found < 1.0


def test_the_finalizer_gives_the_published_values():
    # The first outputs of SplitMix64 from seed 1234567, as in the reference implementation's tests.
    state, found = 1234567, []
    for _ in range(3):
        state = (state + GOLDEN) & MASK
        found.append(finalizer(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("seeds", "positions"), [(None, 0), (None, 63), (7, None), (2**62, None)])
def test_uniform_along_seeds_and_along_positions(role, seeds, positions):
    values = stream(seeds, positions, role)
    assert kolmogorov_smirnov(values) < 1.95
    assert values.dtype == torch.float64
    assert values.min() >= 0 and values.max() < 1


def test_uniform_for_the_seeds_of_completions():
    seeds = torch.tensor([completion_seed(17, f"p{i // 8}", i % 8) for i in range(COUNT)])
    assert kolmogorov_smirnov(uniforms(seeds, torch.zeros_like(seeds), Role.DRAFT)) < 1.95


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (stream(7), stream(7, role=Role.ACCEPT)),
        (stream(7), stream(7, role=Role.RESIDUAL)),
        (stream(7, role=Role.ACCEPT), stream(7, role=Role.RESIDUAL)),
        (stream(7)[:-1], stream(7)[1:]),
        (stream(7), stream(8)),
        (stream(None, 3)[:-1], stream(None, 3)[1:]),
        (stream(None, 3), stream(None, 4)),
        (stream(7, role=Role.RESIDUAL)[:-1], stream(7, role=Role.DRAFT)[1:]),
    ],
    ids=["draw-accept", "draw-residual", "accept-residual", "positions", "seeds at positions", "seeds",
         "positions at seeds", "last role, next position"],
)  # fmt: skip
def test_unrelated(a, b):
    assert abs(correlation(a, b)) < 4
    # Correlation sees lines only: an 8 × 8 table of both sees the rest.
    table = torch.bincount((a * 8).long() * 8 + (b * 8).long(), minlength=64).double()
    chi = ((table - len(a) / 64) ** 2 / (len(a) / 64)).sum().item()
    assert chi < 103.4, "χ² of 63 degrees of freedom: 0.001"


def test_each_triple_has_a_number_of_its_own():
    seeds, positions = torch.meshgrid(torch.arange(50), torch.arange(50), indexing="ij")
    everything = torch.cat([uniforms(seeds, positions, role).flatten() for role in Role])
    assert len(everything.unique()) == 50 * 50 * len(Role)
