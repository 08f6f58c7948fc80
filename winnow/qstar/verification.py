"""Settle a round: which drafts stand, what stands in place of the first that does not, and how q* was.

Two ways to the same tokens: torch, for every device, method and head; one launch of a Triton kernel,
where q* is not cut and the logits lie on a GPU.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from winnow.arms import Alpha
from winnow.qstar import diagnostics
from winnow.qstar.acceptance import at_tokens, settle
from winnow.qstar.alpha import precision
from winnow.qstar.buffers import Buffers
from winnow.qstar.mixture import head, log_probabilities, mix
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposal
from winnow.qstar.randomness import Role, uniforms


@dataclass(frozen=True)
class Verdict:
    """A round as it was settled, on the device.

    Attributes:
        tokens: [rows, K]; the first `counts` of a row are its new tokens, the rest means nothing.
        accepted: how many of them are drafts, [rows].
        metrics: of q* at each place, [rows, K, len(diagnostics.METRICS)].
        log_q: log-probability of each token under what it follows, q* after its head, [rows, K] in nats.
        lost: at each place [rows, K], 1 where the student gave NaN, else 2 where the teacher did, else 0.
    """

    tokens: Tensor
    accepted: Tensor
    metrics: Tensor
    log_q: Tensor
    lost: Tensor

    @property
    def counts(self) -> Tensor:
        """New tokens, [rows], 1 to K: the accepted drafts, and what stands in place of a rejected one."""
        return (self.accepted + 1).clamp_max(self.tokens.shape[1])


class Verify(Protocol):
    """A way to settle a round.

    Attributes:
        waits: whether it waits for the device, so that it cannot be recorded with what came before it.
    """

    waits: bool

    def __call__(self, proposal: Proposal, seeds: Tensor, positions: Tensor) -> Verdict:
        """From a proposal, seeds [rows] and positions [rows, K] of the drafts in their completions."""
        ...


def choose(alpha: Alpha, parameters: SamplingParameters, device: torch.device) -> Verify:
    """The way that fits."""
    if device.type == "cuda" and parameters.whole and importlib.util.find_spec("triton"):
        from winnow.qstar import fused

        if fused.supports(alpha):
            return ByKernel(alpha, parameters, fused)
    return ByTorch(alpha, parameters)


class ByTorch:
    """Log-probabilities, the mixture and the settlement, one after the other."""

    waits = True

    def __init__(self, alpha: Alpha, parameters: SamplingParameters) -> None:
        self._alpha, self._parameters, self._buffers = alpha, parameters, Buffers()

    def __call__(self, proposal: Proposal, seeds: Tensor, positions: Tensor) -> Verdict:
        rows, depth = proposal.drafts.shape
        assert proposal.second is not None
        log_theta, log_t = self._log_probabilities(proposal, proposal.second)
        log_q, solution = mix(log_theta, log_t, self._alpha, described=True, buffers=self._buffers)
        metrics = diagnostics.stack(solution).view(rows, depth, -1)
        log_q = head(log_q, self._parameters).view(rows, depth, -1)
        tokens, accepted = settle(proposal.drafts, proposal.log_draft, log_q, seeds, positions)
        student, teacher = (torch.isnan(logs[:, 0]).view(rows, depth) for logs in (log_theta, log_t))
        lost = torch.where(student, 1, torch.where(teacher, 2, 0))
        return Verdict(tokens, accepted, metrics, at_tokens(log_q, tokens), lost)

    def _log_probabilities(self, proposal: Proposal, second: Tensor) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's, each [rows · K, vocabulary]."""
        temperature = self._parameters.temperature
        # Where no head was cut, what was drafted from is the student's whole distribution.
        log_theta = (
            proposal.log_draft.flatten(0, 1)
            if self._parameters.whole
            else log_probabilities(proposal.first.flatten(0, 1), temperature)
        )
        second = second.flatten(0, 1)
        room = self._buffers.take("log t", second, precision(second))
        return log_theta, log_probabilities(second, temperature, out=room)


class ByKernel:
    """All of it in one launch, every place of the round a program of its own.

    Args:
        alpha: how to mix.
        parameters: how to draw; without a head.
        fused: `winnow.qstar.fused`, which needs Triton.
    """

    waits = False

    def __init__(self, alpha: Alpha, parameters: SamplingParameters, fused: Any) -> None:
        self._alpha, self._temperature, self._fused = alpha, parameters.temperature, fused
        self._in_torch = ByTorch(alpha, parameters)

    def __call__(self, proposal: Proposal, seeds: Tensor, positions: Tensor) -> Verdict:
        rows, depth = proposal.drafts.shape
        assert proposal.second is not None
        if proposal.first.dtype == torch.float64:
            return self._in_torch(proposal, seeds, positions)
        logits = [each.flatten(0, 1) for each in (proposal.first, proposal.second)]
        own = seeds[:, None].expand(rows, depth)
        accept, residual = (uniforms(own, positions, role).flatten() for role in (Role.ACCEPT, Role.RESIDUAL))
        step = self._fused.verify(
            *logits, proposal.drafts.flatten(), accept, residual, self._alpha, self._temperature
        )
        accepted = step.accepted.view(rows, depth).long().cumprod(dim=1).sum(dim=1)
        # Each place holds the draft where it stands, and else what would stand there in its place.
        tokens = step.token.view(rows, depth).clamp_min(0)
        metrics = diagnostics.stack(step).view(rows, depth, -1)
        return Verdict(tokens, accepted, metrics, step.log_q.view(rows, depth), step.lost.view(rows, depth))
