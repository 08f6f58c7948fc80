"""A round: every active slot gets one to K tokens of q*, and the host hears of it once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from winnow.qstar.acceptance import at_tokens
from winnow.qstar.diagnostics import Values
from winnow.qstar.exponential import exp
from winnow.qstar.graphs import Graphs, Tensors
from winnow.qstar.mixture import draw, head, log_probabilities
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposal, Proposer
from winnow.qstar.randomness import Role, uniforms
from winnow.qstar.scheduler import Sequence
from winnow.qstar.transfer import to_device
from winnow.qstar.verification import Verdict, Verify


@dataclass(frozen=True)
class Round:
    """What a round gave, on the host.

    Attributes:
        tokens: new tokens of each row.
        logprobs: of each row's places, [K]; those of its new tokens come first.
        accepted: how many of the new tokens were drafts.
        metrics: [rows, K, len(diagnostics.METRICS)]; None where one model ran.
        lost: for each row and place, which model gave NaN: 1 or 2, the student or the teacher; else 0.
    """

    tokens: list[list[int]]
    logprobs: list[list[float]]
    accepted: list[int]
    metrics: Values | None
    lost: list[list[int]]


class Rounds:
    """Draws rounds for the leading slots of a proposer.

    Args:
        proposer: the models, how they are run.
        parameters: how to draw.
        verify: how a round of two models is settled.
        graphs: how rounds are recorded; None is not at all.
    """

    def __init__(
        self, proposer: Proposer, parameters: SamplingParameters, verify: Verify, graphs: Graphs | None
    ) -> None:
        self._proposer, self._parameters = proposer, parameters
        self._verify, self._graphs = verify, graphs

    @property
    def settled(self) -> bool:
        """Whether the last round took as long as its like will take from now on."""
        return self._graphs is None or self._graphs.settled

    def draw(self, active: list[Sequence], depth: int) -> Round:
        """The next tokens of these sequences, which lie in the leading slots."""
        going, graphs = len(active), self._graphs
        rows = graphs.rows(going) if graphs else going
        spans = self._proposer.place(rows, depth, going, graphs.span if graphs else None)
        inputs = self._stage([(*each.last, each.row.seed, len(each.tokens)) for each in active], rows)

        def propose() -> Tensors:
            found = self._propose(inputs, depth)
            drawn = (found.drafts, found.log_draft, found.first)
            return drawn if found.second is None else (*drawn, found.second)

        def whole() -> Tensors:
            return (self._settle(Proposal(*propose()), inputs),)

        alone = len(active[0].last) == 1
        work = whole if alone or not self._verify.waits else propose
        found = graphs.run((rows, depth, spans), going, work) if graphs else work()
        told = found[0] if work is whole else self._settle(Proposal(*found), inputs)
        return _read(told[:going].cpu(), depth)

    def _stage(self, values: list[tuple[int, ...]], rows: int) -> Tensor:
        """Last tokens, seed and position of each row, [rows, models + 2], on the device."""
        device = self._proposer.device
        return self._graphs.stage(values, rows, device) if self._graphs else to_device(values, device)

    def _propose(self, inputs: Tensor, depth: int) -> Proposal:
        last, seeds, positions = inputs[:, :-2], inputs[:, -2], inputs[:, -1]

        def choose(logits: Tensor, place: int) -> tuple[Tensor, Tensor]:
            log_p = head(log_probabilities(logits, self._parameters.temperature), self._parameters)
            return draw(exp(log_p), uniforms(seeds, positions + place, Role.DRAFT)), log_p

        return self._proposer.propose(last, depth, choose)

    def _settle(self, proposal: Proposal, inputs: Tensor) -> Tensor:
        if proposal.second is None:
            return _told(_as_drawn(proposal))
        ahead = torch.arange(proposal.drafts.shape[1], device=inputs.device)
        return _told(self._verify(proposal, inputs[:, -2], inputs[:, -1:] + ahead))


def _as_drawn(proposal: Proposal) -> Verdict:
    """One model's tokens stand as they are."""
    rows, depth = proposal.drafts.shape
    return Verdict(
        tokens=proposal.drafts,
        accepted=torch.ones_like(proposal.drafts[:, 0]),
        metrics=proposal.log_draft.new_empty(rows, depth, 0),
        log_q=at_tokens(proposal.log_draft, proposal.drafts),
        lost=torch.isnan(proposal.log_draft[:, :, 0]).long(),
    )


def _told(verdict: Verdict) -> Tensor:
    """All that the host has to know, a row for each slot: its copy is the one synchronisation of a round."""
    counts = torch.stack([verdict.counts, verdict.accepted], dim=1)
    numbers = torch.cat([counts, verdict.lost, verdict.tokens], dim=1)
    return torch.cat([numbers.double(), verdict.log_q.double(), verdict.metrics.double().flatten(1)], dim=1)


def _read(told: Tensor, depth: int) -> Round:
    whole, logprobs, values = told.tensor_split([2 + 2 * depth, 2 + 3 * depth], dim=1)
    numbers = whole.long().tolist()
    metrics = values.reshape(len(told), depth, -1).numpy() if values.shape[1] else None
    return Round(
        [row[2 + depth : 2 + depth + row[0]] for row in numbers],
        logprobs.tolist(),
        [row[1] for row in numbers],
        metrics,
        [row[2 : 2 + depth] for row in numbers],
    )
