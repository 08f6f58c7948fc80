"""The exponential family between two models: q_x ∝ exp(s + x d) for a batch of rows.

With s = log π_θ, t = log π_t and d = t − s, x = 0 is the student and x = 1 the teacher. What a
solver asks of it is L(x) = logsumexp(s + x d), L′(x) = E[d] and L″(x) = Var[d] under q_x (Nielsen
2013, "An information-geometric characterization of Chernoff information").
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

CACHE_ELEMENTS = 1 << 17
"""Numbers a chunk of rows should have on CPU: four float32 buffers of them fit a core's cache."""
THREAD_ELEMENTS = 1 << 20
"""The same where chunks run beside each other: on smaller ones, threads wait for Python's lock."""
WORTH_A_THREAD = 1 << 21
"""Fewer numbers are done sooner by one thread: 32 × 16,384 in 6.4 ms, by two in 9.3."""


_own_threads = True


def leave_threads() -> None:
    """Never change torch's number of threads: a host that binds them (vLLM) has its own."""
    global _own_threads
    _own_threads = False


def in_chunks(work: Callable[[slice], None], like: Tensor) -> None:
    """Do `work` on slices of the rows of `like` [rows, vocabulary]; on CPU in parallel.

    The slices are small enough for the cache there, and the whole on other devices.

    Each chunk is one thread's from beginning to end. Were its operations shared out instead, all
    threads would meet after every one of them, some 50 µs apart: on a machine with other work each
    meeting can cost a time slice, and torch would add up a lone long row in another order than the
    same row among others.
    """
    rows, vocabulary = like.shape
    if like.device.type != "cpu":
        work(slice(0, rows))
        return
    threads = torch.get_num_threads() if _own_threads else 1
    beside = threads > 1 and rows * vocabulary >= WORTH_A_THREAD
    size = max(1, (THREAD_ELEMENTS if beside else CACHE_ELEMENTS) // max(vocabulary, 1))
    chunks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    try:
        if not beside or len(chunks) <= 1:
            _set_threads(1)
            for chunk in chunks:
                work(chunk)
            return
        inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

        def alone(chunk: slice) -> None:
            # What torch keeps for each thread has to be told to a new one.
            with torch.inference_mode(inference), torch.set_grad_enabled(gradient):
                work(chunk)

        with ThreadPoolExecutor(
            min(threads, len(chunks)), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            list(pool.map(alone, chunks))
    finally:
        _set_threads(threads)


def _set_threads(count: int) -> None:
    if _own_threads and torch.get_num_threads() != count:
        torch.set_num_threads(count)


@dataclass(frozen=True, eq=False)
class Moments:
    """Of d under q_x, each [rows]: log_z = L(x), mean = L′(x), variance = L″(x)."""

    log_z: Tensor
    mean: Tensor
    variance: Tensor


class Family:
    """The family of some rows.

    Args:
        log_theta: log-probabilities of the student, [rows, vocabulary], float32 or float64.
        log_t: the teacher's.

    Attributes:
        base: s, but −inf where either model gives nothing; the teacher in disjoint rows.
        d: t − s, 0 where `base` is −inf and in disjoint rows.
        masked: rows [rows] in which a token has no probability from one model or from both.
        disjoint: rows [rows] in which no token has some from both.
        theta_alone: rows [rows] in which the student gives a token that `base` leaves out.
        t_alone: the same of the teacher.
        least, largest: the range of d over the tokens that both give, [rows].
    """

    def __init__(self, log_theta: Tensor, log_t: Tensor) -> None:
        self.base = log_theta
        self.d = log_t - log_theta
        # What lasts no longer than one evaluation is written here: fresh memory is slow memory.
        self._scratch = torch.empty_like(log_theta)
        # Two vectorized passes are nine times as fast on CPU as one of torch.aminmax.
        self.least, self.largest = self.d.amin(dim=1), self.d.amax(dim=1)
        # An infinity of either model, or a NaN, leaves its trace in the range of the differences.
        self.masked = ~torch.isfinite(self.largest - self.least)
        self.disjoint = self.theta_alone = self.t_alone = torch.zeros_like(self.masked)
        if bool(self.masked.any()):
            self._leave_out(log_theta, log_t)

    def _leave_out(self, log_theta: Tensor, log_t: Tensor) -> None:
        # Where both are −inf, d would be NaN: such tokens are left out of every sum instead.
        common = torch.isfinite(log_theta) & torch.isfinite(log_t)
        self.disjoint = ~common.any(dim=1)
        self.base = log_theta.masked_fill(~common, -torch.inf)
        self.base[self.disjoint] = log_t[self.disjoint]
        left_out = torch.isneginf(self.base)
        self.theta_alone = (left_out & ~torch.isneginf(log_theta)).any(dim=1)
        self.t_alone = (left_out & ~torch.isneginf(log_t)).any(dim=1)
        self.least = self.d.masked_fill(~common, torch.inf).amin(dim=1).masked_fill(self.disjoint, 0.0)
        self.largest = self.d.masked_fill(~common, -torch.inf).amax(dim=1).masked_fill(self.disjoint, 0.0)
        self.d.masked_fill_(~common, 0.0)

    def __len__(self) -> int:
        return len(self.base)

    def keep(self, rows: Tensor) -> Family:
        """A copy of these rows (indices) that can be evaluated, no more; it shares the scratch buffer."""
        kept = object.__new__(Family)
        kept._scratch = self._scratch
        for name in ("base", "d", "least", "largest"):
            setattr(kept, name, getattr(self, name)[rows])
        return kept

    def logits(self, x: Tensor) -> Tensor:
        """s + x d, [rows, vocabulary], in the scratch buffer: the next call overwrites it."""
        return torch.addcmul(self.base, self.d, x[:, None], out=self._scratch[: len(self)])

    def log_z(self, x: Tensor) -> Tensor:
        """L(x), for any x."""
        total = self.logits(x).exp_().sum(dim=1)
        log_z = total.log()
        unsound = _unsound(total)
        if bool(unsound.any()):
            log_z = torch.where(unsound, torch.logsumexp(self.logits(x), dim=1), log_z)
        return log_z

    def moments(self, x: Tensor) -> Moments:
        """L, L′ and L″ at x, [rows].

        The second moment is taken about zero, which is where a solver of L′(x) = 0 expects the mean
        at its next point to be, so nothing cancels near the root. Far from it only the direction of a
        step counts.
        """
        total, first, second = self._sums(self.logits(x))
        shift = torch.zeros_like(total)
        unsound = _unsound(total)
        if bool(unsound.any()):
            logits = self.logits(x)
            peak = logits.amax(dim=1)
            shifted = self._sums(logits.sub_(peak[:, None]))
            total, first, second, shift = (
                torch.where(unsound, new, old)
                for new, old in zip((*shifted, peak), (total, first, second, shift), strict=True)
            )
        mean = first / total
        variance = (second / total - mean.square()).clamp_min_(0.0)
        return Moments(total.log() + shift, mean, variance)

    def _sums(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Σ w, Σ w d and Σ w d² with w = exp(logits), which are overwritten."""
        weights = logits.exp_()
        total = weights.sum(dim=1)
        first = weights.mul_(self.d).sum(dim=1)
        return total, first, weights.mul_(self.d).sum(dim=1)


def _unsound(total: Tensor) -> Tensor:
    """Where a sum of exponentials has left the range in which all its digits are sound.

    Between the models no logit is positive and most sums are near 1: elsewhere the largest logit need
    not be sought.
    """
    sound = torch.finfo(total.dtype).tiny ** 0.5
    unsound: Tensor = ~((total > sound) & (total < 1.0 / sound))
    return unsound
