"""A user's own scorer, held to what the built-in ones promise."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from own_modules import SCORER, module, refused

from winnow import formats, jsonl, scoring
from winnow.formats import Conversation, files
from winnow.formats.sources import Source
from winnow.formats.verification import Checks, verify
from winnow.records import Prompt
from winnow.scoring import Score
from winnow.scoring.streams import scored
from winnow.selection.rules import Rules

pytestmark = pytest.mark.usefixtures("working_directory")


def test_a_scorer_by_its_import_path():
    name = module(SCORER) + ":Length"
    scorer = scoring.build(name, {"target": 2})
    assert (scorer.name, scorer.version, scorer.measures) == (name, 3, "error")
    assert scorer.score("abc", None) == Score(1.0, False, "3 long")
    assert scoring.measure(name) == "error"
    assert list(scoring.parse([f'{name}={{"target": 1}}', "exact_answer"])) == [name, "exact_answer"]
    assert Rules(strategy="min_error", scorer=name).scorer == name
    assert "Lenght" in str(refused(Rules, scorer=name.replace("Length", "Lenght")))


def test_select_needs_no_options_of_the_scorer():
    name = module(SCORER.replace("target: int = 4", "target: int")) + ":Length"
    assert scoring.measure(name) == "error"
    assert "missing a required argument: 'target'" in refused(scoring.build, name).found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 3", "", "version None"),
        ("version = 3", "version = '3'", "version '3'"),
        ("version = 3", "version = True", "version True"),
        ('measures = "error"', "", "measures None"),
        ('measures = "error"', "measures = 'distance'", "measures 'distance'"),
        ("def score", "def scores", "a NoneType for score(text, reference)"),
        ("def score(self, text, reference)", "def score(self, text)", "called as score(text, reference)"),
        ("def score(self, text, reference)", "def score(self, text, reference, k)", "cannot be called"),
        ("self.target = target", "raise ValueError('no')", "its constructor raises ValueError: no"),
    ],
)  # fmt: skip
def test_what_is_no_scorer(old, new, words):
    assert old in SCORER
    name = module(SCORER.replace(old, new)) + ":Length"
    error = refused(scoring.build, name)
    assert error.where == f"scorer {name!r}"
    assert words in error.found


def test_a_function_is_no_scorer():
    assert refused(scoring.build, module("def f(text, reference): ...") + ":f").found == "a function"


def test_options_are_checked():
    name = module(SCORER) + ":Length"
    assert "did you mean 'target'?" in refused(scoring.build, name, {"targt": 1}).found
    anything = module(SCORER.replace("target: int = 4", "**options").replace("= target", "= 0")) + ":Length"
    assert scoring.build(anything, {"x": 1}).score("", None).passed
    own = SCORER.replace("self.target = target", "raise UserError('a', 'b', 'c', 'd')")
    own = module("from winnow.errors import UserError\n" + textwrap.dedent(own)) + ":Length"
    assert refused(scoring.build, own).where == "a"


def test_a_scorer_given_twice_is_refused():
    assert "given twice" in refused(scoring.parse, ["exact_answer", "exact_answer={}"]).found


def returning(what: str):
    code = SCORER.replace('Score(distance, distance == 0, f"{len(text)} long")', what)
    assert what in code
    return scoring.build(module("import numpy as np\n" + textwrap.dedent(code)) + ":Length")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("0.5", "a float: 0.5"),
        ("None", "a NoneType"),
        ("True", "a bool"),
        ("Score(float('nan'), True, '')", "the value nan"),
        ("Score(float('inf'), True, '')", "the value inf"),
        ("Score(-10**400, True, '')", "(int)"),
        ("Score('1', True, '')", "the value '1' (str)"),
        ("Score(True, True, '')", "the value True (bool)"),
        ("Score(np.float32(1), True, '')", "(float32)"),
        ("Score(1.0, 1, '')", "passed 1 (int)"),
        ("Score(1.0, np.bool_(True), '')", "and detail ''"),
        ("Score(1.0, True, None)", "detail None"),
        ("Score(1.0, True, '', 5)", "answer_class 5"),
    ],
)
def test_what_is_no_score(what, words):
    error = refused(returning(what).score, "abcd", None)
    assert error.found.startswith("returned ")
    assert words in error.found
    assert "winnow.scoring.Score" in error.expected


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("Score(1, True, 'd')", 1.0),
        ("Score(2**70, True, 'd')", 2.0**70),
        ("Score(np.float64(0.1), True, 'd')", 0.1),
        ("Score(None, True, 'd')", None),
        ("Score(1, True, 'd', 'c')", 1.0),
    ],
)
def test_values_become_what_json_can_hold(what, value):
    score = returning(what).score("abcd", None)
    assert score == Score(value, True, "d", "c" if "'c'" in what else None)
    assert type(score.value) is type(value)


def raising(what: str) -> str:
    return SCORER.replace("distance = ", f"if 'bad' in text: raise {what}\n            distance = ")


def rows(tmp_path, bad: int, good: int):
    texts = ["fine"] * good + ["a bad one"] * bad
    Path("p.jsonl").write_bytes(jsonl.dumps({"id": "p", "reference": "3"}))
    Path("c.jsonl").write_bytes(
        b"".join(
            jsonl.dumps({"id": f"p/{i}", "prompt_id": "p", "text": text, "finish_reason": "stop"})
            for i, text in enumerate(texts)
        )
        # What was not generated is not scored, and does not count.
        + b"".join(
            jsonl.dumps({"id": f"p/x{i}", "prompt_id": "p", "text": "bad", "finish_reason": "failed"})
            for i in range(100)
        )
    )
    return lambda scorer: list(scored("c.jsonl", ["p.jsonl"], [scoring.build("exact_answer"), scorer]))


def test_a_text_on_which_the_scorer_raises_is_scored_as_unreadable(tmp_path, caplog):
    name = module(raising("KeyError('x')")) + ":Length"
    found = rows(tmp_path, bad=1, good=9)(scoring.build(name))
    assert len(found) == 110
    assert [row["scores"][name]["value"] for row in found[:10]] == [0.0] * 9 + [None]
    line = 1 + Path(f"{name.removesuffix(':Length')}.py").read_text().splitlines().index(
        "        if 'bad' in text: raise KeyError('x')"
    )
    told = f"raised KeyError: 'x' ({name.removesuffix(':Length')}.py, line {line})"
    assert found[9]["scores"][name] == {"value": None, "passed": False, "detail": told, "version": 3}
    assert found[10]["scores"][name]["detail"] == "not generated: failed"
    [warning] = [record.getMessage() for record in caplog.records]
    for part in ("c.jsonl", name, "1 of 10 completions", "p/9: raised KeyError"):
        assert part in warning


def test_a_scorer_that_raises_on_many_is_at_fault(tmp_path):
    name = module(raising("KeyError('x')")) + ":Length"
    error = refused(rows(tmp_path, bad=2, good=17), scoring.build(name))
    assert error.where == "c.jsonl"
    for part in (name, "2 of 19 completions", "p/17: raised KeyError: 'x'"):
        assert part in error.found
    assert "kept" in error.mend


def test_a_completion_on_which_it_raised_can_be_exported_and_verified(tmp_path):
    """It may be accepted by another scorer; verifying it raises again, and says the same."""
    scorer = scoring.build(module(raising("KeyError('x')")) + ":Length")
    fmt, talk = formats.find("messages"), Conversation([], "a bad one")
    checks = Checks({scorer.name: scorer})
    files.write(tmp_path / "m.jsonl", fmt, [talk])
    for value, passed, agrees in [(None, False, True), (0.0, False, False), (None, True, False)]:
        row = {"id": "p/0", "scores": {scorer.name: {"value": value, "passed": passed}}}
        sources = [Source(row, Prompt("p", []), talk)]
        if agrees:
            assert verify(tmp_path / "m.jsonl", fmt, sources, checks).rows == 1
        else:
            refused(verify, tmp_path / "m.jsonl", fmt, sources, checks)


@pytest.mark.parametrize("what", ["OSError('server away')", "TimeoutError('server away')"])
def test_a_failure_outside_the_text_stops_the_job(tmp_path, what):
    name = module(raising(what)) + ":Length"
    error = refused(rows(tmp_path, bad=1, good=50), scoring.build(name))
    assert error.where == f"c.jsonl, line 51, completion p/50: scorer {name!r}"
    assert "server away" in error.found


def test_a_scorer_may_refuse_and_what_is_no_score_names_its_completion(tmp_path):
    code = "from winnow.errors import UserError\n" + textwrap.dedent(
        raising("UserError('judge', 'b', 'c', 'd')")
    )
    error = refused(rows(tmp_path, bad=1, good=50), scoring.build(module(code) + ":Length"))
    assert error.where == "c.jsonl, line 51, completion p/50: judge"
    assert refused(rows(tmp_path, 0, 3), returning("7")).where.startswith("c.jsonl, line 1, completion p/0: ")


def test_interruptions_are_not_scores(tmp_path):
    scorer = scoring.build(module(raising("KeyboardInterrupt")) + ":Length")
    with pytest.raises(KeyboardInterrupt):
        scorer.score("bad", None)
