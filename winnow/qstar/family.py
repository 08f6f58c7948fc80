"""The exponential family between two models: q_x ∝ exp(s + x d) for a batch of rows.

With s = log π_θ, t = log π_t and d = t − s, x = 0 is the student and x = 1 the teacher. What a
solver asks of it is L(x) = logsumexp(s + x d), L′(x) = E[d] and L″(x) = Var[d] under q_x (Nielsen
2013, "An information-geometric characterization of Chernoff information").
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from winnow.qstar.buffers import Buffers
from winnow.qstar.exponential import exp


class Moments(NamedTuple):
    """Of one row's d under q_x: log_z = L(x), mean = L′(x), variance = L″(x).

    Python's numbers: a few steps of them cost less than one call of torch.
    """

    log_z: float
    mean: float
    variance: float


def _moments_of(total: float, first: float, second: float, shift: float = 0.0) -> Moments:
    """From Σ w, Σ w d and Σ w d² with w = exp(s + x d − shift)."""
    mean = first / total
    variance = second / total - mean * mean
    return Moments(math.log(total) + shift, mean, 0.0 if variance < 0.0 else variance)


class Family:
    """The family of some rows.

    Args:
        log_theta: log-probabilities of the student, [rows, vocabulary], float32 or float64.
        log_t: the teacher's.
        buffers: where the family lies; one that lay there before is gone.

    Attributes:
        base: s, but −inf where either model gives nothing; the teacher in disjoint rows.
        d: t − s, 0 where `base` is −inf and in disjoint rows.
        spans: largest − least of each row, on the host.
        whole: whether no row is masked.
        masked: rows [rows] in which a token has no probability from one model or from both.
        disjoint: rows [rows] in which no token has some from both.
        theta_alone: rows [rows] in which the student gives a token that `base` leaves out.
        t_alone: the same of the teacher.
        least, largest: the range of d over the tokens that both give, [rows].
    """

    def __init__(self, log_theta: Tensor, log_t: Tensor, buffers: Buffers | None = None) -> None:
        self._buffers = buffers or Buffers()
        self.base, self._log_t = log_theta, log_t
        self.d = torch.sub(log_t, log_theta, out=self.buffer("d"))
        # What lasts no longer than one evaluation is written here.
        self._scratch = self.buffer("evaluation")
        # Two vectorized passes are forty times as fast on CPU as one of torch.aminmax.
        self.least, self.largest = self.d.amin(dim=1), self.d.amax(dim=1)
        # An infinity of either model, or a NaN, leaves its trace in the range of the differences.
        self.spans: list[float] = (self.largest - self.least).tolist()
        self.whole = all(map(math.isfinite, self.spans))
        self.disjoint = self.theta_alone = self.t_alone = self.masked = torch.zeros_like(
            self.least, dtype=torch.bool
        )
        if not self.whole:
            self.masked = ~torch.isfinite(self.largest - self.least)
            self._leave_out(log_theta, log_t)
            self.spans = (self.largest - self.least).tolist()

    def _leave_out(self, log_theta: Tensor, log_t: Tensor) -> None:
        # Where both are −inf, d would be NaN: such tokens are left out of every sum instead.
        common = torch.isfinite(log_theta) & torch.isfinite(log_t)
        self.disjoint = ~common.any(dim=1)
        self.base = log_theta.masked_fill(~common, -torch.inf)
        self._log_t = log_t.masked_fill(~(common | self.disjoint[:, None]), -torch.inf)
        self.base[self.disjoint] = log_t[self.disjoint]
        left_out = torch.isneginf(self.base)
        self.theta_alone = (left_out & ~torch.isneginf(log_theta)).any(dim=1)
        self.t_alone = (left_out & ~torch.isneginf(log_t)).any(dim=1)
        self.least = self.d.masked_fill(~common, torch.inf).amin(dim=1).masked_fill(self.disjoint, 0.0)
        self.largest = self.d.masked_fill(~common, -torch.inf).amax(dim=1).masked_fill(self.disjoint, 0.0)
        self.d.masked_fill_(~common, 0.0)

    @cached_property
    def theta(self) -> Tensor:
        """The student's probabilities of the tokens that both give (the teacher's in disjoint rows)."""
        return exp(self.base, out=self.buffer("theta"))

    @cached_property
    def t(self) -> Tensor:
        """The teacher's of the same tokens."""
        return exp(self._log_t, out=self.buffer("t"))

    def __len__(self) -> int:
        return len(self.base)

    def buffer(self, name: str) -> Tensor:
        """Room for a number of each token, [rows, vocabulary]."""
        return self._buffers.take(name, self.base, self.base.dtype)

    def keep(self, rows: Tensor) -> Family:
        """A copy of these rows (indices) that can be evaluated, no more; it shares the scratch buffer."""
        kept = object.__new__(Family)
        kept._scratch = self._scratch
        for name in ("base", "d", "least", "largest"):
            setattr(kept, name, getattr(self, name)[rows])
        return kept

    def logits(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """s + x d, [rows, vocabulary]; in the scratch buffer, which the next call overwrites, or in `out`."""
        out = self._scratch[: len(self)] if out is None else out
        return torch.addcmul(self.base, self.d, x[:, None], out=out)

    def log_z(self, x: Tensor) -> Tensor:
        """L(x), for any x."""
        logits = self.logits(x)
        total = exp(logits, out=logits).sum(dim=1)
        log_z = total.log()
        unsound = _unsound(total)
        if bool(unsound.any()):
            log_z = torch.where(unsound, torch.logsumexp(self.logits(x), dim=1), log_z)
        return log_z

    def moments(self, x: Tensor) -> list[Moments]:
        """L, L′ and L″ of each row at x [rows].

        The second moment is taken about zero, which is where a solver of L′(x) = 0 expects the mean
        at its next point to be, so nothing cancels near the root. Far from it only the direction of a
        step counts.
        """
        logits = self.logits(x)
        return self._moments(x, exp(logits, out=logits))

    def ends(self) -> tuple[list[Moments], list[Moments]]:
        """The moments at 0 and 1, where the weights are the models' own probabilities."""
        return self._moments(0.0, self.theta), self._moments(1.0, self.t)

    def _moments(self, x: Tensor | float, weights: Tensor) -> list[Moments]:
        """See `moments`, for weights exp(s + x d)."""
        rows = self._sums(weights)
        least = torch.finfo(weights.dtype).tiny ** 0.5
        largest = 1.0 / least
        sound = [least < total < largest for total, _, _ in rows]
        if all(sound):
            return [_moments_of(*row) for row in rows]
        logits = self.logits(torch.as_tensor(x).to(self.least).expand(len(self)))
        peaks = logits.amax(dim=1)
        shifted = self._sums(exp(logits.sub_(peaks[:, None]), out=logits))
        return [
            _moments_of(*row) if fine else _moments_of(other[0], other[1], other[2], peak)
            for fine, row, other, peak in zip(sound, rows, shifted, peaks.tolist(), strict=True)
        ]

    def _sums(self, weights: Tensor) -> list[list[float]]:
        """Σ w, Σ w d, Σ w d² of each row; the scratch buffer, which may hold w, is overwritten."""
        total = weights.sum(dim=1)
        weighted = torch.mul(weights, self.d, out=self._scratch[: len(self)])
        first = weighted.sum(dim=1)
        sums: list[list[float]] = torch.stack(
            [total, first, weighted.mul_(self.d).sum(dim=1)], dim=1
        ).tolist()
        return sums


def _unsound(total: Tensor) -> Tensor:
    """Where a sum of exponentials has left the range in which all its digits are sound.

    Between the models no logit is positive and most sums are near 1: elsewhere the largest logit need
    not be sought.
    """
    sound = torch.finfo(total.dtype).tiny ** 0.5
    unsound: Tensor = ~((total > sound) & (total < 1.0 / sound))
    return unsound
