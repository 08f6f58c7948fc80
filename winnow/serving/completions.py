"""The generate stage by way of served models: what the journal lacks, from a client."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator

from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing
from winnow.records import Completion
from winnow.serving.answers import Choice
from winnow.serving.client import Client, Failed
from winnow.serving.requests import asks

log = logging.getLogger("generate")


def completions(
    block: Block,
    missing: list[Missing],
    client: Client,
    most: int,
    max_failed_fraction: float,
    keep_ids: bool,
) -> Generator[Finished]:
    """Yield the missing completions as they come; those that failed for good at the end, with the reason.

    Args:
        block: what the job draws.
        missing: what its journal lacks.
        client: asks the servers.
        most: completions of one request.
        max_failed_fraction: of the block.
        keep_ids: keep token ids.

    Raises:
        UserError: more failed than that. None of them is in the journal then: the next attempt asks again.
    """
    origin = {each.id: each for each in missing}
    allowed = max_failed_fraction * len(block.prompts) * len(block.samples)
    failed: list[Completion] = []
    for id, seed, found in client.draw(asks(missing, block.alpha == "teacher", block.seed, most)):
        completion = _completion(block, origin[id], seed, found, keep_ids)
        if completion.finish_reason != "failed":
            yield completion, None
            continue
        failed.append(completion)
        if len(failed) > allowed:
            raise _too_many(failed, allowed)
    if failed:
        log.warning("%d completions failed; the ledger has them. %s", len(failed), _reasons(failed))
    for completion in failed:
        yield completion, None


def _completion(
    block: Block, missing: Missing, seed: int, found: Choice | Failed, keep_ids: bool
) -> Completion:
    drawn = found if isinstance(found, Choice) else None
    return Completion(
        id=missing.id,
        prompt_id=missing.prompt.id,
        sample=missing.sample,
        seed=seed,
        text=drawn.text if drawn else "",
        finish_reason=found.finish_reason if isinstance(found, Choice) else found.reason,
        prompt_tokens=drawn.prompt_tokens if drawn else 0,
        completion_tokens=drawn.tokens if drawn else 0,
        step=block.step,
        alpha=block.alpha,
        model=block.model,
        teacher=block.teacher,
        token_ids=drawn.token_ids if drawn and keep_ids else None,
        reasoning=drawn.reasoning if drawn else None,
        detail=found.detail if isinstance(found, Failed) else None,
    )


def _too_many(failed: list[Completion], allowed: float) -> UserError:
    return UserError(
        f"completion {failed[-1].id}",
        f"{len(failed)} completions have failed. {_reasons(failed)}",
        f"at most {allowed:.0f} (--max_failed_fraction)",
        "see the server's log; what is finished is kept, the same command asks for the rest again",
    )


def _reasons(failed: list[Completion]) -> str:
    counts = Counter((each.detail or "")[:200] for each in failed)
    return "; ".join(f"{count} times: {reason}" for reason, count in counts.most_common(3))
