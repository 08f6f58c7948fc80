"""Strategies, pairs and votes: what each keeps, ties, and what holds for any table of scores."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_rows import SCORERS, row, score, tables, valued

from winnow.errors import UserError
from winnow.scoring import measure
from winnow.selection.answer_classes import answer_class, majority
from winnow.selection.decision import ACCEPTED, CHOSEN, NOT_DRAWN, REFUSED
from winnow.selection.ledger import Ledger
from winnow.selection.near_duplicates import NearDuplicates
from winnow.selection.rules import Filters, Rules
from winnow.selection.strategies import BY_VOTES, STRATEGIES


def decide(rows, **options):
    return Rules(**options).decide(rows)


def reasons(rows, **options):
    return [each.reason for each in decide(rows, **options)]


def pair_of(rows, **options):
    """The samples of the pair, or the reasons where there is none."""
    decisions = decide(rows, strategy="best_worst", **options)
    found = {d.role: r["sample"] for d, r in zip(decisions, rows, strict=True) if d.outcome == ACCEPTED}
    return (found[CHOSEN], found[REFUSED]) if found else {d.reason for d in decisions}


@st.composite
def any_rules(draw):
    strategy = draw(st.sampled_from(STRATEGIES))
    scorer = "numeric_error" if strategy == "min_error" else draw(st.sampled_from(SCORERS))
    voters = draw(st.sampled_from([(), SCORERS, ("numeric_error",)])) if strategy in BY_VOTES else ()
    return Rules(
        strategy=strategy,
        scorer=scorer,
        voters=voters,
        max_error=draw(st.sampled_from([None, 0.5])),
        top_k=draw(st.integers(1, 3)) if strategy == "top_k" else None,
        pair_mode=draw(st.sampled_from(["max_min", "max_random"])),
        min_margin=draw(st.sampled_from([None, 0.0, 1.0])),
        max_per_prompt=draw(st.sampled_from([None, 1, 2])),
        deduplicate=draw(st.booleans()),
        pass_rate=draw(st.sampled_from([(0.0, 1.0), (0.2, 0.8)])),
        filters=Filters(
            skip_identical=draw(st.booleans()),
            finish_reasons=draw(st.sampled_from([(), ("stop",)])),
            min_tokens=draw(st.sampled_from([None, 2])),
            max_tokens=draw(st.sampled_from([None, 8])),
        ),
        seed=draw(st.integers(0, 3)),
    )


@given(any_rules(), tables, st.booleans())
def test_every_completion_has_one_outcome_and_pairs_are_apart(rules, rows, near):
    decisions = rules.decide(rows, None, NearDuplicates(within=1.0) if near else None)
    assert len(decisions) == len(rows)
    for each, decision in zip(rows, decisions, strict=True):
        assert (decision.outcome == NOT_DRAWN) == (each["finish_reason"] == "failed")
        assert decision.reason
        assert (decision.role is not None) == (decision.pair is not None)
    kept = [(d, r) for d, r in zip(decisions, rows, strict=True) if d.outcome == ACCEPTED]
    if rules.strategy != "best_worst":
        assert all(d.role is None for d, _ in kept)
        assert len(kept) <= (rules.max_per_prompt or len(rows))
        assert len(kept) <= (rules.top_k or len(rows))
        return
    assert len(kept) in (0, 2)
    if kept:
        members = {d.role: r for d, r in kept}
        chosen, refused = members[CHOSEN], members[REFUSED]
        assert chosen["text"] != refused["text"]
        one, other = chosen["scores"][rules.scorer], refused["scores"][rules.scorer]
        if measure(rules.scorer) == "verdict":
            assert one["passed"]
            assert not other["passed"]
        if not rules.voters:
            sign = -1 if rules.scorer == "numeric_error" else 1
            margin = sign * (one["value"] - other["value"])
            assert margin > 0
            assert margin >= (rules.min_margin or 0)


@given(any_rules(), tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(rules, rows, shuffle: random.Random):
    before = dict(zip((r["id"] for r in rows), rules.decide(rows), strict=True))
    other = list(rows)
    shuffle.shuffle(other)
    assert dict(zip((r["id"] for r in other), rules.decide(other), strict=True)) == before


@given(any_rules(), st.lists(tables, max_size=4))
def test_the_ledger_adds_up_for_any_scores_and_settings(rules, prompts):
    ledger = Ledger(n=8)
    rows_accepted = examples = 0
    for rows in prompts:
        filled = [*rows, *(row(i, finish_reason="failed", scores={}) for i in range(len(rows), 8))]
        decisions = rules.decide(filled)
        for each in filled:
            each["scores"] = each["scores"] or dict.fromkeys(SCORERS, score(None, False))
        ledger.enter(filled, decisions, rules.scorer)
        rows_accepted += sum(d.outcome == ACCEPTED for d in decisions)
        examples += sum(d.outcome == ACCEPTED and d.role != REFUSED for d in decisions)
    found = ledger.statistics()
    assert (found["accepted"], found["examples"]) == (rows_accepted, examples)
    assert sum(found["outcomes"].values()) == found["completions"] == 8 * len(prompts)
    assert found["eligible"] == rows_accepted


def test_worst_is_the_other_end_and_of_a_verdict_one_that_failed():
    by = {"strategy": "worst", "scorer": "numeric_error"}
    assert reasons(valued([0.5, 2.0, None, 2.0]), **by) == [
        "not the prompt's worst", "worst", "has no value", "not the prompt's worst"
    ]  # fmt: skip
    verdicts = valued([1.0, 1.0], "exact_answer")
    assert reasons(verdicts, strategy="worst") == ["not the prompt's worst"] * 2
    assert reasons(valued([1.0, 0.0, 0.0], "exact_answer"), strategy="worst")[1] == "worst"


def test_top_k_counts_no_duplicates():
    rows = valued([3.0, 1.0, 2.0, 1.0, None])
    rows[3]["text"] = rows[1]["text"]
    found = reasons(rows, strategy="top_k", scorer="numeric_error", top_k=2)
    beyond = "not among the prompt's 2 best"
    assert found == [beyond, "top_k", "top_k", "duplicate within its prompt", "has no value"]
    kept = reasons(rows, strategy="top_k", scorer="numeric_error", top_k=2, deduplicate=False)
    assert kept == [beyond, "top_k", beyond, "top_k", "has no value"]
    assert reasons(valued([1.0, 0.0], "exact_answer"), strategy="top_k", top_k=2) == ["top_k", beyond]


def stated(*details, scorer="exact_answer", value=0.0):
    return [row(i, scores={scorer: score(value, False, detail)}) for i, detail in enumerate(details)]


def test_majority_is_of_answers_not_of_strings():
    found = reasons(stated("$1,200", "7", "1200.0", "no answer found", "1200."), strategy="majority")
    lost = "not the majority's answer"
    assert found == ["majority", lost, "majority", "states no answer", "majority"]


def test_a_tie_of_classes_goes_to_the_earliest_sample_and_is_told():
    found = reasons(stated("no answer found", "b", "a", "A", "B"), strategy="majority")
    lost = "not the majority's answer"
    assert found == ["states no answer", "majority, a tie", lost, lost, "majority, a tie"]
    assert reasons(stated("", ""), strategy="majority") == ["states no answer"] * 2


@pytest.mark.parametrize(("one", "other"), [("3.50", "3.5 MOS"), ("7 dB", "7")])
def test_answers_of_an_error_are_numbers(one, other):
    assert answer_class(score(1.0, detail=one), "error") == answer_class(score(1.0, detail=other), "error")


def test_answers_that_the_verifier_calls_equal_are_one():
    rows = [
        {"value": float(p), "passed": p, "detail": d}
        for d, p in (("(B)", True), ("b) paris", True), ("a", False))
    ]
    classes = [answer_class(row, "verdict") for row in rows]
    assert classes[0] == classes[1] != classes[2]
    # A text that says so is no such class.
    assert answer_class({"value": 0.0, "passed": False, "detail": "passed"}, "verdict") != classes[0]


@pytest.mark.parametrize(
    "equal", [("1/2", "\\frac{1}{2}", "0.5", "50\\%", "2/4", ".50"), ("-3", "-6/2"), ("1,000", "1000.0")]
)
def test_wrong_answers_that_are_one_number_are_one(equal):
    classes = {answer_class({"value": 0.0, "passed": False, "detail": each}, "verdict") for each in equal}
    assert len(classes) == 1
    for other in ("1/0", "1/3", "x/2", "(1,2)"):
        assert answer_class({"value": 0.0, "passed": False, "detail": other}, "verdict") not in classes


def test_the_scorers_own_classes_go_before_the_text():
    def wrong(detail, key=None):
        return {"value": 0.0, "passed": False, "detail": detail, **({"answer_class": key} if key else {})}

    classes = [
        answer_class(wrong(*each), "verdict") for each in (("x+1", "~a"), ("1+x", "~a"), ("x+2", "~b"))
    ]
    assert classes[0] == classes[1] != classes[2]
    # No text is a key, but a number is a number however it was told.
    assert answer_class(wrong("~a"), "verdict") not in classes
    assert answer_class(wrong("2 - 1.5", "1/2"), "verdict") == answer_class(wrong("0.5"), "verdict")
    # What says nothing and what passed are told apart before.
    assert answer_class({**wrong("no answer found", "~a"), "value": None}, "verdict") is None
    right = {"value": 1.0, "passed": True, "detail": "x+1"}
    assert answer_class({**right, "answer_class": "~a"}, "verdict") == answer_class(right, "verdict")


def test_a_majority_of_equal_formulas():
    rows = [
        row(i, scores={"math": {**score(0.0, False, detail), "answer_class": key}})
        for i, (detail, key) in enumerate((("7", "7"), ("x+1", "~a"), ("1+x", "~a")))
    ]
    found = reasons(rows, strategy="majority", scorer="math")
    assert found == ["not the majority's answer", "majority", "majority"]


@given(st.lists(st.sampled_from(["a", "b", "c", None])))
def test_the_majority_is_as_large_as_any(classes):
    found = majority(classes)
    sizes = {each: classes.count(each) for each in classes if each is not None}
    assert (found is None) == (not sizes)
    if found:
        assert found.size == max(sizes.values()) == sizes[found.winner]
        assert found.tied == (list(sizes.values()).count(found.size) > 1)
        largest = [each for each in classes if each is not None and sizes[each] == found.size]
        assert found.winner == largest[0]


def test_pairs_are_the_ends():
    assert pair_of(valued([1.0, 0.5, 2.0, None]), scorer="numeric_error") == (1, 2)
    assert pair_of(valued([0.0, 1.0, 1.0, 0.0], "exact_answer")) == (1, 0)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, 1.0, 1.0], "no pair: a tie"),
        ([1.0, 1.5], "no pair: margin below 1"),
        ([1.0], "no pair: nothing to compare with"),
    ],
)
def test_no_pair_says_why(values, reason):
    assert pair_of(valued(values), scorer="numeric_error", min_margin=1.0) == {reason}


def test_a_margin_that_is_just_reached_is_enough():
    assert pair_of(valued([1.0, 2.0]), scorer="numeric_error", min_margin=1.0) == (0, 1)


def test_no_pair_of_verdicts_that_agree():
    assert pair_of(valued([1.0, 1.0], "exact_answer")) == {"no pair: all passed"}
    assert pair_of(valued([0.0, 0.0], "exact_answer")) == {"no pair: none passed"}


def test_equal_texts_are_no_pair_and_the_next_worst_steps_in():
    rows = valued([0.0, 3.0, 2.0])
    rows[1]["text"] = rows[0]["text"]
    assert pair_of(rows, scorer="numeric_error") == (0, 2)
    rows[2]["text"] = rows[0]["text"]
    assert pair_of(rows, scorer="numeric_error") == {"no pair: texts alike"}


def test_random_rejected_ones_are_worse_seeded_and_even():
    rows = valued([0.0, 1.0, 1.0, 2.0, 0.0, None])
    options = {"scorer": "numeric_error", "pair_mode": "max_random"}
    found = [pair_of(rows, seed=seed, **options) for seed in range(300)]
    assert found == [pair_of(rows, seed=seed, **options) for seed in range(300)]
    assert {chosen for chosen, _ in found} == {0}
    drawn = [refused for _, refused in found]
    assert set(drawn) == {1, 2, 3}
    assert all(70 < drawn.count(each) < 130 for each in (1, 2, 3))
    far = {pair_of(rows, seed=seed, min_margin=2.0, **options) for seed in range(20)}
    assert far == {(0, 3)}


def votes(*table, **options):
    """Rows from one list of values a voter, all rewards by their sign: numeric_error/0, /1 …"""
    names = [f"numeric_error/{i}" for i in range(len(table))]
    rows = [
        row(i, scores={name: score(value) for name, value in zip(names, column, strict=True)})
        for i, column in enumerate(zip(*table, strict=True))
    ]
    return rows, {"scorer": names[0], "voters": tuple(names), **options}


def test_the_most_votes_win():
    # Two of three name sample 1, whatever the third thinks by how much.
    rows, options = votes([1.0, 0.0, 2.0], [1.0, 0.5, 2.0], [0.0, 90.0, 1.0])
    assert reasons(rows, strategy="best", **options).index("best") == 1
    assert reasons(rows, strategy="worst", **options).index("worst") == 2
    assert pair_of(rows, **options) == (1, 2)


def test_votes_that_tie_go_by_mean_rank_then_by_sample():
    # One vote each for 0, 1 and 2; their ranks add up to 3, 5 and 2.
    rows, options = votes([0.0, 3.0, 1.0, 2.0], [3.0, 0.0, 2.0, 9.0], [0.5, 2.0, 0.0, 9.0])
    assert reasons(rows, strategy="best", **options).index("best") == 2
    assert pair_of(rows, **options) == (2, 3)
    rows, options = votes([0.0, 1.0], [1.0, 0.0])
    assert reasons(rows, strategy="best", **options).index("best") == 0
    assert pair_of(rows, **options) == {"no pair: a tie"}
    rows, options = votes([0.0, 1.0, 2.0], [2.0, 0.0, 1.0])
    # One vote each for 0 and 1: mean ranks 1 and 0.5.
    assert reasons(rows, strategy="best", **options).index("best") == 1


def test_a_voter_that_ties_shares_its_vote():
    # Two halves each for 0 and 1, and one for 1. If ties went to the first, 0 would have two of three.
    rows, options = votes([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 2.0])
    assert reasons(rows, strategy="best", **options).index("best") == 1
    # 1 has two halves and a whole, 0 two halves and the better mean rank, 2 a whole.
    tie = [0.0, 0.0, 1.0, 1.0]
    rows, options = votes(tie, tie, [1.0, 0.0, 2.0, 3.0], [1.0, 3.0, 0.0, 2.0])
    assert reasons(rows, strategy="best", **options).index("best") == 1
    # 2 has two votes, 0 and 1 two halves: were these wholes, 0 would win by its mean rank.
    tie = [0.0, 0.0, 1.0]
    rows, options = votes(tie, tie, [1.0, 2.0, 0.0], [1.0, 2.0, 0.0])
    assert reasons(rows, strategy="best", **options).index("best") == 2


def test_the_lowest_sample_is_first_wherever_it_stands():
    rows = valued([1.0, 1.0], "exact_answer")
    rows[0]["text"] = rows[1]["text"] = "same"
    assert reasons(rows[::-1]) == ["duplicate within its prompt", "correct"]
    tied = stated("a", "b")[::-1]
    assert reasons(tied, strategy="majority") == ["not the majority's answer", "majority, a tie"]


def test_what_one_voter_could_not_judge_is_out():
    rows, options = votes([0.0, 1.0, 2.0], [None, 1.0, 2.0])
    assert reasons(rows, strategy="best", **options) == ["has no value", "best", "not the prompt's best"]
    assert pair_of(rows, **options) == (1, 2)


def test_identical_completions_skip_the_prompt_but_one_alone_does_not():
    alone, same = valued([1.0], "exact_answer"), valued([1.0, 1.0], "exact_answer")
    same[1]["text"] = same[0]["text"]
    failed = row(2, finish_reason="failed", scores={"exact_answer": score(None)})
    filters = Filters(skip_identical=True)
    assert reasons(alone, filters=filters) == ["correct"]
    identical = "prompt's completions are all identical"
    assert reasons([*same, failed], filters=filters) == [identical, identical, "failed"]
    assert reasons(same, filters=Filters()) == ["correct", "duplicate within its prompt"]


def test_lengths_and_finish_reasons_come_before_the_strategy():
    rows = valued([0.0, 1.0, 2.0, 3.0])
    rows[0]["finish_reason"], rows[1]["completion_tokens"], rows[3]["completion_tokens"] = "length", 2, 9
    filters = Filters(finish_reasons=("stop",), min_tokens=5, max_tokens=8)
    found = reasons(rows, strategy="best", scorer="numeric_error", filters=filters)
    assert found == ["finish reason length", "under min_tokens = 5", "best", "over max_tokens = 8"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "best_wurst"}, "did you mean 'best_worst'"),
        ({"pair_mode": "max_mean"}, "pair_mode"),
        ({"strategy": "top_k"}, "give top_k"),
        ({"top_k": 2}, "with the strategy correct"),
        ({"min_margin": -1.0}, "min_margin"),
        ({"min_margin": math.nan}, "min_margin"),
        ({"strategy": "min_error", "scorer": "numeric_error", "max_error": math.nan}, "max_error"),
        ({"voters": ("exact_answer",)}, "choose one of these"),
        ({"strategy": "best", "voters": ("exact_answer",) * 2}, "each voter once"),
        ({"strategy": "best", "voters": ("exact_anser",)}, "did you mean 'exact_answer'"),
    ],
)
def test_rules_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        Rules(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finish_reasons": ("stopp",)}, "some of stop, length"),
        ({"finish_reasons": ("failed",)}, "some of stop, length"),
        ({"min_tokens": 3, "max_tokens": 2}, "min_tokens ≤ max_tokens"),
    ],
)
def test_filters_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        Filters(**options)


@pytest.mark.parametrize("given", [{"max_error": 0.5}, {"min_margin": 0.1}, {"pair_mode": "max_random"}])
def test_what_the_strategy_does_not_look_at_is_refused(given):
    with pytest.raises(UserError, match="does not look at it"):
        Rules(strategy="correct", **given).check_idle()
    needed = "min_error" if "max_error" in given else "best_worst"
    Rules(strategy=needed, scorer="numeric_error", **given).check_idle()
