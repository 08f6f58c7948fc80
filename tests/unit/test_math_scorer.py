"""math: what math-verify says, in processes that may hang or die at the cost of one completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import math_verify
import pytest

from winnow import jsonl, scoring
from winnow.diagnostics.majority import vote
from winnow.errors import UserError
from winnow.records import Prompt
from winnow.scoring import Item, answer_key, math_answer, math_worker
from winnow.scoring.streams import scored


def items(*pairs: tuple[str, str | None]) -> list[Item]:
    return [
        Item(f"p{index}/0", Prompt(f"p{index}", [], reference=reference), text, {})
        for index, (text, reference) in enumerate(pairs)
    ]


def scores(*pairs, **options):
    scorer = scoring.build("math", {"processes": 1, **options})
    try:
        return scorer.score_items(items(*pairs))
    finally:
        scorer.close()


def test_equal_as_mathematics():
    found = scores(
        ("so \\boxed{\\frac{1}{2}}", "0.5"),
        ("<answer>1/2</answer>", "\\frac{1}{2}"),
        ("<think>..</think><answer>2x + x</answer>", "$3x$"),
        ("the answer is $x=3$", "3"),
        ("\\boxed{(1, 2]}", "(1,2]"),
        ("#### 1,234", "#### 1234"),
        ("\\boxed{45\\%}", "0.45"),
        ("\\boxed{0.33}", "1/3"),
        ("\\boxed{3}", "4"),
    )
    assert [score.passed for score in found] == [True] * 7 + [False] * 2
    assert {score.value for score in found} == {1.0, 0.0}


def test_what_cannot_be_read():
    none, words, missing, unreadable, cut = scores(
        ("I do not know", "3"),
        ("<answer>three</answer>", "3"),
        ("\\boxed{3}", None),
        ("\\boxed{3}", " "),
        ("<answer>3", "3"),
    )
    assert (none.value, none.detail) == (0.0, "no answer found")
    assert (words.value, words.detail) == (0.0, "three")
    assert missing.value is None
    assert "no reference" in missing.detail
    assert unreadable.value is None
    assert "cannot be read as mathematics" in unreadable.detail
    assert not cut.passed


def faulty(pairs, seconds, keyed=True):
    """Stands in for what a worker does: math-verify has such texts, but they change with its version."""
    for text, _ in pairs:
        if text == "hang":
            time.sleep(60)
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return [(1.0, True, text, False, None) for text, _ in pairs]


def test_a_hang_and_a_death_cost_one_completion_each(monkeypatch):
    monkeypatch.setattr(math_answer, "judge", faulty)
    monkeypatch.setattr(math_answer, "STEPS", 2)
    texts = [str(index) for index in range(100)]
    texts[10], texts[11], texts[70] = "hang", "die", "die"
    began = time.monotonic()
    found = scores(*[(text, "1") for text in texts], seconds=1, processes=2)
    assert time.monotonic() - began < 60
    assert [score.detail for score in found if score.passed] == [t for t in texts if t.isdigit()]
    assert "did not end within 2 s" in found[10].detail
    assert "process died" in found[11].detail
    assert found[70].value is None


def faulty_in_its_key(pairs, seconds, keyed=True):
    """Stands in for a worker that a key holds up where no signal gets through to it."""
    if keyed and any(text == "hang" for text, _ in pairs):
        time.sleep(60)
    return [(0.0, False, text, False, "key" if keyed else None) for text, _ in pairs]


def test_a_key_that_never_ends_costs_no_verdict(monkeypatch):
    monkeypatch.setattr(math_answer, "judge", faulty_in_its_key)
    monkeypatch.setattr(math_answer, "STEPS", 2)
    began = time.monotonic()
    hung, other = scores(("hang", "1"), ("2", "1"), seconds=1)
    assert time.monotonic() - began < 40
    assert hung == scoring.Score(0.0, False, "hang", None)
    assert other == scoring.Score(0.0, False, "2", "key")


@pytest.mark.parametrize("key", ["never_ends", "raising"])
def test_without_a_key_the_verdict_stands(monkeypatch, key):
    monkeypatch.setattr(answer_key, "answer_key", globals()[key])
    began = time.monotonic()
    wrong, right = math_worker.judge([("\\boxed{x+1}", "3"), ("\\boxed{3}", "3")], 1)
    assert time.monotonic() - began < 30
    assert wrong == (0.0, False, "x+1", False, None)
    assert right[:2] == (1.0, True)


def test_no_key_is_made_where_none_is_asked_for():
    ((value, *_, key),) = math_worker.judge([("\\boxed{x+1}", "3")], 5, keyed=False)
    assert (value, key) == (0.0, None)


def never_ends(read):
    while True:
        pass


def test_a_wrong_answer_has_a_key_and_no_other():
    sum_, flipped, passed, words, missing = scores(
        ("\\boxed{x+1}", "3"),
        ("<answer>$1+x$</answer>", "3"),
        ("\\boxed{3}", "3"),
        ("I do not know", "3"),
        ("\\boxed{3}", None),
    )
    assert sum_.answer_class == flipped.answer_class is not None
    assert sum_.detail != flipped.detail
    assert passed.answer_class is words.answer_class is missing.answer_class is None


def test_a_power_that_never_ends():
    began = time.monotonic()
    tower, plain = scores(("\\boxed{9^{9^{9^{9}}}}", "3"), ("\\boxed{3}", "3"), seconds=1)
    assert time.monotonic() - began < 60
    assert not tower.passed
    assert plain.passed


def test_what_takes_too_long_has_no_value():
    for text, reference in (("1000000!!!", "5"), ("5", "1000000!!!")):
        (found,) = math_worker.judge([(f"<answer>{text}</answer>", reference)], 1)
        assert found[:2] == (None, False), found
        assert "did not end within 1 s" in found[2]


def test_what_math_verify_raises_on_is_no_verdict(monkeypatch):
    original = math_verify.verify

    def first_reading_fails(gold, target, raise_on_error=False, **options):
        if raise_on_error:
            raise ArithmeticError("a fault of its own")
        return original(gold, target, **options)

    monkeypatch.setattr(math_verify, "verify", first_reading_fails)
    equal, other = math_worker.judge([("\\boxed{3}", "3"), ("\\boxed{4}", "3")], 5)
    # Another reading was equal: that stands. Nothing was: that it is wrong is not known.
    assert equal[:2] == (1.0, True)
    assert other[:2] == (None, False)
    assert "a fault of its own" in other[2]
    monkeypatch.setattr(math_verify, "parse", raising)
    math_worker._expected.cache_clear()
    (unread,) = math_worker.judge([("\\boxed{3}", "3")], 5)
    assert unread[:2] == (None, False)


def raising(*given, **named):
    raise ArithmeticError("a fault of its own")


def test_no_process_outlives_a_killed_parent(tmp_path: Path):
    code = (
        "import os, time; from winnow.scoring.math_answer import _pool\n"
        "if __name__ == '__main__':\n"
        "    pool = _pool(1); job = pool.schedule(os.getpid)\n"
        "    print(job.result(), flush=True); pool.schedule(time.sleep, args=[600]); time.sleep(600)\n"
    )
    (tmp_path / "hold.py").write_text(code)
    root = Path(__file__).parents[2]
    held = subprocess.Popen(
        [sys.executable, tmp_path / "hold.py"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert held.stdout is not None
    worker = int(held.stdout.readline())
    held.kill()
    held.wait()
    end = time.monotonic() + 10
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_file_to_file(tmp_path: Path):
    prompts, completions = tmp_path / "p.jsonl", tmp_path / "c.jsonl"
    with jsonl.writer(prompts) as write, jsonl.writer(completions) as append:
        for index in range(40):
            write({"id": f"p{index}", "messages": [], "reference": f"{index}/2"})
            for sample in range(2):
                append(
                    {
                        "id": f"p{index}/{sample}", "prompt_id": f"p{index}", "sample": sample,
                        "text": f"\\boxed{{\\frac{{{index}}}{{{2 + sample}}}}}", "finish_reason": "stop",
                    }
                )  # fmt: skip
    names = ["math", "exact_answer", 'all_of={"scorers": ["math"]}']
    rows = list(scored(completions, [prompts], scoring.parse(names).values()))
    assert [row["id"] for row in rows] == [f"p{index}/{sample}" for index in range(40) for sample in range(2)]
    for row in rows:
        equal = row["sample"] == 0 or row["prompt_id"] == "p0"
        assert row["scores"]["math"]["passed"] == row["scores"]["all_of"]["passed"] == equal
        assert not row["scores"]["exact_answer"]["passed"]
        assert list(row["scores"]) == ["math", "exact_answer", "all_of"]
        assert (
            ("answer_class" in row["scores"]["math"])
            == ("answer_class" in row["scores"]["all_of"])
            == (not equal)
        )
        assert "answer_class" not in row["scores"]["exact_answer"]


def test_a_vote_is_of_equal_formulas(tmp_path: Path):
    prompts, completions = tmp_path / "p.jsonl", tmp_path / "c.jsonl"
    with jsonl.writer(prompts) as write, jsonl.writer(completions) as append:
        write({"id": "p", "messages": [], "reference": "3"})
        for sample, answer in enumerate(("3", "x+1", "\\frac{6}{2}", "\\frac{2+2x}{2}", "1 + x")):
            append(
                {
                    "id": f"p/{sample}", "prompt_id": "p", "sample": sample,
                    "text": f"\\boxed{{{answer}}}", "finish_reason": "stop",
                }
            )  # fmt: skip
    rows = list(scored(completions, [prompts], scoring.parse(['math={"processes": 1}']).values()))
    # By their texts the right ones were the majority.
    assert vote(rows, "math") == (0.0, False)
    assert vote(rows[:-1], "math") == (1.0, True)


def test_the_worker_reads_a_prompts_reference_once(monkeypatch):
    read = []
    original = math_worker._read
    monkeypatch.setattr(
        math_worker, "_read", lambda *given, **named: read.append(given[0]) or original(*given, **named)
    )
    math_worker._expected.cache_clear()
    math_worker.judge([("\\boxed{1}", "7/3"), ("\\boxed{2}", "7/3")], 5)
    assert read.count("7/3") == 1


def test_options():
    with pytest.raises(UserError, match="scorer 'math': seconds"):
        scoring.build("math", {"seconds": 0})
