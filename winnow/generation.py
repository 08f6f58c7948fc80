"""The generate stage: every prompt × sample of a block gets one completion, through any number of crashes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from winnow import jsonl
from winnow.journal import Journal
from winnow.progress import Progress
from winnow.records import Completion, Prompt, completion_id, completion_seed

if TYPE_CHECKING:
    from winnow.qstar.engine import Drawn
    from winnow.qstar.sampler import OptimalSampler
    from winnow.qstar.scheduler import Row

log = logging.getLogger("generate")


@dataclass(frozen=True)
class Block:
    """What one job draws.

    Attributes:
        prompts: the prompts of a shard, in order.
        samples: the sample indices of the block.
        seed: the run's seed.
        step, alpha: the arm.
        model, teacher: manifest hashes, as they go into each completion.
    """

    prompts: list[Prompt]
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
            digest.update(orjson.dumps(asdict(prompt)))
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


def generate(
    block: Block,
    journal: Journal,
    load: Callable[[], OptimalSampler],
    batch_size: int,
    save_token_ids: bool,
) -> None:
    """Draw what the journal lacks; `load` is called only if that is anything."""
    total = len(block.prompts) * len(block.samples)
    if len(journal):
        log.info("resumed %s of %s completions", f"{len(journal):,}", f"{total:,}")
    missing = [entry for entry in block.ids() if entry[2] not in journal]
    if not missing:
        return
    sampler = load()
    with Progress(total, len(journal)) as progress:
        rows = _rows(block, missing, sampler, journal, progress)
        origin = {completion: (prompt, sample) for prompt, sample, completion in missing}
        for drawn in sampler.draw(rows, batch_size):
            completion = _completion(block, *origin[drawn.row.id], drawn, sampler, save_token_ids)
            journal.append(
                drawn.row.id, {"completion": completion.to_row(), "diagnostics": drawn.diagnostics}
            )
            progress.add(len(drawn.token_ids))


def finish(block: Block, journal: Journal, output: Path, diagnostics: Path | None) -> None:
    """Write the journal's entries in order under their final names; the completions last."""
    if diagnostics is not None:
        with jsonl.writer(diagnostics) as write:
            for prompt, sample, completion in block.ids():
                found = journal.read(completion)["diagnostics"]
                if found is not None:
                    write({"id": completion, "prompt_id": prompt.id, "sample": sample, **found})
    # Not through <output>.partial, which is the journal itself.
    unsorted = output.with_name(f"{output.name}.sorted")
    with jsonl.writer(unsorted) as write:
        for _, _, completion in block.ids():
            write(journal.read(completion)["completion"])
    unsorted.replace(output)
    journal.remove()


def _rows(
    block: Block,
    missing: list[tuple[Prompt, int, str]],
    sampler: OptimalSampler,
    journal: Journal,
    progress: Progress,
) -> list[Row]:
    """What the engine shall draw; prompts that do not fit are entered at once, with the reason."""
    from winnow.qstar.sampler import PromptTooLong

    rows: list[Row] = []
    too_long: set[str] = set()
    for prompt, sample, completion in missing:
        seed = completion_seed(block.seed, prompt.id, sample)
        try:
            rows.append(sampler.row(prompt, completion, seed))
        except PromptTooLong as reason:
            entry = Completion(
                completion, prompt.id, sample, seed, "", "prompt_too_long", 0, 0,
                block.step, block.alpha, block.model, block.teacher, None, str(reason),
            )  # fmt: skip
            journal.append(completion, {"completion": entry.to_row(), "diagnostics": None})
            progress.add(0)
            too_long.add(prompt.id)
    if too_long:
        log.warning(
            "%d prompts are longer than the context (the first: %s); they are in the ledger as "
            "prompt_too_long",
            len(too_long),
            sorted(too_long)[0],
        )
    return rows


def _completion(
    block: Block,
    prompt: Prompt,
    sample: int,
    drawn: Drawn,
    sampler: OptimalSampler,
    save_token_ids: bool,
) -> Completion:
    failed = drawn.finish_reason == "failed"
    return Completion(
        id=drawn.row.id,
        prompt_id=prompt.id,
        sample=sample,
        seed=drawn.row.seed,
        text=sampler.text(drawn),
        finish_reason=drawn.finish_reason,
        prompt_tokens=len(drawn.row.prompt),
        completion_tokens=len(drawn.token_ids),
        step=block.step,
        alpha=block.alpha,
        model=block.model,
        teacher=block.teacher,
        token_ids=drawn.token_ids if save_token_ids else None,
        detail="the model gave NaN logits" if failed else None,
    )
