"""A prompt's reference as a candidate of selection: what is kept, what is counted, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_rows import score

from winnow.errors import UserError
from winnow.records import Prompt
from winnow.selection.contamination import Decontamination, read_test_set
from winnow.selection.decision import ACCEPTED, NOT_DRAWN, REFUSED, REJECTED
from winnow.selection.examples import within_budget
from winnow.selection.filters import Filters
from winnow.selection.groups import Group
from winnow.selection.leakage import Gate
from winnow.selection.ledger import Ledger, as_text
from winnow.selection.references import References, with_references
from winnow.selection.rules import Rules
from winnow.selection.selector import Selector

A, B = "reward_model/a", "reward_model/b"
N = 3


def group(values: list[Any], reference: Any, text: str | None = "the reference", name: str = "p") -> Group:
    """A prompt whose completions and reference have these values: of one model, or of two as pairs."""

    def scores(value: Any) -> dict[str, Any]:
        pair = value if isinstance(value, tuple) else (value, value)
        return {A: score(pair[0]), B: score(pair[1])}

    said = {scorer: each["value"] for scorer, each in scores(reference).items()}
    rows = [
        {
            "id": f"{name}/{i}", "prompt_id": name, "sample": i, "text": f"text {i}", "finish_reason": "stop",
            "completion_tokens": 5, "alpha": "policy", "scores": scores(value),
            **({"reference_scores": said} if text else {}),
        }
        for i, value in enumerate(values)
    ]  # fmt: skip
    return Group(Prompt(name, [{"role": "user", "content": "?"}], reference=text), rows)


def rules(**given: Any) -> Rules:
    return Rules(**{"strategy": "best", "scorer": A, "include_reference": True} | given)


def reasons(found: Group, **given: Any) -> list[str]:
    """Why each candidate is kept or not, the reference last."""
    (candidates,) = with_references([found])
    return [decision.reason for decision in rules(**given).decide(candidates.candidates)]


def test_the_row_of_a_reference_says_that_nobody_drew_it():
    (found,) = with_references([group([1.0, 2.0], 3.0)])
    assert found.reference == {
        "id": "p/reference",
        "prompt_id": "p",
        "text": "the reference",
        "is_reference": True,
        "scores": {
            name: {"value": 3.0, "passed": None, "detail": "", "version": 1} for name in (A, B)
        },
        "reference_scores": {A: 3.0, B: 3.0},
    }  # fmt: skip
    assert len(found.completions) == 2


def test_blocks_that_scored_it_apart_do_not_contradict_each_other():
    found = group([1.0, 2.0], 3.0)
    found.completions[1]["reference_scores"] = {A: 3.01, B: 2.99}
    (kept,) = with_references([found])
    assert all(row["reference_scores"] == {A: 3.0, B: 3.0} for row in kept.candidates)
    assert found.completions[1]["reference_scores"] == {A: 3.01, B: 2.99}, "the scored row is as it was"


@pytest.mark.parametrize(
    ("strategy", "reference", "kept"),
    [
        ("best", 3.0, ["p/reference"]),
        ("best", 1.0, ["p/1"]),
        ("best", 2.0, ["p/1"]),  # of equals a drawn one
        ("best", None, ["p/1"]),
        ("worst", 0.0, ["p/reference"]),
        ("worst", 1.0, ["p/0"]),
        ("worst", 3.0, ["p/0"]),
        ("worst", None, ["p/0"]),
        ("top_k", 3.0, ["p/1", "p/reference"]),
        ("top_k", 1.2, ["p/1", "p/2"]),
        ("top_k", None, ["p/1", "p/2"]),
    ],
)
def test_the_strategies_of_single_completions(strategy, reference, kept):
    found = group([1.0, 2.0, 1.5], reference)
    (candidates,) = with_references([found])
    more = {"top_k": 2} if strategy == "top_k" else {}
    decisions = rules(strategy=strategy, **more).decide(candidates.candidates)
    accepted = [
        row["id"]
        for row, decision in zip(candidates.candidates, decisions, strict=True)
        if decision.outcome == ACCEPTED
    ]
    assert accepted == kept


@pytest.mark.parametrize(
    ("reference", "given", "roles"),
    [
        (3.0, {}, {"chosen": "p/reference", "rejected": "p/0"}),
        (0.0, {}, {"chosen": "p/1", "rejected": "p/reference"}),
        (1.5, {}, {"chosen": "p/1", "rejected": "p/0"}),
        (3.0, {"min_margin": 2.5}, {}),
        (4.0, {"min_margin": 2.5}, {"chosen": "p/reference", "rejected": "p/0"}),
        ((9.0, 3.0), {"voters": (A, B)}, {"chosen": "p/reference", "rejected": "p/0"}),
        ((0.0, 0.5), {"voters": (A, B)}, {"chosen": "p/1", "rejected": "p/reference"}),
        # A voter that gave it no value leaves it out of the order.
        ((9.0, None), {"voters": (A, B)}, {"chosen": "p/1", "rejected": "p/0"}),
    ],
)
def test_it_becomes_chosen_or_rejected(reference, given, roles):
    (candidates,) = with_references([group([1.0, 2.0], reference)])
    decisions = rules(strategy="best_worst", **given).decide(candidates.candidates)
    found = {
        decision.role: row["id"]
        for row, decision in zip(candidates.candidates, decisions, strict=True)
        if decision.role
    }
    assert found == roles


def test_its_rank_counts_among_the_voters():
    # By a: 0 before the reference before 1; by b: the reference before 1 before 0. Votes tie, ranks do not.
    found = group([(3.0, 0.0), (1.0, 1.0)], (2.0, 2.0))
    assert reasons(found, voters=(A, B))[2] == "best"
    assert reasons(found, voters=(A, B), strategy="worst")[0] == "not the prompt's worst"


def test_a_random_rejected_one_may_be_the_reference():
    chosen = set()
    for seed in range(20):
        found = reasons(group([1.0, 2.0], 1.5), strategy="best_worst", pair_mode="max_random", seed=seed)
        chosen.add(found.index("best_worst, rejected"))
    assert chosen == {0, 2}


def test_one_completion_and_a_reference_are_a_pair():
    assert reasons(group([1.0], 2.0), strategy="best_worst") == ["best_worst, rejected", "best_worst, chosen"]


def test_a_completion_that_says_the_same_is_no_pair_and_no_second_example():
    found = group([1.0, 2.0], 3.0, text="text 1")
    assert reasons(found, strategy="top_k", top_k=3) == ["top_k", "duplicate within its prompt", "top_k"]
    near = group([2.0], 3.0, text="text 0")
    assert reasons(near, strategy="best_worst") == ["no pair: texts alike"] * 2


def test_the_prompts_filters_look_at_what_was_drawn_and_take_the_reference_with_it():
    alike = group([1.0, 1.0], 3.0)
    for row in alike.completions:
        row["text"] = "the same"
    told = ["prompt's completions are all identical"] * 3
    assert reasons(alike, filters=Filters(skip_identical=True)) == told
    # The share of passed is that of the drawn: half of two, whatever the reference.
    half = group([0.0, 1.0], 3.0)
    assert reasons(half, pass_rate=(0.5, 0.5))[2] == "best"
    assert reasons(half, pass_rate=(0.6, 1.0)) == ["prompt's pass rate outside the band"] * 3


def test_it_has_no_finish_reason_and_no_hint_to_leak():
    found = group([1.0, 2.0], 3.0)
    assert reasons(found, filters=Filters(finish_reasons=("length",)))[2] == "best"
    text = " ".join(f"word{i}" for i in range(20))
    known = replace(
        group([1.0, 2.0], 3.0, text=text),
        prompt=Prompt(
            "p",
            [{"role": "user", "content": "?"}],
            teacher_messages=[{"role": "user", "content": f"? {text}"}],
            reference=text,
        ),
    )
    gated = Selector(rules(), gate=Gate(0.0))
    ((_, decisions),) = gated.decided(with_references([known]))
    assert decisions[2].reason == "best"
    for row in known.completions:
        row["alpha"] = "teacher"
    ((_, decisions),) = gated.decided(with_references([known]))
    assert decisions[2].reason == "best"
    assert gated.leaks.completions == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "correct", "scorer": "exact_answer"}, "true with the strategy correct"),
        ({"strategy": "majority", "scorer": "exact_answer"}, "true with the strategy majority"),
        ({"strategy": "min_error", "scorer": "numeric_error"}, "true with the strategy min_error"),
        ({"scorer": "exact_answer"}, "'exact_answer' gives verdicts"),
        ({"scorer": A, "voters": (A, "exact_answer")}, "'exact_answer' gives verdicts"),
        ({"filters": Filters(max_tokens=9)}, "its tokens were not counted"),
        ({"filters": Filters(min_tokens=2)}, "its tokens were not counted"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        rules(**given)


def test_completions_scored_without_their_references_are_named():
    found = group([1.0, 2.0], 3.0)
    for row in found.completions:
        del row["reference_scores"]
    with pytest.raises(UserError, match="reference of its prompt was not scored") as error:
        list(with_references([found]))
    assert "p/0" in error.value.where
    for row in found.completions:
        row["finish_reason"] = "failed"
    (kept,) = with_references([found])
    assert kept.reference is None


def test_references_without_any_value_are_refused():
    (found,) = with_references([group([1.0, 2.0], (1.0, None))])
    references = References()
    references.enter(found, rules(scorer=B).decide(found.candidates)[-1], [B])
    with pytest.raises(UserError, match="reward_model/b gave none of 1 references a value"):
        references.statistics([B])


values = st.sampled_from([None, 0.0, 1.0, 2.0])
both = st.tuples(values, values)
prompts = st.lists(
    st.tuples(
        st.lists(both, min_size=N, max_size=N),
        both,
        st.sampled_from([None, "", "text 0", "another"]),
        st.lists(st.booleans(), min_size=N, max_size=N),
    ),
    max_size=5,
)
orders = st.one_of(
    st.fixed_dictionaries(
        {
            "strategy": st.sampled_from(["best", "worst", "best_worst"]),
            "voters": st.sampled_from([(), (A,), (A, B)]),
        }
    ),
    st.fixed_dictionaries({"strategy": st.just("top_k"), "top_k": st.integers(1, 3)}),
)


@given(orders, prompts, st.booleans(), st.integers(0, 4))
def test_both_ledgers_add_up_and_the_reference_is_in_no_count_of_completions(order, told, skip, budget):
    chosen = rules(**order, filters=Filters(skip_identical=skip))
    deciding = (chosen.scorer, *chosen.voters)
    ledger, references = Ledger(N), References()
    accepted = {True: 0, False: 0}
    examples = with_any = candidates = failed = 0
    for number, (drawn, reference, text, lost) in enumerate(told):
        made = group(drawn, reference, text, f"p{number}")
        for row, gone in zip(made.completions, lost, strict=True):
            if gone:
                row |= {"finish_reason": "failed", "text": "", "scores": {A: score(None), B: score(None)}}
        if all(lost):
            for row in made.completions:
                row.pop("reference_scores", None)
        (found,) = with_references([made])
        decisions = chosen.decide(found.candidates)
        assert len(decisions) == len(found.candidates)
        if budget:
            decisions = within_budget(found, decisions, budget << 62, 1, 0)
        own, last = decisions[:N], decisions[N] if found.reference else None
        ledger.enter(found.completions, own, A, last)
        references.enter(found, last, deciding)
        candidates += last is not None
        failed += sum(lost)
        for row, decision in zip(found.candidates, decisions, strict=True):
            kept = decision.outcome == ACCEPTED
            accepted["is_reference" in row] += kept
            examples += kept and decision.role != REFUSED
            assert kept <= all(row["scores"][name]["value"] is not None for name in chosen.voters or (A,))
            assert ("is_reference" in row) <= (decision.outcome in (ACCEPTED, REJECTED))
        with_any += any(d.outcome == ACCEPTED for d in decisions)
    found = ledger.statistics()
    assert sum(found["outcomes"].values()) == found["completions"] == N * len(told)
    assert (found["accepted"], found["examples"]) == (accepted[False], examples)
    assert found["generated"] == N * len(told) - failed
    assert found["prompts_with_accepted"] == with_any
    assert sum(c for k, c in found["outcomes"].items() if k.startswith(NOT_DRAWN)) == failed
    if candidates and not references.with_value:
        with pytest.raises(UserError, match="gave none of"):
            references.statistics(deciding)
        return
    apart = references.statistics(deciding)
    assert apart["candidates"] == candidates == sum(apart["outcomes"].values())
    assert apart["candidates"] + apart["without_reference"] + apart["not_scored"] == len(told)
    assert apart["accepted"] == accepted[True] <= apart["eligible"] <= apart["with_value"]
    text = as_text({**found, "references": apart})
    assert all(f"{reason} " in text for reason in apart["outcomes"])


@given(orders, st.lists(both, min_size=N, max_size=N), both, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_decides_nothing(order, drawn, reference, shuffle):
    (found,) = with_references([group(drawn, reference)])
    rows = list(found.candidates)
    before = dict(zip((row["id"] for row in rows), rules(**order).decide(rows), strict=True))
    shuffle.shuffle(rows)
    assert dict(zip((row["id"] for row in rows), rules(**order).decide(rows), strict=True)) == before


def test_a_reference_in_a_test_set_goes(tmp_path):
    words = " ".join(f"word{i}" for i in range(20))
    (tmp_path / "quiz.txt").write_text(f"{words}\n")
    tests = Decontamination([read_test_set("quiz", [tmp_path / "quiz.txt"], 13)], 13)
    ((_, decisions),) = Selector(rules(), tests=tests).decided(
        with_references([group([1.0], 2.0, text=words)])
    )
    assert [decision.outcome for decision in decisions] == [ACCEPTED, REJECTED]
    assert decisions[1].reason.startswith("completion shares")
