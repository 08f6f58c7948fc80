"""A verifier that takes many completions at a time runs again too, where it costs little."""

from __future__ import annotations

import pytest
from format_samples import SCORERS, selected, write

from winnow import scoring
from winnow.errors import UserError
from winnow.formats import verification
from winnow.formats.rescoring import judged_again
from winnow.formats.sources import source
from winnow.formats.verification import Checks, verify
from winnow.scoring import Score
from winnow.scoring.score import Unreferenced


class Many:
    """Says of a text how long it is, of many at a time."""

    name, version, measures, costly = "many", 1, "verdict", False

    def __init__(self, fails=None):
        self.asked, self.fails = [], fails

    def score_items(self, items):
        self.asked.append([item.id for item in items])
        return [self.fails or Score(float(len(item.text)), True, "") for item in items]

    def close(self):
        pass


def members(change=lambda index, length: length):
    return [
        source(
            {
                **each.row,
                "scores": {
                    **each.row["scores"],
                    "many": {"value": change(index, len(each.row["text"])), "passed": True, "version": 1},
                },
            },
            each.prompt,
        )
        for index, each in enumerate(selected())
    ]


@pytest.mark.parametrize("name", ["messages", "preference", "parquet"])
def test_every_completion_of_a_file_is_judged_again_in_windows(name, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "WINDOW", 2)
    rows, many = members(), Many()
    path, fmt = write(tmp_path, name, rows)
    assert verify(path, fmt, rows, Checks({**SCORERS, "many": many})).rows == 3
    kept = [each.row["id"] for each in rows if fmt.takes == "pairs" or each.row.get("role") != "rejected"]
    assert [each for window in many.asked for each in window] == kept
    assert len(many.asked) == 2


def test_of_a_window_those_with_a_verdict_are_judged_again():
    rows = members(lambda index, length: None if index == 0 else length)[:3]
    many = Many()
    found = judged_again({"many": many}, [(each.row["text"], each) for each in rows])
    assert many.asked == [[each.row["id"] for each in rows[1:]]]
    assert [sorted(each) for each in found] == [[], ["many"], ["many"]]


def test_a_reference_is_no_completion_to_judge_again():
    chosen, rejected = members()[:2]
    reference = chosen._replace(row={**chosen.row, "is_reference": True})
    many = Many()
    texts = [(each.row["text"], each) for each in (reference, rejected)]
    found = judged_again({"many": many}, texts)
    assert many.asked == [[rejected.row["id"]]]
    assert found == [{}, {"many": Score(float(len(rejected.row["text"])), True, "")}]


def test_one_that_says_otherwise_now_is_named(tmp_path):
    rows = members(lambda index, length: length + (index == 4))
    path, fmt = write(tmp_path, "messages", rows)
    with pytest.raises(UserError, match=rf"completion {rows[4].row['id']}: verification: many now gives"):
        verify(path, fmt, rows, Checks({**SCORERS, "many": Many()}))


def test_what_has_no_value_now_or_had_none_counts_by_its_record(tmp_path):
    """A limit of time says nothing of a completion; a reference that cannot be used any more does."""
    path, fmt = write(tmp_path, "messages", members())
    slow = Score(None, False, "did not end")
    assert verify(path, fmt, members(), Checks({**SCORERS, "many": Many(slow)})).rows == 3
    gone = Unreferenced(None, False, "the prompt has no reference")
    with pytest.raises(UserError, match="many now gives None"):
        verify(path, fmt, members(), Checks({**SCORERS, "many": Many(gone)}))
    without = members(lambda index, length: None)
    path, fmt = write(tmp_path, "messages", without)
    many = Many()
    assert verify(path, fmt, without, Checks({**SCORERS, "many": many})).rows == 3
    assert many.asked == [], "it may have hung on them, and would again"


@pytest.mark.slow
def test_math_runs_again(tmp_path):
    rows = [
        source(
            {**each.row, "scores": {"math": {"value": 1.0, "passed": True, "detail": "", "version": 1}}},
            each.prompt,
        )
        for each in selected()[::2]
    ]
    path, fmt = write(tmp_path, "messages", rows)
    scorers = scoring.parse(['math={"processes": 1}'])
    try:
        assert verify(path, fmt, rows, Checks(scorers)).rows == 3
        other = {**rows[1].row, "text": rows[1].row["text"].replace("<answer>2", "<answer>7")}
        rows[1] = source(other, rows[1].prompt)
        path, fmt = write(tmp_path, "messages", rows)
        with pytest.raises(UserError, match=r"completion p1/0: verification: math now gives 0\.0"):
            verify(path, fmt, rows, Checks(scorers))
    finally:
        scorers["math"].close()
