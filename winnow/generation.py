"""The generate stage: every prompt × sample of a block gets one completion, through any number of crashes."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from winnow import jsonl
from winnow.errors import UserError
from winnow.images import ImageError
from winnow.journal import Journal
from winnow.progress import Progress
from winnow.records import Completion, Prompt, completion_id, completion_seed
from winnow.verdicts import Verdicts

if TYPE_CHECKING:
    from winnow.qstar.engine import Drawn
    from winnow.qstar.sampler import OptimalSampler
    from winnow.qstar.scheduler import Row

log = logging.getLogger("generate")


DIGITS = 6
"""Of a log-probability; a float32 has no more."""


class Missing(NamedTuple):
    """A completion that is still to be drawn."""

    prompt: Prompt
    sample: int
    id: str


Finished = tuple[Completion, "dict[str, Any] | None"]
"""A completion and its q* diagnostics; none where one model ran."""


@dataclass(frozen=True)
class Block:
    """What one job draws.

    Attributes:
        prompts: the prompts of a shard, in order; a pass over them may read a file.
        samples: the sample indices of the block.
        seed: the run's seed.
        step, alpha: the arm.
        model, teacher: manifest hashes, as they go into each completion.
    """

    prompts: Collection[Prompt]
    samples: range
    seed: int
    step: str
    alpha: str
    model: str
    teacher: str | None

    def ids(self) -> Iterable[tuple[Prompt, int, str]]:
        """(prompt, sample, completion id), in the order of the output."""
        for prompt in self.prompts:
            for sample in self.samples:
                yield prompt, sample, completion_id(prompt.id, sample)

    def parameters(self, **others: Any) -> dict[str, Any]:
        """What determines the completions, for the journal's header; `others` are added."""
        digest = hashlib.sha256()
        for prompt in self.prompts:
            told = asdict(prompt)
            if prompt.image_sha256 is None:
                # As before there was such a key: a journal without images goes on.
                del told["image_sha256"]
            digest.update(orjson.dumps(told))
        return {
            "prompts": digest.hexdigest()[:16],
            "samples": [self.samples.start, self.samples.stop],
            "seed": self.seed,
            "step": self.step,
            "alpha": self.alpha,
            "model": self.model,
            "teacher": self.teacher,
            **others,
        }


@dataclass(frozen=True)
class Terms:
    """How completions are drawn in process.

    Attributes:
        batch_size: completions in progress at a time.
        keep_ids, keep_logprobs: keep token ids, and the log-probability of each token.
        max_failed_fraction: of the block, whose images cannot be shown or whose model gave NaN.
    """

    batch_size: int
    keep_ids: bool = False
    keep_logprobs: bool = False
    max_failed_fraction: float = 0.0


@dataclass(frozen=True)
class Lacking:
    """What a block's journal lacks when a pass comes to it, in the output's order; never all in memory."""

    block: Block
    journal: Journal

    def __iter__(self) -> Iterator[Missing]:
        for prompt, sample, id in self.block.ids():
            if id not in self.journal:
                yield Missing(prompt, sample, id)


def generate(
    block: Block,
    journal: Journal,
    source: Callable[[Iterable[Missing]], Generator[Finished]],
    scorer: str | None = None,
) -> None:
    """Draw what the journal lacks.

    Args:
        block: what the job draws.
        journal: gets each completion as it is finished.
        source: draws what is missing; called only if that is anything.
        scorer: whose verdicts are told beside the progress.
    """
    total = len(block.prompts) * len(block.samples)
    if len(journal):
        log.info("resumed %s of %s completions", f"{len(journal):,}", f"{total:,}")
    missing = Lacking(block, journal)
    if next(iter(missing), None) is None:
        return
    verdicts = Verdicts(scorer) if scorer else None
    references = {each.prompt.id: each.prompt.reference for each in missing} if verdicts else {}
    # Closed at once, not when it is collected: a server may stand behind it.
    with (
        Progress(total, len(journal), samples=len(block.samples), verdicts=verdicts or "") as progress,
        closing(source(missing)) as drawn,
    ):
        for completion, diagnostics in drawn:
            journal.append(completion.id, {"completion": completion.to_row(), "diagnostics": diagnostics})
            if verdicts:
                verdicts.add(completion, references[completion.prompt_id])
            progress.add(completion.completion_tokens)


def completions(
    block: Block, missing: Iterable[Missing], sampler: OptimalSampler, terms: Terms
) -> Generator[Finished]:
    """Yield the missing completions as they finish; first, with the reason, those that cannot be drawn.

    Last come those whose model gave NaN: the others are not kept waiting by a broken one.

    Args:
        block: what the job draws.
        missing: what its journal lacks.
        sampler: draws.
        terms: how.

    Raises:
        UserError: more than is allowed fail. None of them is in the journal then.
    """
    from winnow.qstar.sampler import PromptTooLong

    rows: list[Row] = []
    origin: dict[str, Missing] = {}
    too_long: list[str] = []
    failed: list[Completion] = []
    allowed = terms.max_failed_fraction * len(block.prompts) * len(block.samples)
    for _, group in itertools.groupby(missing, key=lambda each: each.prompt.id):
        samples = list(group)
        prompt = samples[0].prompt
        seeds = [completion_seed(block.seed, prompt.id, each.sample) for each in samples]
        try:
            rows += sampler.rows(prompt, [(each.id, seed) for each, seed in zip(samples, seeds, strict=True)])
            origin |= {each.id: each for each in samples}
        except PromptTooLong as reason:
            too_long.append(prompt.id)
            for each, seed in zip(samples, seeds, strict=True):
                yield _without_text(block, each, seed, "prompt_too_long", str(reason)), None
        except ImageError as error:
            told = str(error).replace("\n", ";")
            failed += [
                _without_text(block, each, seed, "failed", told)
                for each, seed in zip(samples, seeds, strict=True)
            ]
            if len(failed) > allowed:
                raise UserError(
                    error.where,
                    f"{error.found}; {len(failed)} completions have failed so far",
                    f"{error.expected}, and at most {int(allowed)} that fail (--max_failed_fraction)",
                    error.mend,
                ) from None
    if too_long:
        log.warning(
            "%d prompts are longer than the context (the first: %s); they are in the ledger as "
            "prompt_too_long",
            len(too_long),
            min(too_long),
        )
    if failed:
        log.warning("%d completions failed; the ledger has them. First: %s", len(failed), failed[0].detail)
    for completion in failed:
        yield completion, None
    broken: list[Completion] = []
    for drawn in sampler.draw(rows, terms.batch_size):
        completion = _completion(block, origin[drawn.row.id], drawn, sampler, terms)
        if drawn.detail is None:
            yield completion, drawn.diagnostics
        else:
            broken.append(completion)
    if broken and len(failed) + len(broken) > allowed:
        raise UserError(
            f"completion {broken[0].id}",
            f"{broken[0].detail}; {len(broken)} of {len(rows)} completions ended so",
            f"at most {int(allowed)} that fail (--max_failed_fraction)",
            "check the model's weights (training that diverged?) and the dtype; "
            "what was drawn is kept, the same command draws the rest again",
        )
    for completion in broken:
        yield completion, None


def finish(block: Block, journal: Journal, output: Path, diagnostics: Path | None) -> None:
    """Write the journal's entries in order under their final names, and remove it."""
    write(block, journal, output, diagnostics)
    journal.remove()


def write(block: Block, journal: Journal, output: Path, diagnostics: Path | None) -> None:
    """Write the journal's entries in order under their final names; the completions last."""
    if diagnostics is not None:
        with jsonl.writer(diagnostics) as append:
            for prompt, sample, completion in block.ids():
                found = journal.read(completion)["diagnostics"]
                if found is not None:
                    append({"id": completion, "prompt_id": prompt.id, "sample": sample, **found})
    # Not through <output>.partial, which is the journal itself.
    unsorted = output.with_name(f"{output.name}.sorted")
    with jsonl.writer(unsorted) as append:
        for _, _, completion in block.ids():
            append(journal.read(completion)["completion"])
    unsorted.replace(output)


def _without_text(block: Block, missing: Missing, seed: int, reason: str, detail: str) -> Completion:
    return Completion(
        missing.id, missing.prompt.id, missing.sample, seed, "", reason, 0, 0,
        block.step, block.alpha, block.model, block.teacher, None, detail,
    )  # fmt: skip


def _completion(
    block: Block, missing: Missing, drawn: Drawn, sampler: OptimalSampler, terms: Terms
) -> Completion:
    return Completion(
        id=drawn.row.id,
        prompt_id=missing.prompt.id,
        sample=missing.sample,
        seed=drawn.row.seed,
        text=sampler.text(drawn),
        finish_reason=drawn.finish_reason,
        prompt_tokens=len(drawn.row.prompt),
        completion_tokens=len(drawn.token_ids),
        step=block.step,
        alpha=block.alpha,
        model=block.model,
        teacher=block.teacher,
        token_ids=drawn.token_ids if terms.keep_ids else None,
        detail=drawn.detail,
        logprobs=[round(each, DIGITS) for each in drawn.logprobs] if terms.keep_logprobs else None,
    )
