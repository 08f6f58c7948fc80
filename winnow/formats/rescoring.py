"""Run verifiers again on a completion as its row in a file gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from winnow.errors import UserError
from winnow.formats.sources import Source
from winnow.records import is_reference
from winnow.scoring import AnyScorer, Item, Score, is_text_scorer
from winnow.scoring.registry import parts_first
from winnow.scoring.score import Unreferenced
from winnow.scoring.windows import takes_items


def judged_again(
    scorers: Mapping[str, AnyScorer], texts: Sequence[tuple[str, Source]]
) -> list[dict[str, Score]]:
    """What the scorers that take many completions at a time and cost little say of some texts, by name.

    Where one gives up (its time is over) there is nothing: the record counts then.

    Args:
        scorers: by name; the others say nothing here.
        texts: as they were read back, each with what it was made of.
    """
    found: list[dict[str, Score]] = [{} for _ in texts]
    drawn = [(said, *each) for said, each in zip(found, texts, strict=True) if not is_reference(each[1].row)]
    items = [(said, Item(str(each.row["id"]), each.prompt, text, each.row)) for said, text, each in drawn]
    for name, scorer in scorers.items():
        if not takes_items(scorer) or scorer.costly:
            continue
        # Where it gave up before, it would take as long again, and the record counts whatever it says.
        asked = [each for each in items if _has_value(each[1], name)]
        scores = scorer.score_items([item for _, item in asked]) if asked else []
        for (said, _), score in zip(asked, scores, strict=True):
            if score.value is not None or isinstance(score, Unreferenced):
                said[name] = score
    return found


def _has_value(item: Item, name: str) -> bool:
    recorded = item.row["scores"].get(name)
    return recorded is not None and recorded["value"] is not None


def rescored(
    scorers: Mapping[str, AnyScorer],
    text: str,
    source: Source,
    deciding: str | None = None,
    judged: Mapping[str, Score] | None = None,
) -> None:
    """Score a text again and compare; of a reference, see `_check_reference`.

    Scorers of a text alone run again, and so do others that cost little (`judged_again`); combiners combine
    again, of the new scores where there are any and else of the recorded ones. Of all others (a model, a
    judge) the record has to be there, of the version that is configured. Of a format that lays the
    completion out anew, only a pass of what decided has to stay one: its length, say, is another.

    Args:
        scorers: by name.
        text: the completion as it was read back.
        source: what it was made of.
        deciding: the scorer that selected it; None takes all of them for it.
        judged: what `judged_again` has found.

    Raises:
        UserError: a scorer that never scored the completion, or now says otherwise.
    """
    if is_reference(source.row):
        _check_reference(scorers, source)
        return
    said: dict[str, Score] = {}
    anew = text != source.conversation.completion
    decided = deciding_scorers(deciding, scorers)
    for name in parts_first(scorers):
        scorer, recorded = scorers[name], source.row["scores"].get(name)
        if recorded is None:
            raise _unfit(f"it was never scored with {name}, which is to verify it")
        # What had no value has one perhaps when more time is left: that is no other verdict.
        found = (judged or {}).get(name) if recorded["value"] is not None else None
        found = found or _again(scorer, text, source, said)
        said[name] = again = found or _recorded(name, scorer, recorded)
        if anew:
            same = again.passed or not recorded["passed"] or name not in decided
        else:
            same = again.passed == recorded["passed"] and again.value == recorded["value"]
        if not same:
            raise _unfit(
                f"{name} now gives {again.value} (passed: {again.passed}), "
                f"the scored file has {recorded['value']} (passed: {recorded['passed']})"
            )


def deciding_scorers(deciding: str | None, scorers: Mapping[str, AnyScorer]) -> set[str]:
    """The scorer that decided, and those that it combines; all of them where none is named."""
    if deciding is None or deciding not in scorers:
        return set(scorers)
    found = {deciding}
    for part in getattr(scorers[deciding], "parts", ()):
        found |= deciding_scorers(part, scorers)
    return found


def _check_reference(scorers: Mapping[str, AnyScorer], source: Source) -> None:
    """Hold a reference that was selected against its prompt, and its scores against the records.

    Verifiers have scored no reference, so none runs again: a reward model's score has to be there, the same
    as was recorded beside the prompt's completions, and of the version that is configured.
    """
    if source.row["text"] != source.prompt.reference:
        raise _unfit("it is not the reference that its prompt has now")
    recorded = source.row.get("reference_scores") or {}
    for name, scorer in scorers.items():
        score = source.row["scores"].get(name)
        if score is None:
            raise _unfit(f"{name}, which is to verify it, has not run on its prompt's completions")
        if score["value"] != recorded.get(name):
            raise _unfit(f"it has {score['value']} by {name}, and was scored {recorded.get(name)}")
        if score["value"] is not None:
            _recorded(name, scorer, score)


def _again(scorer: AnyScorer, text: str, source: Source, said: Mapping[str, Score]) -> Score | None:
    if is_text_scorer(scorer):
        return scorer.score(text, source.prompt.reference)
    combine = getattr(scorer, "combine", None)
    if combine is None:
        return None
    again: Score = combine({part: said[part] for part in scorer.parts})  # type: ignore[union-attr]
    return again


def _recorded(name: str, scorer: AnyScorer, recorded: Mapping[str, Any]) -> Score:
    version = recorded.get("version", scorer.version)
    if version != scorer.version:
        raise _unfit(f"{name} scored it with version {version}, and has version {scorer.version} now")
    return Score.from_row(recorded)


def _unfit(found: str) -> UserError:
    return UserError(
        "verification",
        found,
        "every exported row to verify again as it did when it was selected",
        "delete the scored file of this completion and run again; if it stays, report it",
    )
