"""The scorers of one text beside exact_answer and numeric_error, and those made of several."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import scoring
from winnow.errors import UserError
from winnow.scoring import Score
from winnow.scoring.regex import HOPELESS


def verdict(scorer, text, reference=None):
    score = scorer.score(text, reference)
    return score.value, score.passed


CHOICE = scoring.build("choice")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<answer>Image 1 is better</answer>", 1.0),
        ("<think>Image 2 is better? no</think> <answer> image  1 IS better. </answer>", 1.0),
        ("<answer>Image 2 is better</answer>", 0.0),
        ("<answer>Image 1 is better, or Image 2 is better</answer>", None),
        ("<answer>both</answer>", None),
        ("<answer></answer>", None),
        ("<answer>Image 1 is better", None),
        ("Image 2 is better than I thought, but Image 1 is better", 1.0),
        ("Image 1 is better, but Image 2 is better still", 0.0),
        ("Image 1 is betterish", None),
        ("no idea", None),
    ],
)
def test_choice(text, value):
    assert verdict(CHOICE, text, "Image 1 is better") == (value, value == 1.0)


def test_choice_among_others():
    graded = scoring.build("choice", {"choices": ["good", "very good", "bad"], "fallback": "none"})
    assert verdict(graded, "<answer>It is very good!</answer>", "very good") == (1.0, True)
    assert verdict(graded, "<answer>very good</answer>", "good") == (0.0, False)
    assert verdict(graded, "very good", "very good") == (None, False)
    assert "none of the choices" in graded.score("<answer>good</answer>", "ugly").detail
    assert "none of the choices" in graded.score("<answer>good</answer>", None).detail
    letters = scoring.build("choice", {"choices": ["A", "B"], "fallback": "none"})
    assert verdict(letters, "<answer>B, a fine one</answer>", "B") == (1.0, True)
    with pytest.raises(UserError, match="of one letter"):
        scoring.build("choice", {"choices": ["A", "B"]})
    for options in (
        {"choices": ["a"]}, {"choices": "ab"}, {"choices": [1, 2]}, {"choices": [True, False]},
        {"choices": None}, {"choices": ["a", "A."]}, {"fallback": "first"},
    ):  # fmt: skip
        with pytest.raises(UserError, match="scorer 'choice'"):
            scoring.build("choice", options)


@pytest.mark.parametrize(
    ("stated", "reference", "passed"),
    [
        ("B", "B", True), ("(b)", "B", True), ("B.", "b", True), ("B) Paris", "B", True),
        ("b: Paris", "(B)", True), ("a cat", "A", False), ("Bonn", "B", False), ("C", "B", False),
        ("B Paris", "B", False), ("7", "7", True), ("(B)", "B.", True),
        # What merely begins like a choice is compared as a whole.
        ("A. Lincoln", "A. Einstein", False), ("x: 5", "x: 3", False), ("B) London", "B) Paris", False),
        ("b) paris", "B) Paris", True), ("A. Einstein", "a. einstein", True),
        # How it looks does not matter, what it says does.
        ("**B**", "B", True), ("__B__", "B", True), ("*b*", "B", True), ("`B`", "B", True),
        ("$B$", "B", True),
        (r"\(B\)", "B", True), (r"\text{B}", "B", True), (r"\textbf{(B)}", "B", True),
        ("**B) Paris**", "B", True),
        ("**B**. Paris", "B", True), (r"$\mathrm{B}$.", "B", True), (r"**\text{B}**", "B", True),
        ("B", r"\text{B}", True), ("(B)", "**B**", True), (r"\boxed{\text{B}}", r"\boxed{\text{B}}", True),
        ("**C**", "B", False), ("**Bonn**", "B", False), ("B*", "B", False), ("**B", "B", False),
        (r"\text{B", "B", False), (r"\frac{B}", "B", False), ("*A* cat", "A", False), ("", "B", False),
        (r"\text{}", "B", False), ("****", "B", False), ("**B** and **C**", "B", False),
        ("**Paris**", "Paris", False),
    ],
)  # fmt: skip
def test_choice_letters(stated, reference, passed):
    assert scoring.build("exact_answer").score(f"<answer>{stated}</answer>", reference).passed == passed


def test_marks_that_are_never_closed_take_no_time():
    started = time.monotonic()
    assert not verdict(scoring.build("exact_answer"), "<answer>" + "\\(" * 100_000 + "</answer>", "B")[1]
    assert time.monotonic() - started < 1


def test_the_last_line_as_answer():
    lines = scoring.build("exact_answer", {"last_line": True})
    assert lines.score("I think\n\n 18 \n\n", "18").passed
    assert lines.score("18", "18").passed
    assert lines.score("<answer>17</answer>\n18", "17").passed
    assert not lines.score("<answer>18", "<answer>18").passed
    assert lines.score("  \n ", "18").detail == "no answer found"


def test_a_scale_and_percentages():
    scale = scoring.build("numeric_error", {"tolerance": 0.5, "low": 1, "high": 5})
    assert verdict(scale, "<answer>5</answer>", "4.5") == (0.5, True)
    assert verdict(scale, "<answer>5.01</answer>", "4.5") == (None, False)
    assert "outside of [1, 5]" in scale.score("<answer>80</answer>", "4").detail
    share = scoring.build("numeric_error", {"tolerance": 0.01})
    for text, reference in (("45%", "0.45"), ("0.45", "45%"), ("45%", "45"), ("45", "45 %"), ("45%", "45%")):
        assert share.score(f"<answer>{text}</answer>", reference).value == pytest.approx(0, abs=1e-12)
    assert share.score("<answer>about $1,200 km</answer>", "1200").passed
    assert not share.score("<answer>45%</answer>", "0.5").passed
    points = scoring.build("numeric_error", {"tolerance": 5})
    # The error is on the reference's scale, and so is the tolerance.
    for text, reference, error in (
        ("0.9", "50%", 40),
        ("2", "95%", 93),
        ("0.9", "3%", 2.1),
        ("0.5", "50%", 0),
    ):
        assert points.score(f"<answer>{text}</answer>", reference).value == pytest.approx(error)
    assert points.score(f"<answer>{'9' * 308}</answer>", f"-{'9' * 308}").value is None
    for options in ({"low": 5, "high": 1}, {"low": "1"}, {"tolerance": float("nan")}):
        with pytest.raises(UserError):
            scoring.build("numeric_error", options)


def test_regex():
    tags = scoring.build("regex", {"pattern": r"(?s)<think>.+</think>"})
    assert verdict(tags, "<think>a\nb</think>") == (1.0, True)
    assert verdict(tags, "<think></think>") == (0.0, False)
    answer = scoring.build("regex", {"pattern": r"answer is (?P<answer>\S+)", "group": "answer"})
    assert verdict(answer, "the answer is 3. No: the answer is 1,000", "#### 1000") == (1.0, True)
    assert verdict(answer, "the answer is 4", "3") == (0.0, False)
    assert answer.score("the answer is 4", None).value is None
    with pytest.raises(UserError, match="does not compile"):
        scoring.build("regex", {"pattern": "(a"})
    with pytest.raises(UserError, match="group"):
        scoring.build("regex", {"pattern": "a", "group": 1})


def test_a_pattern_that_backtracks_for_ever_costs_one_text():
    slow = scoring.build("regex", {"pattern": r"(a|aa|b?)+$", "seconds": 0.1})
    score = slow.score("a" * 60 + "!", None)
    assert score.value is None
    assert "did not end" in score.detail
    assert slow.score("aab", None).passed


def test_a_pattern_that_ends_on_no_text_is_given_up_soon():
    slow = scoring.build("regex", {"pattern": r"(a|aa|b?)+$", "seconds": 0.001})
    scores = [slow.score("a" * 60 + "!", None) for _ in range(HOPELESS - 1)]
    assert all(score.value is None for score in scores)
    with pytest.raises(
        UserError, match=r"scorer 'regex', pattern: it did not end within 0\.001 s on any of the first 32"
    ):
        slow.score("a" * 60 + "!", None)
    other = scoring.build("regex", {"pattern": r"(a|aa|b?)+$", "seconds": 0.001})
    assert other.score("!", None).value == 1
    assert all(other.score("a" * 60 + "!", None).value is None for _ in range(2 * HOPELESS))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<think>a</think>\n<answer>b</answer>", ""),
        ("<think>a</think>", "0 times <answer>"),
        ("<think>a<answer>b</answer></think>", "out of order"),
        ("<answer>b</answer><think>a</think>", "out of order"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "2 times <answer>"),
        ("<think>a</think><answer> </answer>", "nothing in <answer>"),
        ("so <think>a</think><answer>b</answer>", "text outside of the tags: so"),
        ("<think>a</think><answer>b</answer>!", "text outside of the tags: !"),
        ("<think>a</think></answer><answer>b", "out of order"),
    ],
)
def test_format(text, fault):
    score = scoring.build("format").score(text, None)
    assert score.passed == (not fault)
    assert fault in score.detail
    loose = scoring.build("format", {"strict": False}).score(f"well {text} then", None)
    assert loose.passed == (not fault or fault.startswith("text outside"))


@pytest.mark.parametrize("tags", [[], ["a", "a"], "think", [1], None, {"think": 1}, ["<think>"]])
def test_tags_that_are_none(tags):
    with pytest.raises(UserError, match="tags"):
        scoring.build("format", {"tags": tags})


def test_a_tag_that_the_prompt_opened():
    opened = scoring.build("format", {"opened": True})
    assert opened.score("a</think><answer>b</answer>", None).passed
    assert not opened.score("<think>a</think><answer>b</answer>", None).passed


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_repetition_counts_every_ngram(words, ngram):
    grams = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    expected = sum(gram in grams[:index] for index, gram in enumerate(grams)) / len(grams) if grams else 0.0
    score = scoring.build("repetition", {"ngram": ngram, "most": 0.5}).score(" ".join(words), None)
    assert score.value == pytest.approx(expected)
    assert score.passed == (score.value <= 0.5)


@given(st.lists(st.just("w"), max_size=12), st.integers(0, 6), st.integers(0, 6))
def test_length_is_the_distance_from_its_band(words, low, more):
    score = scoring.build("length", {"low": low, "high": low + more}).score(" ".join(words), None)
    assert score.value == min(abs(len(words) - inside) for inside in range(low, low + more + 1))
    assert score.passed == (score.value == 0)


def test_a_band_that_nothing_fits_is_refused():
    with pytest.raises(UserError, match="low and high"):
        scoring.build("length", {"high": 0})


def test_combiners():
    total = scoring.build("weighted_sum", {"weights": {"a": 2, "b": -1}})
    assert total.combine({"a": Score(1, True, ""), "b": Score(0.5, True, "")}) == Score(
        1.5, True, "a=1 b=0.5"
    )
    assert not total.combine({"a": Score(1, True, ""), "b": Score(0.5, False, "")}).passed
    assert total.combine({"a": Score(None, False, "why"), "b": Score(1, True, "")}).value is None
    huge = {"a": Score(1e308, True, ""), "b": Score(-1e308, True, "")}
    assert total.combine(huge).value is None
    limit = scoring.build("weighted_sum", {"weights": {"a": 1}, "at_least": 0.5})
    assert limit.combine({"a": Score(0.5, False, "")}).passed
    both = scoring.build("all_of", {"scorers": ["a", "b"]})
    assert both.combine({"a": Score(1, True, ""), "b": Score(3, True, "")}).passed
    assert both.combine({"a": Score(0, False, "no"), "b": Score(None, False, "?")}).value == 0
    assert both.combine({"a": Score(1, True, ""), "b": Score(None, False, "?")}) == Score(None, False, "b: ?")
    # What fails with equal answers fails alike.
    failed = [
        both.combine({"a": Score(0, False, d, "~a"), "b": Score(0, False, "?")}) for d in ("x+1", "1+x")
    ]
    assert failed[0].detail != failed[1].detail
    assert failed[0].answer_class == failed[1].answer_class == "a: ~a, b: ?"


@pytest.mark.parametrize("scorers", [[], [1], None, "exact_answer", {"exact_answer": 1}])
def test_parts_that_are_no_names(scorers):
    with pytest.raises(UserError, match="scorers"):
        scoring.build("all_of", {"scorers": scorers})
    with pytest.raises(UserError, match="weights"):
        scoring.build("weighted_sum", {"weights": {1: 0.5} if scorers else {}})


def test_labels_and_parts():
    found = scoring.parse(
        [
            'regex/one={"pattern": "a"}', 'regex/two={"pattern": "b"}',
            'all_of={"scorers": ["regex/one", "regex/two"]}',
        ]
    )  # fmt: skip
    assert [scorer.name for scorer in found.values()] == ["regex/one", "regex/two", "all_of"]
    assert scoring.measure("regex/one") == "verdict"
    assert scoring.build("exact_answer").name == "exact_answer"
    with pytest.raises(UserError, match="did you mean 'regex/one'"):
        scoring.parse(['regex/one={"pattern": "a"}', 'all_of={"scorers": ["regex/on"]}'])
    scoring.parse(['all_of={"scorers": ["regex/one"]}', 'regex/one={"pattern": "a"}'])
    for names in ('"all_of"', '"weighted_sum"'):
        with pytest.raises(UserError, match="combines itself"):
            scoring.parse(
                [
                    f'all_of={{"scorers": [{names}]}}',
                    'weighted_sum={"weights": {"all_of": 1}}',
                    "exact_answer",
                ]
            )
    with pytest.raises(UserError, match="did you mean 'regex'"):
        scoring.build("rege/one", {"pattern": "a"})
