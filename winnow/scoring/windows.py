"""Scorers of many completions at a time: a window of whole prompts after the other, in bounded memory."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeGuard

from winnow.errors import UserError
from winnow.journal import Journal
from winnow.records import Prompt, reference_id
from winnow.scoring.registry import is_text_scorer, parts_first
from winnow.scoring.score import AnyScorer, Combiner, Item, ItemScorer, Score
from winnow.scoring.streams import Paired, Tally, as_row, not_generated, text_score

log = logging.getLogger(__name__)

WINDOW = 2048
"""Completions that are scored at a time, and more only to end with a whole prompt."""
TOLD_SECONDS = 60.0


def scored_in_windows(
    rows: Iterable[Paired], tallies: list[Tally], journal: Journal | None
) -> Iterator[dict[str, Any]]:
    """Yield each row with its scores, in order.

    Args:
        rows: completions with their prompts.
        tallies: the scorers, in the config's order.
        journal: keeps the scores of the costly scorers; None where there is none of them.

    Raises:
        UserError: a scorer that cannot do its work, or whose answer is none.
    """
    count, told = 0, time.monotonic()
    with ExitStack() as stack:
        for tally in tallies:
            if takes_items(tally.scorer):
                stack.callback(tally.scorer.close)
                if journal is not None and tally.scorer.costly and hasattr(tally.scorer, "keep_in"):
                    tally.scorer.keep_in(_Notes(journal, tally.scorer.name))
        for window in _windows(rows):
            yield from _scored(window, tallies, journal)
            count += len(window)
            if time.monotonic() - told > TOLD_SECONDS:
                told = time.monotonic()
                log.info("scored %s completions", f"{count:,}")


class _Notes:
    """The part of the journal that is a scorer's own."""

    def __init__(self, journal: Journal, scorer: str) -> None:
        self._journal, self._prefix = journal, f"{scorer}: "

    def __contains__(self, key: str) -> bool:
        return self._prefix + key in self._journal

    def read(self, key: str) -> Mapping[str, Any]:
        return self._journal.read(self._prefix + key)

    def append(self, key: str, entry: Mapping[str, Any]) -> None:
        self._journal.append(self._prefix + key, entry)


def takes_items(scorer: AnyScorer) -> TypeGuard[ItemScorer]:
    """Whether a scorer takes many completions at a time."""
    return hasattr(scorer, "score_items")


def _windows(rows: Iterable[Paired]) -> Iterator[list[Paired]]:
    window: list[Paired] = []
    for each in rows:
        if len(window) >= WINDOW and each[1]["prompt_id"] != window[-1][1]["prompt_id"]:
            yield window
            window = []
        window.append(each)
    if window:
        yield window


def _scored(window: list[Paired], tallies: list[Tally], journal: Journal | None) -> Iterator[dict[str, Any]]:
    missing = [not_generated(row) for _, row, _ in window]
    items = [
        None if lost else Item(str(row.get("id")), Prompt.from_row(prompt, where), row["text"], row)
        for (where, row, prompt), lost in zip(window, missing, strict=True)
    ]
    found: list[dict[str, Score]] = [{} for _ in window]
    places = {item.id: index for index, item in enumerate(items) if item is not None}
    # By prompt: what the scorers that look at references too say of its own.
    references: dict[str, dict[str, float | None]] = {}
    by_name = {tally.scorer.name: tally for tally in tallies}
    for name in parts_first({name: tally.scorer for name, tally in by_name.items()}):
        tally = by_name[name]
        drawn = [index for index, item in enumerate(items) if item is not None]
        if takes_items(tally.scorer):
            asked = [item for item in items if item is not None]
            if getattr(tally.scorer, "scores_references", False):
                asked = _with_references(asked)
            for item, score in zip(asked, _of_items(tally, asked, journal), strict=True):
                if item.id == reference_id(item.prompt.id):
                    references.setdefault(item.prompt.id, {})[name] = score.value
                else:
                    found[places[item.id]][name] = score
            continue
        for index in drawn:
            where, row, prompt = window[index]
            found[index][tally.scorer.name] = (
                text_score(tally, row, where, prompt.get("reference"))
                if is_text_scorer(tally.scorer)
                else _combined(tally, found[index])
            )
    for (_, row, _), lost, scores_of in zip(window, missing, found, strict=True):
        row["scores"] = {
            t.scorer.name: as_row(lost or scores_of[t.scorer.name], t.scorer.version) for t in tallies
        }
        if said := references.get(row["prompt_id"]):
            row["reference_scores"] = {t.scorer.name: said.get(t.scorer.name) for t in tallies}
        yield row


def _with_references(items: list[Item]) -> list[Item]:
    """The completions of each prompt, and behind them its reference as if it were one of them."""
    found = []
    for prompt_id, group in itertools.groupby(items, key=lambda item: item.prompt.id):
        found += (own := list(group))
        prompt = own[0].prompt
        if prompt.reference:
            found.append(Item(reference_id(prompt.id), prompt, prompt.reference, {"prompt_id": prompt_id}))
    return found


def _combined(tally: Tally, scores: Mapping[str, Score]) -> Score:
    scorer: Combiner = tally.scorer  # type: ignore[assignment]
    score = scorer.combine({name: scores[name] for name in scorer.parts})
    tally.scored += 1
    return score


def _of_items(tally: Tally, items: list[Item], journal: Journal | None) -> list[Score]:
    """The scores of a window's items: those that the journal has, and those that are made now."""
    scorer = tally.scorer
    assert takes_items(scorer)
    keep = journal if scorer.costly else None
    known = {item.id: keep.read(_key(scorer, item)) for item in items if keep and _key(scorer, item) in keep}
    # Whole prompts: a scorer may compare the completions of one.
    lacking = {item.prompt.id for item in items if item.id not in known}
    asked = [item for item in items if item.prompt.id in lacking]
    made = dict(zip([item.id for item in asked], scorer.score_items(asked), strict=True)) if asked else {}
    scores = []
    for item in items:
        if item.id in made:
            score = _finite(made[item.id], scorer, item)
            # What a scorer could not compare with is told of at the end, in the next attempt as in this.
            if keep is not None and item.id not in known and type(score) is Score:
                keep.append(_key(scorer, item), as_row(score, scorer.version))
        else:
            score = Score.from_row(known[item.id])
        tally.count(item.id, score)
        scores.append(score)
    return scores


def _key(scorer: ItemScorer, item: Item) -> str:
    return f"{scorer.name} {item.id}"


def _finite(score: Score, scorer: ItemScorer, item: Item) -> Score:
    if score.value is None or math.isfinite(score.value):
        return score
    raise UserError(
        f"completion {item.id}",
        f"scorer {scorer.name!r} gives {score.value}",
        "a finite number, or none with the reason",
        "look at the scorer, and at what the completion makes of it",
    )
