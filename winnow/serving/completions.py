"""The generate stage by way of served models: what the journal lacks, from a client."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing
from winnow.qstar.diagnostics import summarize
from winnow.records import Completion
from winnow.serving.answers import Choice
from winnow.serving.client import Client
from winnow.serving.failed import Failed
from winnow.serving.mixture import Mixture
from winnow.serving.requests import asks, prompt_seed

log = logging.getLogger("generate")


@dataclass(frozen=True)
class Terms:
    """How a block is asked for.

    Attributes:
        most: completions of one request.
        max_failed_fraction: of the block.
        keep_ids, keep_logprobs: keep token ids, and the log-probability of each token.
        mixture: of a served q*.
    """

    most: int
    max_failed_fraction: float
    keep_ids: bool
    keep_logprobs: bool = False
    mixture: Mixture | None = None


def completions(
    block: Block, missing: Iterable[Missing], client: Client[Choice], terms: Terms
) -> Generator[Finished]:
    """Yield the missing completions as they come; those that failed for good at the end, with the reason.

    Args:
        block: what the job draws.
        missing: what its journal lacks; gone through once, or twice for a q*.
        client: asks the servers.
        terms: see `Terms`.

    Raises:
        UserError: too many failed. None of them is in the journal then: the next attempt asks again.
    """
    unfit = list(_unfit(missing, terms.mixture))
    for each, reason in unfit:
        seed = prompt_seed(block.seed, each.prompt.id, each.sample)
        yield _completion(block, each, seed, reason, terms), None
    left_out = {each.id for each, _ in unfit}
    # Those that are in flight: what is asked for is taken up only when a request is free.
    origin: dict[str, Missing] = {}

    def wanted() -> Iterator[Missing]:
        for each in missing:
            if each.id not in left_out:
                origin[each.id] = each
                yield each

    told = terms.mixture.told if terms.mixture else None
    allowed = terms.max_failed_fraction * len(block.prompts) * len(block.samples)
    failed: list[Completion] = []
    for id, seed, found in client.draw(asks(wanted(), block.alpha != "policy", block.seed, terms.most)):
        if terms.keep_logprobs and isinstance(found, Choice) and found.logprobs is None:
            found = Failed("failed", "the server tells no log-probabilities")
        completion = _completion(block, origin.pop(id), seed, found, terms)
        if completion.finish_reason == "failed":
            failed.append(completion)
            if len(failed) > allowed:
                raise _too_many(failed, allowed)
        else:
            values = told.take(seed, found.tokens) if told and isinstance(found, Choice) else None
            yield completion, None if values is None else summarize(values)
    if failed:
        log.warning("%d completions failed; the ledger has them. %s", len(failed), _reasons(failed))
    for completion in failed:
        yield completion, None


def _unfit(missing: Iterable[Missing], mixture: Mixture | None) -> Iterator[tuple[Missing, Failed]]:
    """What the student has no room for; whether the server has, it says itself."""
    if mixture is None:
        return
    for _, group in itertools.groupby(missing, key=lambda each: each.prompt.id):
        samples = list(group)
        if reason := mixture.too_long(samples[0].prompt):
            yield from ((each, Failed("prompt_too_long", reason)) for each in samples)


def _completion(
    block: Block, missing: Missing, seed: int, found: Choice | Failed, terms: Terms
) -> Completion:
    drawn = found if isinstance(found, Choice) else None
    return Completion(
        id=missing.id,
        prompt_id=missing.prompt.id,
        sample=missing.sample,
        seed=seed,
        text=drawn.text if drawn else "",
        finish_reason=found.finish_reason if isinstance(found, Choice) else found.reason,
        prompt_tokens=_prompt_tokens(missing, drawn, terms.mixture) if drawn else 0,
        completion_tokens=drawn.tokens if drawn else 0,
        step=block.step,
        alpha=block.alpha,
        model=block.model,
        teacher=block.teacher,
        token_ids=drawn.token_ids if drawn and terms.keep_ids else None,
        reasoning=drawn.reasoning if drawn else None,
        detail=found.detail if isinstance(found, Failed) else None,
        logprobs=drawn.logprobs if drawn and terms.keep_logprobs else None,
    )


def _prompt_tokens(missing: Missing, drawn: Choice, mixture: Mixture | None) -> int:
    # Of q* the student's, as in process; the server counts the teacher's.
    return len(mixture.student.prompt(missing.prompt)) if mixture else drawn.prompt_tokens


def _too_many(failed: list[Completion], allowed: float) -> UserError:
    return UserError(
        f"completion {failed[-1].id}",
        f"{len(failed)} completions have failed. {_reasons(failed)}",
        f"at most {int(allowed)} (--max_failed_fraction)",
        "see the server's log; what is finished is kept, the same command asks for the rest again",
    )


def _reasons(failed: list[Completion]) -> str:
    counts = Counter((each.detail or "")[:200] for each in failed)
    return "; ".join(f"{count} times: {reason}" for reason, count in counts.most_common(3))
