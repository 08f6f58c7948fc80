"""The leak gate: what the hint is, what counts as quoting it, and drift from unhinted completions."""

from __future__ import annotations

import pytest
from scored_rows import row, score

from winnow.errors import UserError
from winnow.records import Prompt
from winnow.selection import drift, leakage
from winnow.selection.decision import REJECTED
from winnow.selection.drift import Bounds, Drift, Unhinted
from winnow.selection.groups import Group
from winnow.selection.leakage import Gate, around_answer, hint_of, judge, overlap
from winnow.selection.rules import Rules
from winnow.selection.selector import Selector

QUESTION = "A train leaves at noon and covers 120 km in two hours. What is its mean speed?"
SOLUTION = "We divide the way by the time that it took, so 120 over 2 gives 60 km per hour."


def prompt(teacher: str | None = f"{QUESTION} Solution: {SOLUTION}", student: str = QUESTION) -> Prompt:
    def messages(text: str) -> list:
        return [{"role": "user", "content": text}]

    return Prompt("p", messages(student), None if teacher is None else messages(teacher), "60")


def share(text, n=5, **options):
    found = hint_of(prompt(**options), Gate(hint_words=n))
    return None if found is None else overlap(found, text, n)


def test_the_hint_is_what_the_teacher_alone_was_shown():
    assert hint_of(prompt(None), Gate()) is None
    assert hint_of(prompt(QUESTION), Gate()) is None
    assert share(SOLUTION) > 0.9
    # The hint's last run is "Solution: We divide the way", whose first word the completion lacks.
    assert share(f"Solution: {SOLUTION}") == 1.0
    assert share(QUESTION) == 0.0, "to repeat the question is no leak"
    assert share("Let us divide the way by the time, 120 over 2, that is 60.") == pytest.approx(
        0.13, abs=0.05
    )


def test_a_hint_that_repeats_the_question_is_not_that_part_of_it():
    teacher = f"{QUESTION} Remember: {QUESTION} The answer is sixty kilometres an hour and no more."
    assert share(QUESTION, teacher=teacher) == 0.0


def test_a_hint_before_between_and_behind():
    teacher = f"Note well that five words stand. {QUESTION} And here are five others too."
    assert share("note well that five words stand", teacher=teacher) > 0
    assert share("and here are five others too", teacher=teacher) > 0


def test_a_bare_answer_has_no_run():
    assert share("The answer is 60.", teacher=f"{QUESTION} The answer is 60.") is None
    gate = Gate(max_overlap=0.0)
    found = hint_of(prompt(f"{QUESTION} The answer is 60."), gate)
    assert judge(gate, found, "The answer is 60.") == (None, None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("so <answer>60 km</answer>", ["so <answer>", "</answer>"]),
        ("60 it is: \\boxed{60}", ["60 it is: \\boxed{", "}"]),
        ("nothing stated", ["nothing stated"]),
    ],
)
def test_the_final_answer_is_cut_out(text, parts):
    assert around_answer(text) == parts


def test_what_only_the_final_answer_says_is_no_overlap():
    teacher = f"{QUESTION} one two three four five six"
    stated = "<answer>one two three four five six</answer>"
    assert share(stated, teacher=teacher) == 0.0
    assert share(f"one two three four five six {stated}", teacher=teacher) == 1.0
    # Words on both sides of the answer are no run.
    assert share("one two three <answer>7</answer> four five six", teacher=teacher) == 0.0


def test_phrases_are_words_and_the_students_own_do_not_count():
    gate = Gate(phrases=("given the answer", "as the hint says"))
    hint = hint_of(prompt(), gate)
    found, _ = judge(gate, hint, "GIVEN, the  answer 60, we see")
    assert (found.outcome, found.reason) == (REJECTED, "leak: says 'given the answer'")
    assert judge(gate, hint, "given that the answer is 60")[0] is None
    assert judge(gate, hint, "it is given the answers vary")[0] is None
    own = hint_of(
        prompt("Given the answer below, check it. 60 it is.", "Given the answer below, check it."), gate
    )
    assert judge(gate, own, "Given the answer, I check.")[0] is None


def test_the_gate_says_by_how_much():
    gate = Gate(max_overlap=0.5)
    found, share_ = judge(gate, hint_of(prompt(), gate), SOLUTION)
    assert found.reason == "leak: overlap with the hint above 0.5"
    assert found.detail == f"{share_:.3f}"
    assert judge(Gate(max_overlap=1.0), hint_of(prompt(), gate), f"Solution: {SOLUTION}") == (None, 1.0)


def drawn(sample, tokens=10, logprob=None, alpha="teacher", text=""):
    more = {} if logprob is None else {"logprobs": [logprob] * tokens}
    scores = {"exact_answer": score(1.0)}
    return row(sample, text, completion_tokens=tokens, alpha=alpha, scores=scores, **more)


PLAIN = Unhinted.of([drawn(0, 10, -1.0, "policy"), drawn(1, 30, -2.0, "policy")])


def test_drift_bounds():
    assert Unhinted(20.0, -1.5) == PLAIN
    length, logprob = Bounds(max_length=2.0), Bounds(max_logprob=0.5)
    assert [drift.judge(length, PLAIN, drawn(0, n)) is None for n in (9, 10, 40, 41)] == [
        False,
        True,
        True,
        False,
    ]
    found = drift.judge(length, PLAIN, drawn(0, 41))
    assert (found.reason, found.detail) == ("leak: length beyond 2 of the unhinted", "ratio 2.05")
    logs = (-2.01, -2.0, -1.0, -0.99)
    assert [drift.judge(logprob, PLAIN, drawn(0, 5, x)) is None for x in logs] == [False, True, True, False]
    assert drift.judge(logprob, PLAIN, drawn(0, 5, -0.5)).detail == "+1 nats a token"
    assert drift.judge(logprob, PLAIN, drawn(0, 5)) is None, "without log-probabilities nothing is known"
    assert drift.judge(length, Unhinted(None, None), drawn(0, 5)) is None
    with pytest.raises(UserError, match="a ratio of at least 1"):
        Bounds(max_length=0.5)


def test_drift_is_a_mean_over_prompts():
    found = Drift()
    found.enter(Unhinted(10.0, -1.0), PLAIN)
    found.enter(Unhinted(20.0, None), Unhinted(40.0, -3.0))
    found.enter(Unhinted(None, None), PLAIN)
    told = found.statistics()
    assert (told["prompts"], told["tokens"], told["tokens_unhinted"], told["length_ratio"]) == (
        2,
        15,
        30,
        0.5,
    )
    assert (told["logprob_prompts"], told["entropy"], told["entropy_unhinted"]) == (1, 1.0, 1.5)
    assert told["entropy_difference"] == -0.5
    assert Drift().statistics()["length_ratio"] is None


def test_the_selector_gates_hinted_completions_alone():
    leaky = f"Solution: {SOLUTION}"
    hinted = Group(prompt(), [drawn(0, text=leaky), drawn(1, 50), drawn(2, 18)])
    own = Group(prompt(), [drawn(0, text=leaky, alpha="policy")])
    plain = Group(prompt(), [drawn(0, 20, alpha="policy")])
    selector = Selector(Rules(), gate=Gate(max_overlap=0.5), bounds=Bounds(max_length=2.0))
    [(_, first)] = selector.decided([hinted], [plain])
    assert [d.reason for d in first] == [
        "leak: overlap with the hint above 0.5", "leak: length beyond 2 of the unhinted", "correct"
    ]  # fmt: skip
    [(_, second)] = selector.decided([own], [plain])
    assert [d.reason for d in second] == ["correct"]
    told = selector.leaks.statistics(unhinted=True)
    assert (told["hinted_prompts"], told["completions"], told["with_overlap"]) == (1, 3, 1)
    assert told["drift"]["prompts"] == 1
    assert Selector(Rules()).leaks.statistics(unhinted=False) is None


def test_options_are_checked():
    with pytest.raises(UserError, match=r"a share in \[0, 1\]"):
        Gate(max_overlap=1.5)
    with pytest.raises(UserError, match="leak_phrases"):
        Gate(phrases=("…",))
    assert leakage.saw_hint({"alpha": "kl_symmetry"})
    assert not leakage.saw_hint({"alpha": "policy"})
