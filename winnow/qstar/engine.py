"""The engine: draw completions from q*, both models in step, one token a round.

This is speculative decoding's K = 1: exact for every α, at the price of one pass of each model for
each token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from winnow.arms import Alpha
from winnow.qstar import diagnostics
from winnow.qstar.decoder import Decoder
from winnow.qstar.mixture import draw, log_probabilities, mix, truncate
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.randomness import Role, as_seeds, uniforms
from winnow.qstar.scheduler import Row, batches


@dataclass(frozen=True)
class Drawn:
    """One finished completion.

    Attributes:
        row: what was asked for.
        token_ids: its tokens, the end-of-sequence token included when it was drawn.
        finish_reason: `stop`, `length`, or `failed` where a model gave NaN.
        diagnostics: see `diagnostics.summarize`; None where one model ran.
    """

    row: Row
    token_ids: list[int]
    finish_reason: str
    diagnostics: dict[str, Any] | None


class Engine:
    """Draws batches of rows.

    Args:
        first: the decoder of the student, or of the one model that runs.
        second: the teacher's decoder where q* mixes both, else None.
        alpha: how to mix.
        parameters: how to draw.
        eos_ids: ids that end a row.
    """

    def __init__(
        self,
        first: Decoder,
        second: Decoder | None,
        alpha: Alpha,
        parameters: SamplingParameters,
        eos_ids: frozenset[int],
        device: str,
    ) -> None:
        self._first, self._second = first, second
        self._alpha, self._parameters = alpha, parameters
        self._device = device
        self._eos = torch.tensor(sorted(eos_ids), device=device)

    def run(self, rows: Iterable[Row], batch_size: int) -> Iterator[Drawn]:
        """Yield each completion as soon as it is finished, in no particular order."""
        for batch in batches(rows, batch_size):
            yield from self._run_batch(batch)

    @torch.inference_mode()
    def _run_batch(self, batch: list[Row]) -> Iterator[Drawn]:
        state = _Batch(batch, self._device)
        first = self._prefill(self._first, [row.prompt for row in batch])
        second = None
        if self._second is not None:
            second = self._prefill(self._second, [row.teacher_prompt or () for row in batch])
        while True:
            log_q, metrics = self._distribution(first, second)
            tokens = self._draw(log_q, state.seeds, state.length)
            broken = torch.isnan(log_q[:, 0])
            stopped = torch.isin(tokens, self._eos)
            state.append(tokens, metrics)
            finished = stopped | broken | (state.length >= state.limits)
            done = state.open & finished
            # The one host synchronisation of a round.
            if bool(done.any()):
                yield from state.collect(done, stopped, broken)
                state.open &= ~finished
                if not bool(state.open.any()):
                    return
                kept = state.compact()
                if kept is not None:
                    tokens = tokens[kept]
                    self._first.keep(kept)
                    if self._second is not None:
                        self._second.keep(kept)
            first = self._first.step(tokens)
            second = None if self._second is None else self._second.step(tokens)

    def _prefill(self, decoder: Decoder, prompts: list[tuple[int, ...]]) -> Tensor:
        distinct = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        rows = torch.tensor([distinct[prompt] for prompt in prompts], device=self._device)
        return decoder.prefill([list(prompt) for prompt in distinct], rows)

    def _distribution(self, first: Tensor, second: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """log q* after truncation, [rows, vocabulary], and the metrics of the untruncated q*."""
        temperature = self._parameters.temperature
        log_q, metrics = log_probabilities(first, temperature), None
        if second is not None:
            log_t = log_probabilities(second, temperature).to(log_q.device)
            log_q, solution = mix(log_q, log_t, self._alpha)
            metrics = diagnostics.stack(solution)
        return truncate(log_q, self._parameters.top_k, self._parameters.top_p), metrics

    def _draw(self, log_q: Tensor, seeds: Tensor, length: int) -> Tensor:
        if self._parameters.temperature == 0:
            return log_q.argmax(dim=-1)
        position = torch.full_like(seeds, length)
        return draw(log_q, uniforms(seeds, position, Role.DRAW)).clamp_min(0)


class _Batch:
    """The rows that are being decoded, their tokens and metrics so far."""

    def __init__(self, rows: list[Row], device: str) -> None:
        self.rows = rows
        self.seeds = as_seeds([row.seed for row in rows], device)
        self.limits = torch.tensor([row.max_new_tokens for row in rows], device=device)
        self.open = torch.ones(len(rows), dtype=torch.bool, device=device)
        self.length = 0
        self._tokens: list[Tensor] = []
        self._metrics: list[Tensor] = []

    def append(self, tokens: Tensor, metrics: Tensor | None) -> None:
        """Add one token [rows], and its metrics, to every row."""
        self._tokens.append(tokens)
        if metrics is not None:
            self._metrics.append(metrics)
        self.length += 1

    def collect(self, done: Tensor, stopped: Tensor, broken: Tensor) -> Iterator[Drawn]:
        """The rows that ended with this token."""
        chosen = done.nonzero().flatten()
        tokens = torch.stack(self._tokens, dim=1)[chosen].tolist()
        metrics = torch.stack(self._metrics, dim=1)[chosen].cpu() if self._metrics else None
        for place, index in enumerate(chosen.tolist()):
            reason = "failed" if broken[index] else "stop" if stopped[index] else "length"
            summary = None if metrics is None or reason == "failed" else metrics[place]
            yield Drawn(
                row=self.rows[index],
                token_ids=[] if reason == "failed" else tokens[place],
                finish_reason=reason,
                diagnostics=None if summary is None else diagnostics.summarize(summary),
            )

    def compact(self) -> Tensor | None:
        """Drop the finished rows once a quarter is finished; the kept indices, or None."""
        finished = int((~self.open).sum())
        if finished * 4 < len(self.rows):
            return None
        kept = self.open.nonzero().flatten()
        self.rows = [self.rows[index] for index in kept.tolist()]
        self.seeds, self.limits, self.open = self.seeds[kept], self.limits[kept], self.open[kept]
        self._tokens = [tokens[kept] for tokens in self._tokens]
        self._metrics = [metrics[kept] for metrics in self._metrics]
        return kept
