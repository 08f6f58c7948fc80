"""Finding answers, comparing them, and pairing completions with their references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl, scoring
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.scoring.answers import extract_answer, extract_reference, normalize, parse_number
from winnow.scoring.score import Unreferenced
from winnow.scoring.streams import scored

EXACT, ERROR = scoring.build("exact_answer"), scoring.build("numeric_error", {"tolerance": 0.5})


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>x</think><answer>18</answer>", "18"),
        ("<answer> 18\n</answer> and more", "18"),
        ("<answer>1</answer> no: <answer>2</answer>", "2"),
        ("<answer> \\boxed{18} </answer>", "18"),
        ("<answer>so \\boxed{\\frac{1}{2}}.</answer>", "\\frac{1}{2}"),
        ("<answer>\\boxed{18</answer>", "\\boxed{18"),
        ("<answer></answer>", ""),
        ("<answer>18", None),
        ("<answer>1</answer> no: <answer>2", None),
        ("18</answer>", None),
        ("<answer>1</answer> \\boxed{2} #### 3", "1"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{1} then \\boxed{ {2}{{3}} } #### 4", "{2}{{3}}"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("\\boxed{{1}", None),
        ("\\boxed{1 #### 7", "7"),
        ("so 3 + 4\n#### 18\nnotes", "18"),
        ("#### 1\n#### 1,234 ", "1,234"),
        ("####", None),
        ("the answer is 18", None),
        ("", None),
    ],
)
def test_the_last_stated_answer(text, answer):
    assert extract_answer(text) == answer


def test_a_reference_may_be_bare_or_worked():
    assert extract_reference(" 18 ") == "18"
    assert extract_reference("3 * 6 = 18\n#### 18") == "18"


numbers = st.integers(-(10**12), 10**12)


def ways(n: int) -> list[str]:
    """How people write a whole number."""
    sign, size = "-" if n < 0 else "", abs(n)
    return [
        f"{n}", f"{n:,}", f" {n} ", f"{n}.", f"{n}.0", f"{n:,}.00", f"${n}", f"{sign}${size:,}",
        f"{sign}00{size}", f"{n}\n", *([] if n < 0 else [f"+{n}", f"$ {n:,}"]),
    ]  # fmt: skip


@given(numbers, numbers)
def test_a_number_equals_itself_in_every_way_and_no_other(a, b):
    for text in ways(a):
        assert normalize(text) == str(a), text
        assert EXACT.score(f"<answer>{text}</answer>", str(a)).passed
        assert EXACT.score(f"<answer>{text}</answer>", str(b)).passed == (a == b)


@given(numbers, st.integers(0, 999))
def test_decimals(whole, part):
    text = f"{whole}.{part:03d}"
    assert float(normalize(text)) == pytest.approx(float(text))
    assert normalize(text + "0") == normalize(text)
    assert parse_number(f"about ${text} or so") == float(text)
    assert parse_number(f"{whole:,}") == whole


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (".5", "0.5"),
        ("\u22123", "-3"),
        ("-$1,000", "-1000"),
        ("-.50", "-0.5"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("Paris.", "paris"),
        ("New\n York", "new york"),
    ],
)
def test_one_form(text, same):
    assert normalize(text) == normalize(same) == same


@pytest.mark.parametrize(
    ("a", "b"), [("1234,567", "1234567"), ("1,23", "123"), ("1.5", "15"), ("5", "-5"), ("5%", "5")]
)
def test_different_answers_stay_different(a, b):
    assert normalize(a) != normalize(b)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("\u22123.5", -3.5), ("about \u20137", -7), ("-$5", -5), ("-$1,200.50 a day", -1200.5), ("$3", 3),
        ("1e-05", 1e-5), ("1.5E3", 1500), ("3em", 3), ("2e", 2), ("-2e+3 km", -2000),
    ],
)  # fmt: skip
def test_the_ways_of_signs_and_exponents(text, number):
    assert parse_number(text) == number
    assert ERROR.score(f"<answer>{text}</answer>", str(number)).value == 0


@pytest.mark.parametrize("text", ["", "none", "3 of 4", "3\u20135", "1e5m", "1.2.3", "1,23", "12-5"])
def test_not_exactly_one_number(text):
    assert parse_number(text) is None


def test_exact_answer():
    assert EXACT.score("<answer>18</answer>", "x\n#### 18") == scoring.Score(1.0, True, "18")
    assert EXACT.score("<answer>19</answer>", "18") == scoring.Score(0.0, False, "19")
    assert EXACT.score("18", "18") == scoring.Score(0.0, False, "no answer found")
    assert EXACT.score("<answer>18</answer>", None) == Unreferenced(
        None, False, "the prompt has no reference"
    )
    for blank in ("", " \n"):
        assert EXACT.score("<answer></answer>", blank) == EXACT.score("<answer>18</answer>", None)


@pytest.mark.parametrize(
    ("text", "reference", "value", "passed"),
    [
        ("<answer>3.5</answer>", "3.25", 0.25, True),
        ("<answer>3.75</answer>", "3.25", 0.5, True),
        ("<answer>-1</answer>", "1", 2.0, False),
        ("<answer>many</answer>", "3", None, False),
        ("<answer>3 or 4</answer>", "3", None, False),
        ("3", "3", None, False),
        ("<answer>3</answer>", "three", None, False),
        ("<answer>3</answer>", None, None, False),
        (f"<answer>{'9' * 400}</answer>", "3", None, False),
        ("<answer>3</answer>", "9" * 400, None, False),
    ],
)
def test_numeric_error(text, reference, value, passed):
    score = ERROR.score(text, reference)
    assert (score.value, score.passed) == (value, passed)
    assert score.detail


def test_scorers_by_name():
    found = scoring.versions({"exact_answer": {}, "numeric_error": {"tolerance": 1}})
    assert found["exact_answer"].startswith(f"{EXACT.version}, ")
    assert found["numeric_error"].startswith(f"{ERROR.version}, ")
    parsed = scoring.parse(["exact_answer", 'numeric_error={"tolerance": 2}'])
    assert list(parsed) == ["exact_answer", "numeric_error"]
    assert parsed["numeric_error"].score("<answer>5</answer>", "3").passed
    assert not scoring.build("numeric_error").score("<answer>5</answer>", "3").passed
    for text, message in [
        ("exact_anwser", "did you mean 'exact_answer'"),
        ('numeric_error={"tolerence": 1}', "did you mean 'tolerance'"),
        ("numeric_error={", "not JSON"),
        ("numeric_error=[1]", "not a JSON object"),
        ('numeric_error={"tolerance": -1}', "at least 0"),
    ]:
        with pytest.raises(UserError, match=message):
            scoring.parse([text])


def completion(prompt, text="<answer>4</answer>", reason="stop", **more):
    return {"id": f"{prompt}/0", "prompt_id": prompt, "text": text, "finish_reason": reason, **more}


@pytest.fixture
def files(tmp_path):
    def write(prompts, completions):
        for name, rows in (("p0", prompts[:2]), ("p1", prompts[2:]), ("c", completions)):
            (tmp_path / name).write_bytes(b"".join(map(jsonl.dumps, rows)))
        return scored(tmp_path / "c", [tmp_path / "p0", tmp_path / "p1"], [EXACT, ERROR])

    return write


PROMPTS = [{"id": "a", "reference": "4"}, {"id": "b", "reference": "5"}, {"id": "c"}]


def test_each_completion_meets_its_own_reference(files):
    rows = list(files(PROMPTS, [completion(p, extra=1, id=f"{p}/{i}") for i, p in enumerate("aabc")]))
    assert [row["scores"]["exact_answer"]["passed"] for row in rows] == [True, True, False, False]
    assert [row["scores"]["numeric_error"]["value"] for row in rows] == [0.0, 0.0, 1.0, None]
    assert {row["extra"] for row in rows} == {1}
    assert rows[0]["scores"]["exact_answer"] == {
        "value": 1.0,
        "passed": True,
        "detail": "4",
        "version": EXACT.version,
    }


class Asked:
    """Costly, with classes of its own; counts how many completions it is asked about."""

    name, version, measures, costly = "asked", 1, "verdict", True

    def __init__(self):
        self.asked = 0

    def score_items(self, items):
        self.asked += len(items)
        return [scoring.Score(0.0, False, item.text, item.text.strip(" .")) for item in items]

    def close(self):
        pass


def test_an_answers_class_is_in_the_row_and_in_the_journal(tmp_path):
    completions, prompts = tmp_path / "c.jsonl", tmp_path / "p.jsonl"
    with jsonl.writer(prompts) as write, jsonl.writer(completions) as append:
        write({"id": "a", "messages": [], "reference": "4"})
        for sample, text in enumerate(("x", " x.")):
            append(completion("a", text, id=f"a/{sample}"))
    found, asked = [], Asked()
    for _ in range(2):
        with Journal(tmp_path / "scored.jsonl", {}) as journal:
            found.append([row["scores"]["asked"] for row in scored(completions, [prompts], [asked], journal)])
    assert asked.asked == 2
    assert found[0] == found[1]
    assert [score["answer_class"] for score in found[0]] == ["x", "x"]
    assert [scoring.Score.from_row(score).answer_class for score in found[0]] == ["x", "x"]


def test_prompts_without_completions_are_passed_over(files):
    assert len(list(files(PROMPTS, [completion("b"), completion("c")]))) == 2


@pytest.mark.parametrize("order", ["ba", "aba", "ax", "ca"])
def test_completions_out_of_order_are_refused(files, order):
    with pytest.raises(
        UserError, match=rf"c, line {len(order)}: prompt '{order[-1]}' is not in the prompt files"
    ):
        list(files(PROMPTS, [completion(p) for p in order]))


def test_a_completion_that_stands_there_twice(files):
    rows = [completion("a"), completion("a", id="a/1"), completion("a", "other text")]
    with pytest.raises(UserError, match=r"c, line 3: completion 'a/0' stands already in line 1"):
        list(files(PROMPTS, rows))
    same_text = [completion("a"), completion("a", id="a/1"), completion("b")]
    assert len(list(files(PROMPTS, same_text))) == 3


def test_what_was_not_generated_is_not_scored(files):
    rows = [completion("a", "", "prompt_too_long", detail="long"), completion("b", "", "failed")]
    found = list(files(PROMPTS, rows))
    assert [row["scores"]["exact_answer"]["detail"] for row in found] == [
        "not generated: long", "not generated: failed"
    ]  # fmt: skip
    assert all(s["value"] is None and not s["passed"] for row in found for s in row["scores"].values())


def test_rows_of_another_kind_are_named(files):
    with pytest.raises(UserError, match=r"c, line 2: not a completion"):
        list(files(PROMPTS, [completion("a"), {"prompt_id": "a"}]))
    with pytest.raises(UserError, match=r"p0, line 1: not a prompt"):
        list(files([{"x": 1}], [completion("a")]))


def test_a_scorer_without_any_value_says_so(files, caplog):
    list(files(PROMPTS[:2], [completion("a", "<answer>none</answer>"), completion("b", "I do not know")]))
    assert "'numeric_error' has no value for any of 2 completions, first for a/0" in caplog.text
    assert "'exact_answer'" not in caplog.text
