"""Verifiers run again on what was read back, and what cannot run again is held against its record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from format_samples import PROMPTS, SCORERS, scored, selected, write

from winnow import scoring
from winnow.errors import UserError
from winnow.formats.sources import source
from winnow.formats.verification import Checks, verify
from winnow.scoring import Score
from winnow.scoring.streams import as_row
from winnow.tracing.made_of import completions_of
from winnow.tracing.rows import rows_of

TEXTS = Checks(SCORERS)


@pytest.mark.parametrize("change", [{"value": 7.0}, {"passed": False}])
@pytest.mark.parametrize("scorer", list(SCORERS))
def test_a_verifier_that_says_otherwise_now_is_caught(tmp_path, change, scorer):
    members = selected()
    path, fmt = write(tmp_path, "messages", members)
    members[2].row["scores"][scorer].update(change)
    with pytest.raises(UserError, match=rf"completion p1/0: verification: {scorer} now gives"):
        verify(path, fmt, members, TEXTS)


def test_a_scorer_that_never_scored_is_named(tmp_path):
    members = selected()
    path, fmt = write(tmp_path, "messages", members)
    del members[0].row["scores"]["numeric_error"]
    with pytest.raises(UserError, match=r"(?s)p0/0.*never scored with numeric_error"):
        verify(path, fmt, members, TEXTS)


class Layout:
    """Passes what has a line of its own for the answer, and counts characters."""

    name, version, measures = "layout", 1, "reward"

    def __init__(self, passes):
        self.passes = passes

    def score(self, text, reference):
        return Score(len(text), self.passes(text), "")


def test_a_format_that_lays_out_anew_keeps_the_verdicts(tmp_path):
    """The text that is read back is scored, not that of the records: LightRFT's layout has more lines."""
    for passes, kept in ((lambda text: "<answer>" in text, True), (lambda text: "\n" not in text, False)):
        members = []
        for each in selected():
            text = each.row["text"].replace("\n", "")
            told = {"value": len(text), "passed": passes(text), "version": 1}
            scores = {**each.row["scores"], "layout": told}
            members.append(source({**each.row, "text": text, "scores": scores}, each.prompt))
        checks = Checks({**SCORERS, "layout": Layout(passes)})
        path, fmt = write(tmp_path, "messages", members)
        assert verify(path, fmt, members, checks).rows == 3
        path, fmt = write(tmp_path, "lightrft", members)
        if kept:
            assert verify(path, fmt, members, checks).rows == 3
        else:
            with pytest.raises(UserError, match=r"layout now gives .* \(passed: False\)"):
                verify(path, fmt, members, checks)


def test_a_choice_in_lightrfts_words_is_judged_again(tmp_path):
    scorers = scoring.parse(["choice"])
    members = []
    chosen = [each for each in selected() if each.row["role"] == "chosen"]
    written_as = ("image 1 is better.", "Image 2 is better", "**image 2 is better** so")
    for each, written in zip(chosen, written_as, strict=True):
        number = written.partition("mage ")[2][0]
        prompt = replace(each.prompt, reference=f"Image {number} is better", metadata={})
        text = f"<think>a</think><answer>{written}</answer>"
        scores = {
            name: as_row(made.score(text, prompt.reference), made.version) for name, made in scorers.items()
        }
        assert scores["choice"]["passed"]
        members.append(source({**each.row, "text": text, "scores": scores}, prompt))
    for name in ("lightrft", "sharegpt"):
        path, fmt = write(tmp_path, name, members)
        assert verify(path, fmt, members, Checks(scorers)).rows == 3
    path, fmt = write(tmp_path, "lightrft", members)
    traced = [completions_of(row, fmt, members) for row in rows_of(path)]
    assert traced == [[each.row["id"]] for each in members]
    path.write_text(path.read_text().replace("Image 1", "Image 2"))
    with pytest.raises(UserError, match="another choice"):
        verify(path, fmt, members, Checks(scorers))


class Judge:
    """Costly: it has no `score`, and cannot be asked again."""

    name, version, measures, costly = "judge", 2, "reward", True

    def score_items(self, items):
        raise AssertionError("asked again")


class Both:
    """Combines what can run again with what cannot."""

    name, version, measures, parts = "both", 1, "verdict", ("exact_answer", "judge")

    def combine(self, scores):
        assert scores["judge"].answer_class == "c"
        value = min(scores[part].value for part in self.parts)
        return Score(value, value > 0.5, "")


def test_costly_scores_are_compared_by_record_and_combined_again(tmp_path):
    checks = Checks({**SCORERS, "judge": Judge(), "both": Both()})
    members = selected()
    for each in members:
        judged = {"value": 0.75, "passed": True, "detail": "", "version": 2, "answer_class": "c"}
        value = min(each.row["scores"]["exact_answer"]["value"], 0.75)
        each.row["scores"] |= {"judge": judged, "both": {"value": value, "passed": value > 0.5, "version": 1}}
    path, fmt = write(tmp_path, "messages", members)
    assert verify(path, fmt, members, checks).rows == 3
    members[0].row["scores"]["judge"]["value"] = 0.25
    with pytest.raises(UserError, match=r"both now gives 0\.25 .* the scored file has 0\.75"):
        verify(path, fmt, members, checks)
    members[0].row["scores"]["judge"] |= {"value": 0.75, "version": 1}
    with pytest.raises(UserError, match="judge scored it with version 1, and has version 2 now"):
        verify(path, fmt, members, checks)


def test_what_was_never_generated_is_not_scored_again(tmp_path):
    row = scored(PROMPTS[0], 0, "0") | {"text": "", "finish_reason": "failed"}
    row["scores"] = {name: {"value": None, "passed": False, "version": 1} for name in SCORERS}
    members = [source(row, PROMPTS[0])]
    path, fmt = write(tmp_path, "open_instruct_scores", members)
    assert verify(path, fmt, members, TEXTS).rows == 1
