"""The engine: rows pass through slots, and each round gives every slot some tokens of q*.

A token depends on its seed, its place and the tokens before it, and on nothing else: not on the batch,
the slot, or how many tokens were drafted in one round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from winnow.arms import Alpha
from winnow.prompt_images import check_unchanged
from winnow.qstar import diagnostics, verification
from winnow.qstar.controller import Controller
from winnow.qstar.diagnostics import Values
from winnow.qstar.graphs import Graphs
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposer
from winnow.qstar.rounds import Round, Rounds
from winnow.qstar.scheduler import Row, Sequence, Slots
from winnow.qstar.stops import StopStrings
from winnow.qstar.verification import Verify

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """One finished completion.

    Attributes:
        row: what was asked for.
        token_ids: its tokens, the end-of-sequence token included when it was drawn.
        logprobs: of each token, in nats, under what it was drawn from: the one model or q*, at the
            temperature, after top-k and top-p.
        finish_reason: `stop`, `length`, or `failed` where a model gave NaN.
        metrics: of each token, [tokens, len(diagnostics.METRICS)]; None where one model ran.
        detail: which model failed; None otherwise.
    """

    row: Row
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    metrics: Values | None
    detail: str | None = None

    @property
    def diagnostics(self) -> dict[str, Any] | None:
        """See `diagnostics.summarize`; None where one model ran, or failed."""
        return None if self.metrics is None else diagnostics.summarize(self.metrics)


class Engine:
    """Draws rows through the slots of a proposer.

    Args:
        proposer: the models, how they are run.
        controller: how deep they draft.
        alpha: how to mix.
        parameters: how to draw.
        eos_ids: ids that end a row.
        names: of the models, for messages; the second is the teacher where both run.
        stops: strings that end a row.
        verify: how a round is settled; None is what fits the device.
        graphs: how rounds are recorded; None is not at all.
    """

    def __init__(
        self,
        proposer: Proposer,
        controller: Controller,
        alpha: Alpha,
        parameters: SamplingParameters,
        eos_ids: frozenset[int],
        names: tuple[str, ...],
        stops: StopStrings | None = None,
        verify: Verify | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        self._proposer, self.controller = proposer, controller
        self._eos, self._names, self._stops = eos_ids, names, stops
        verify = verify or verification.choose(alpha, parameters, proposer.device)
        self._rounds = Rounds(proposer, parameters, verify, graphs)

    @torch.inference_mode()
    def run(self, slots: Slots) -> Iterator[Drawn]:
        """Yield each completion as soon as it is finished, in no particular order."""
        while slots:
            admitted = slots.fill()
            for source, target in slots.close():
                self._proposer.move(source, target)
            if not slots.active:
                return
            if admitted:
                images = {slot: row.images for slot, row in admitted if row.images}
                for _, row in admitted:
                    # Opened only now, perhaps hours after the prompt was tokenized.
                    check_unchanged(row.images, row.digests, row.id)
                self._proposer.admit([(slot, row.prompts) for slot, row in admitted], images)
            yield from self._advance(slots.active)

    def _advance(self, active: list[Sequence]) -> Iterator[Drawn]:
        depth = self.controller.choose(len(active))
        start = time.perf_counter()
        found = self._rounds.draw(active, depth)
        seconds = time.perf_counter() - start if self._rounds.settled else None
        self.controller.observe(len(active), depth, seconds, found.accepted)
        self._proposer.advance([len(tokens) for tokens in found.tokens])
        for slot, sequence in enumerate(active):
            self._take(sequence, found, slot)
            if any(found.lost[slot]):
                # Drafts that were thrown away lie beyond the length, and tokens after the end below it.
                self._proposer.wipe(slot, whole=sequence.finish_reason is not None)
            if sequence.finish_reason is not None:
                yield _drawn(sequence)

    def _take(self, sequence: Sequence, found: Round, slot: int) -> None:
        """Add a round's tokens up to the end of the completion, or up to where a model failed."""
        tokens, lost = found.tokens[slot], found.lost[slot]
        sound = next((place for place, which in enumerate(lost[: len(tokens)]) if which), len(tokens))
        metrics = None if found.metrics is None else found.metrics[slot]
        self._add(sequence, tokens[:sound], found.logprobs[slot], metrics)
        if sound < len(tokens) and sequence.finish_reason is None:
            sequence.finish_reason = "failed"
            name = self._names[lost[sound] - 1]
            sequence.detail = f"{name} gave NaN logits for the token in place {len(sequence.tokens) + 1}"

    def _add(
        self, sequence: Sequence, tokens: list[int], logprobs: list[float], metrics: Values | None
    ) -> None:
        room = sequence.row.max_new_tokens - len(sequence.tokens)
        taken = tokens[:room]
        ends = [place for place, token in enumerate(taken) if token in self._eos]
        if ends:
            taken = taken[: ends[0] + 1]
            sequence.finish_reason = "stop"
        elif len(taken) == room:
            sequence.finish_reason = "length"
        sequence.tokens += taken
        stopped = None if self._stops is None else self._stops.end(sequence.tokens, len(taken))
        if stopped is not None:
            taken = taken[: len(taken) - (len(sequence.tokens) - stopped)]
            del sequence.tokens[stopped:]
            sequence.finish_reason = "stop"
        sequence.logprobs += logprobs
        del sequence.logprobs[len(sequence.tokens) :]
        if metrics is not None:
            sequence.metrics.append(metrics[: len(taken)])


def _drawn(sequence: Sequence) -> Drawn:
    failed = sequence.finish_reason == "failed"
    return Drawn(
        row=sequence.row,
        token_ids=[] if failed else sequence.tokens,
        logprobs=[] if failed else sequence.logprobs,
        finish_reason=sequence.finish_reason or "",
        metrics=None if failed else sequence.table,
        detail=sequence.detail,
    )
