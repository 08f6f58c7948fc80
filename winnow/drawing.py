"""Blocks that one job draws one after the other: a model is loaded, or served, once for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing, Terms, completions, generate, write
from winnow.journal import FinishedElsewhere, Journal

if TYPE_CHECKING:
    from winnow.qstar import OptimalSampler

log = logging.getLogger("generate")

PLACE = "{block}"
"""In the name of an output: the block's number."""


@dataclass(frozen=True)
class Work:
    """A block and where it goes.

    Attributes:
        block: what is drawn.
        output: the completions.
        diagnostics: those of q*, if they are wanted.
        header: of the journal.
    """

    block: Block
    output: Path
    diagnostics: Path | None
    header: Mapping[str, Any]


class Source(Protocol):
    """Where completions come from."""

    def draw(self, block: Block, missing: Iterable[Missing]) -> Generator[Finished]:
        """Yield the missing completions of a block, in any order."""
        ...


def outputs(given: Path, numbers: list[int]) -> list[Path]:
    """The output of each block.

    Raises:
        UserError: one name for several blocks, or a block twice.
    """
    if len(numbers) > 1 and PLACE not in given.name:
        raise UserError(
            "--output",
            f"{given}, for {len(numbers)} blocks",
            f"a name with {PLACE} in it",
            f"give {given.with_suffix('')}.block-{PLACE}{given.suffix}",
        )
    if len(set(numbers)) < len(numbers):
        raise UserError("--block", f"{numbers}", "each block once", "remove the second one")
    return [given.with_name(given.name.replace(PLACE, str(number))) for number in numbers]


@contextmanager
def journals(
    works: list[Work], seen: Callable[[Mapping[str, Any], bool], None]
) -> Iterator[list[tuple[Work, Journal]]]:
    """The blocks that are still to be finished, each with its journal, all locked.

    Args:
        works: the blocks; in this order for every job, so that no two jobs wait for each other.
        seen: told of each entry; see `Journal`.

    Raises:
        UserError: a journal of other parameters.
    """
    found = []
    with ExitStack() as stack:
        for work in sorted(works, key=lambda each: each.output):
            try:
                journal = stack.enter_context(Journal(work.output, work.header, seen))
            except FinishedElsewhere:
                log.info("%s: finished by another process meanwhile", work.output)
            else:
                found.append((work, journal))
        yield found


def draw_all(found: list[tuple[Work, Journal]], source: Source, scorer: str | None) -> None:
    """Draw what the journals lack, and write each block as soon as it is whole.

    The journals stay until all blocks are: the next attempt would else draw those that are finished again.
    """
    for work, journal in found:

        def missing_of(missing: Iterable[Missing], block: Block = work.block) -> Generator[Finished]:
            return source.draw(block, missing)

        generate(work.block, journal, missing_of, scorer)
        write(work.block, journal, work.output, work.diagnostics)
    for _, journal in found:
        journal.remove()


class InProcess:
    """Draws in this process, or in one worker for each of several GPUs; these load the model for each block.

    Args:
        load: makes the sampler; has to be picklable.
        devices: GPUs of the job.
        terms: how.
    """

    def __init__(
        self,
        load: Callable[[], OptimalSampler],
        devices: list[str],
        terms: Terms,
    ) -> None:
        self._load, self._devices, self._terms = load, devices, terms
        self._sampler: OptimalSampler | None = None

    def draw(self, block: Block, missing: Iterable[Missing]) -> Generator[Finished]:
        """Yield the missing completions."""
        if len(self._devices) > 1:
            # Only now: multiprocessing is not needed else.
            from winnow.workers import draw_on_all

            return draw_on_all(self._devices, self._load, block, missing, self._terms)
        if self._sampler is None:
            self._sampler = self._load()
        return completions(block, missing, self._sampler, self._terms)
