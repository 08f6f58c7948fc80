"""The two ways to settle a round come to the same."""

from __future__ import annotations

import pytest
import torch

from winnow.arms import Alpha
from winnow.qstar.mixture import draw, log_probabilities
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposal
from winnow.qstar.randomness import Role, uniforms
from winnow.qstar.verification import ByKernel, ByTorch, choose

# Triton's interpreter computes with NaN in numpy, which warns.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ROWS, DEPTH, VOCABULARY = 16, 3, 70
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def proposal(temperature: float, seed: int = 1) -> tuple[Proposal, torch.Tensor, torch.Tensor]:
    """Random logits of unequal sharpness, drafts drawn from the student's; seeds and positions."""
    generator = torch.Generator().manual_seed(seed)
    shape = (ROWS, DEPTH, VOCABULARY)
    sharp = 0.5 + 3 * torch.rand(ROWS, DEPTH, 1, generator=generator)
    first, second = (sharp * torch.randn(shape, generator=generator) for _ in range(2))
    seeds = torch.arange(ROWS) * 977 + 5
    positions = torch.arange(ROWS)[:, None] + torch.arange(DEPTH)
    log_p = log_probabilities(first.flatten(0, 1), temperature)
    chances = uniforms(seeds[:, None].expand(ROWS, DEPTH), positions, Role.DRAFT)
    drafts = draw(log_p.exp(), chances.flatten()).view(ROWS, DEPTH)
    return Proposal(drafts, log_p.view(shape), first, second), seeds, positions


def by_kernel(alpha: str, parameters: SamplingParameters) -> ByKernel:
    pytest.importorskip("triton", reason="triton is not installed (envs/requirements-cpu.lock has it)")
    from winnow.qstar import fused

    return ByKernel(Alpha.parse(alpha), parameters, fused)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("alpha", ["kl_symmetry", "entropy", "fixed-0.3"])
def test_kernel_and_torch_settle_alike(alpha, temperature):
    parameters = SamplingParameters(temperature=temperature)
    asked = proposal(temperature)
    ours = ByTorch(Alpha.parse(alpha), parameters)(*asked)
    theirs = by_kernel(alpha, parameters)(*asked)
    assert torch.equal(ours.counts, theirs.counts)
    assert torch.equal(ours.accepted, theirs.accepted)
    assert len(set(ours.accepted.tolist())) > 2, "rounds of many lengths"
    for row, count in enumerate(ours.counts.tolist()):
        assert torch.equal(ours.tokens[row, :count], theirs.tokens[row, :count])
        torch.testing.assert_close(ours.log_q[row, :count], theirs.log_q[row, :count], rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(ours.metrics, theirs.metrics, rtol=2e-4, atol=2e-5)
    assert not ours.lost.any()
    assert not theirs.lost.any()


@pytest.mark.parametrize("whose", [0, 1])
def test_both_tell_whose_numbers_are_broken(whose):
    asked = proposal(1.0)
    logits = asked[0].second if whose else asked[0].first
    logits[2, 0, 7] = torch.nan
    if not whose:
        asked[0].log_draft[2, 0] = torch.nan
    for verify in (
        ByTorch(Alpha.parse("kl_symmetry"), SamplingParameters()),
        by_kernel("kl_symmetry", SamplingParameters()),
    ):
        verdict = verify(*asked)
        assert verdict.counts[2] == 1
        assert verdict.lost[2, 0] == 1 + whose
        assert verdict.lost.count_nonzero() == 1


def test_float64_goes_to_torch():
    asked, seeds, positions = proposal(1.0)
    exact = Proposal(asked.drafts, asked.log_draft.double(), asked.first.double(), asked.second.double())
    verdict = by_kernel("kl_symmetry", SamplingParameters())(exact, seeds, positions)
    assert verdict.metrics.dtype == torch.float64


@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_infinite_logits_are_lost_in_both_ways(value):
    asked = proposal(1.0)
    asked[0].second[4, 0] = value
    for verify in (
        ByTorch(Alpha.parse("kl_symmetry"), SamplingParameters()),
        by_kernel("kl_symmetry", SamplingParameters()),
    ):
        assert verify(*asked).lost[4, 0] == 2


@pytest.mark.parametrize(
    ("alpha", "parameters", "device", "expected"),
    [
        ("kl_symmetry", {}, CUDA, ByKernel),
        ("fixed-0.5", {"temperature": 0.6}, CUDA, ByKernel),
        ("kl_symmetry", {}, CPU, ByTorch),
        ("ess_balance", {}, CUDA, ByTorch),
        ("kl_symmetry", {"top_k": 5}, CUDA, ByTorch),
        ("kl_symmetry", {"top_p": 0.9}, CUDA, ByTorch),
        ("kl_symmetry", {"temperature": 0.0}, CUDA, ByTorch),
    ],
)
def test_what_the_kernel_does_not_know_goes_to_torch(alpha, parameters, device, expected):
    pytest.importorskip("triton", reason="triton is not installed (envs/requirements-cpu.lock has it)")
    assert type(choose(Alpha.parse(alpha), SamplingParameters(**parameters), device)) is expected
