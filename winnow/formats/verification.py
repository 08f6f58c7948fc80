"""Read a file of training data back and hold every row against the records that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Answered, Conversation, Format, Pair, Unit, differing
from winnow.formats.rendering import Rendering
from winnow.formats.rescoring import judged_again, rescored
from winnow.formats.sources import Source, grouped
from winnow.images import located
from winnow.manifest import file_hash
from winnow.prompt_images import check_unchanged
from winnow.records import NOT_GENERATED, Prompt
from winnow.scoring import AnyScorer, Score

HASHES = "image_sha256"
"""A data set's own field: the SHA-256 of each image, in the order in which they are shown."""
WINDOW = 256
"""Rows that are verified at a time: scorers that take many completions take those of a window."""


@dataclass(frozen=True)
class Checks:
    """What a row has to pass, beside reading back as what was selected.

    Attributes:
        scorers: run again on the text that was read back, or where that cannot be, compared by record.
        rendering: the chat template of the model to be trained; None leaves it out.
        image_root: where images lie; None leaves them out.
        deciding: the scorer that selected the completions; None takes all of them for it.
    """

    scorers: Mapping[str, AnyScorer] = field(default_factory=dict)
    rendering: Rendering | None = None
    image_root: Path | None = None
    deciding: str | None = None


@dataclass
class Verified:
    """A file whose rows all passed.

    Attributes:
        rows: how many.
        images: whether any has images.
        split_off: rows of completions whose reasoning a server has split off: it is not in the file.
    """

    rows: int = 0
    images: bool = False
    split_off: int = 0


def verify(path: Path, fmt: Format, sources: Iterable[Source], checks: Checks) -> Verified:
    """Hold each row of a file against what it was made of.

    Raises:
        UserError: a row that reads back differently, whose prompt or completion the chat template changes,
            whose images are not those that were shown, or whose verifier now says otherwise.
    """
    verified = Verified()
    back = files.rows(path)
    selected = grouped(fmt.takes, sources)
    while window := [
        (_read_back(path, fmt, wanted, members, back), members)
        for wanted, members in islice(selected, WINDOW)
    ]:
        drawn = [each for unit, members in window for each in _drawn(fmt, unit, members)]
        texts = [(conversation.completion, source) for conversation, source in drawn]
        judged = iter(judged_again(checks.scorers, texts))
        for unit, members in window:
            try:
                _check(fmt, unit, members, checks, judged)
            except UserError as error:
                raise error.at(f"{path}, completion {members[0].row['id']}") from error
            verified.rows += 1
            verified.images = verified.images or bool(members[0].prompt.images)
            verified.split_off += any(each.row.get("reasoning") for each in members)
    if next(back, None) is not None:
        raise UserError(
            path,
            f"more than the {verified.rows} rows that were selected",
            f"{verified.rows} rows",
            "report this",
        )
    return verified


def _read_back(
    path: Path, fmt: Format, wanted: Unit, members: list[Source], back: Iterator[tuple[str, dict[str, Any]]]
) -> Unit:
    """The next row of the file, which has to be what was selected."""
    where, found = next(back, (str(path), None))
    if found is None:
        raise _unfit(path, members[0].row, "its row does not read back: the file ends before it")
    unit = files.unit_of(fmt, found, where)
    difference = _difference(fmt, found, unit, wanted, where)
    if difference:
        told = f"its row does not read back as what was selected: {difference}"
        raise _unfit(path, members[0].row, told)
    return unit


def _drawn(fmt: Format, unit: Unit, members: list[Source]) -> Iterator[tuple[Conversation, Source]]:
    """The completions of a row that a model produced, as they were read back."""
    read = _completions(fmt, unit)
    for conversation, source in zip(read, members, strict=bool(read)):
        if source.row.get("finish_reason") not in NOT_GENERATED:
            yield conversation, source


def _difference(fmt: Format, row: Mapping[str, Any], found: Unit, wanted: Unit, where: str) -> str | None:
    """The first thing in which a row differs from what it was made of."""
    held = differing(fmt, found, wanted)
    if held is not None:
        return held
    made = files.row_of(fmt, wanted, where)
    keys = [key for key in {**made, **row} if made.get(key) != row.get(key)]
    return f"another {keys[0]!r}" if keys else None


def _check(
    fmt: Format, unit: Unit, members: list[Source], checks: Checks, judged: Iterator[Mapping[str, Score]]
) -> None:
    for conversation, source in _drawn(fmt, unit, members):
        rescored(checks.scorers, conversation.completion, source, checks.deciding, next(judged))
        if checks.rendering is not None and fmt.takes != "all" and conversation.messages:
            checks.rendering.check(conversation)
    if checks.image_root is not None:
        _check_images(unit, members[0].prompt, checks.image_root)


def _completions(fmt: Format, unit: Unit) -> list[Conversation]:
    """The conversations that a row holds; none for a format without completions."""
    if isinstance(unit, Pair):
        return [unit.chosen, unit.rejected]
    if isinstance(unit, Answered):
        return [Conversation(unit.messages, text, unit.images, unit.origin) for text in unit.completions]
    return [unit] if {"completion", "choice"} & set(fmt.holds) else []


def _check_images(unit: Unit, prompt: Prompt, root: Path) -> None:
    """Resolve the images of a row again, in its order.

    Raises:
        UserError: one is not there, lies outside the root, or is another than was shown.
    """
    images = unit.chosen.images if isinstance(unit, Pair) else unit.images
    paths = located(images or [], root, f"prompt {prompt.id!r}")
    if not images:
        return
    # The digests are in the order of the prompt's images, which the row's own may not have.
    shown = located(prompt.images or [], root, f"prompt {prompt.id!r}")
    check_unchanged(shown, prompt.image_sha256, f"prompt {prompt.id!r}")
    hashes = prompt.metadata.get(HASHES)
    if hashes is None:
        return
    found = [file_hash(path) for path in paths]
    if found != hashes:
        place = next((i for i, pair in enumerate(zip(found, hashes, strict=False)) if pair[0] != pair[1]), 0)
        raise UserError(
            f"prompt {prompt.id!r}",
            f"image {place + 1} of {len(found)}, {images[place]!r}, has SHA-256 {found[place][:12]}",
            f"what was shown: {[each[:12] for each in hashes]}",
            "put the images back that the completions were drawn with, or make the completions again",
        )


def _unfit(path: Path, row: dict[str, Any], found: str) -> UserError:
    return UserError(
        path,
        f"completion {row['id']}: {found}",
        "every exported row to carry its completion unchanged and to verify again",
        "delete the scored file of this completion and run again; if it stays, report it",
    )
