"""Selection: one decision for each completion, groups that are whole, a ledger that adds up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl
from winnow.errors import UserError
from winnow.selection.groups import read_groups
from winnow.selection.ledger import Ledger, as_text
from winnow.selection.rules import ACCEPTED, NOT_DRAWN, REJECTED, Decision, Rules, draw_key


def row(sample, text="x", value=1.0, passed=True, reason="stop", prompt="p"):
    score = {"value": value, "passed": passed, "detail": "", "version": 1}
    return {
        "id": f"{prompt}/{sample}", "prompt_id": prompt, "sample": sample, "text": text,
        "finish_reason": reason, "completion_tokens": 5,
        "scores": {"exact_answer": score, "numeric_error": score},
    }  # fmt: skip


def not_generated(sample, reason="failed"):
    return row(sample, "", None, False, reason)


generated = st.builds(
    lambda text, value, passed: (text, value, passed),
    st.sampled_from("abc"), st.sampled_from([None, 0.0, 0.5, 1.0]), st.booleans(),
)  # fmt: skip
groups = st.lists(st.none() | generated, max_size=10).map(
    lambda items: [not_generated(i) if item is None else row(i, *item) for i, item in enumerate(items)]
)
STRATEGIES = [("correct", "exact_answer"), ("best", "exact_answer"), ("best", "numeric_error")]
rules = st.builds(
    lambda pair, **options: Rules(strategy=pair[0], scorer=pair[1], **options),
    st.sampled_from([*STRATEGIES, ("min_error", "numeric_error")]),
    max_error=st.sampled_from([None, 0.0, 0.5]),
    max_per_prompt=st.sampled_from([None, 1, 2]),
    deduplicate=st.booleans(),
    pass_rate=st.sampled_from([(0.0, 1.0), (0.2, 0.8), (0.5, 0.5)]),
)


@given(rules, groups)
def test_one_decision_for_each_and_what_it_promises(chosen, completions):
    decisions = chosen.decide(completions)
    assert len(decisions) == len(completions)
    for completion, decision in zip(completions, decisions, strict=True):
        assert (decision.outcome == NOT_DRAWN) == (completion["finish_reason"] == "failed")
        assert decision.outcome in (ACCEPTED, REJECTED, NOT_DRAWN)
        assert decision.reason
    accepted = [c for c, d in zip(completions, decisions, strict=True) if d.outcome == ACCEPTED]
    values = [c["scores"]["exact_answer"]["value"] for c in completions]
    if chosen.strategy == "correct":
        assert all(c["scores"]["exact_answer"]["passed"] for c in accepted)
    else:
        error = chosen.scorer == "numeric_error"
        if not error:
            assert all(c["scores"]["exact_answer"]["passed"] for c in accepted)
            values = [
                v if c["scores"]["exact_answer"]["passed"] else None
                for v, c in zip(values, completions, strict=True)
            ]
        pick = min if error else max
        known = [value for value in values if value is not None]
        assert len(accepted) <= 1
        assert all(
            values[c["sample"]] == pick(known) and c["sample"] == values.index(pick(known)) for c in accepted
        )
    if chosen.deduplicate:
        assert len({c["text"] for c in accepted}) == len(accepted)
    if chosen.max_per_prompt:
        assert len(accepted) <= chosen.max_per_prompt
    if chosen.strategy == "min_error" and chosen.max_error is not None:
        assert all(c["scores"]["exact_answer"]["value"] <= chosen.max_error for c in accepted)


def outcomes(completions, **options):
    return [decision.reason for decision in Rules(**options).decide(completions)]


def test_correct_keeps_all_that_passed():
    rows = [row(0, "a"), row(1, "b", 0.0, False), row(2, "c")]
    assert outcomes(rows) == ["correct", "did not pass", "correct"]


def test_duplicates_go_the_first_stays():
    rows = [row(0, "a", 0.0, False), row(1, "a"), row(2, "b"), row(3, "a")]
    assert outcomes(rows) == ["did not pass", "correct", "correct", "duplicate within its prompt"]
    assert outcomes(rows, deduplicate=False)[3] == "correct"


def test_at_most_so_many_the_lowest_samples_first():
    rows = [row(0, "a", 0.0, False), row(1, "a"), row(2, "a"), row(3, "b"), row(4, "c")]
    assert outcomes(rows, max_per_prompt=2) == [
        "did not pass", "correct", "duplicate within its prompt", "correct", "over max_per_prompt = 2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "scorer", "kept"),
    [("best", "exact_answer", 1), ("best", "numeric_error", 2), ("min_error", "numeric_error", 2)],
)
def test_ties_go_to_the_lowest_sample(strategy, scorer, kept):
    rows = [
        row(0, "a", 0.5),
        row(1, "b", 0.9),
        row(2, "c", 0.1),
        row(3, "d", 0.9),
        row(4, "e", 0.1),
        row(5, "f", None),
    ]
    found = outcomes(rows, strategy=strategy, scorer=scorer)
    assert found[kept] == strategy
    assert found[5] == "has no value"
    assert found.count(f"not the prompt's {strategy}") == 4


def test_the_best_of_wrong_answers_is_not_kept():
    rows = [row(0, "a", 0.0, False), row(1, "b", 0.0, False)]
    assert outcomes(rows, strategy="best") == ["not the prompt's best"] * 2


def test_max_error_bounds_min_error_and_nothing_else():
    rows = [row(0, "a", 0.8), row(1, "b", 0.76)]
    assert (
        outcomes(rows, strategy="min_error", scorer="numeric_error", max_error=0.75)[1] == "error above 0.75"
    )
    assert outcomes(rows, strategy="min_error", scorer="numeric_error", max_error=0.76)[1] == "min_error"
    assert outcomes([row(0, "a", 1.0)], max_error=0.75) == ["correct"], "1 is no error, but a verdict"


@pytest.mark.parametrize(
    ("band", "kept"), [((0.5, 1.0), True), ((0.0, 0.5), True), ((0.51, 1), False), ((0, 0.49), False)]
)
def test_the_band_counts_what_was_generated(band, kept):
    # One of two generated passed; the failed one is no evidence of difficulty.
    rows = [row(0, "a"), row(1, "b", 0.0, False), not_generated(2)]
    found = outcomes(rows, pass_rate=band)
    outside = "prompt's pass rate outside the band"
    assert found == (["correct", "did not pass", "failed"] if kept else [outside, outside, "failed"])


def test_reasons_of_what_was_not_generated():
    assert outcomes([not_generated(0), not_generated(1, "prompt_too_long")]) == ["failed", "prompt_too_long"]


def test_rules_are_checked():
    for options, message in [
        ({"strategy": "corect"}, "did you mean 'correct'"),
        ({"scorer": "exact"}, "scorer 'exact': unknown"),
        ({"strategy": "min_error"}, "whose value is a verdict"),
        ({"pass_rate": (0.8, 0.2)}, "pass_rate"),
        ({"pass_rate": (-0.1, 1)}, "pass_rate"),
    ]:
        with pytest.raises(UserError, match=message):
            Rules(**options)
    bare = row(0)
    del bare["scores"]["exact_answer"]
    with pytest.raises(
        UserError, match=r"completion p/0: no score of 'exact_answer' \(it has numeric_error\)"
    ):
        Rules().decide([bare])


def test_draw_keys_are_a_fair_lot():
    ids = [f"p{i}/0" for i in range(2_000)]
    assert len({draw_key(1, name) for name in ids}) == len(ids)
    assert sum(draw_key(1, name) < 2**63 for name in ids) == pytest.approx(1_000, abs=100)
    assert sorted(ids, key=lambda name: draw_key(1, name)) != sorted(ids, key=lambda name: draw_key(2, name))


@pytest.fixture
def stored(tmp_path):
    """Two shards of two prompts, two blocks of two samples; `edit` changes a block's rows."""

    def write(edit=lambda name, rows: rows):
        prompts, scored = [], []
        for shard in range(2):
            names = [f"{shard}{i}" for i in range(2)]
            path = tmp_path / f"p{shard}"
            path.write_bytes(b"".join(jsonl.dumps({"id": name, "messages": []}) for name in names))
            prompts.append(path)
            for block in range(2):
                rows = [row(block * 2 + s, prompt=name) for name in names for s in range(2)]
                path = tmp_path / f"s{shard}-{block}"
                path.write_bytes(b"".join(map(jsonl.dumps, edit(path.name, rows))))
                scored.append(path)
        return prompts, scored

    return write


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_groups_hold_the_first_n_samples(stored, n):
    prompts, scored = stored()
    if n <= 2:
        scored = scored[::2]
    found = list(read_groups(prompts, scored, n, 2))
    assert [group.prompt.id for group in found] == ["00", "01", "10", "11"]
    for group in found:
        assert [c["id"] for c in group.completions] == [f"{group.prompt.id}/{s}" for s in range(n)]


@pytest.mark.parametrize(
    ("edit", "where", "message"),
    [
        (lambda rows: rows[1:], "s1-0", "line 1 has '10/1'.*'10/0'"),
        (lambda rows: rows[:-1], "s1-0", "the file ends.*'11/1'"),
        (lambda rows: [], "s1-0", "the file ends.*'10/0'"),
        (lambda rows: rows[:2] + rows[1:], "s1-0", "line 3 has '10/1'.*'11/0'"),
        (lambda rows: [*rows, rows[-1]], "s1-0, line 5", "'11/1' belongs to no prompt"),
        (lambda rows: rows[2:] + rows[:2], "s1-0", "line 1 has '11/0'.*'10/0'"),
        (
            lambda rows: [{k: v for k, v in r.items() if k != "scores"} for r in rows],
            "s1-0, line 1",
            "without scores.*run score.py",
        ),
    ],
    ids=["first missing", "last missing", "all missing", "doubled", "extra", "exchanged", "not scored"],
)
def test_a_sample_that_is_not_in_its_place_is_named(stored, edit, where, message):
    prompts, scored = stored(lambda name, rows: edit(rows) if name == "s1-0" else rows)
    with pytest.raises(UserError) as error:
        list(read_groups(prompts, scored, 4, 2))
    assert error.value.where.endswith(where)
    assert re.search(message, str(error.value), re.DOTALL)


def test_the_number_of_files_is_checked(stored):
    prompts, scored = stored()
    with pytest.raises(UserError, match=r"3 files\n.*2 blocks for each of 2 prompt shards"):
        list(read_groups(prompts, scored[:3], 4, 2))


@given(st.lists(st.tuples(rules, st.lists(st.none() | generated, min_size=4, max_size=4)), max_size=4))
def test_the_ledger_adds_up(prompts):
    ledger = Ledger(n=4)
    accepted = passed = failed = 0
    for chosen, items in prompts:
        rows = [not_generated(i) if item is None else row(i, *item) for i, item in enumerate(items)]
        decisions = chosen.decide(rows)
        ledger.enter(rows, decisions, "exact_answer")
        accepted += sum(d.outcome == ACCEPTED for d in decisions)
        passed += sum(r["scores"]["exact_answer"]["passed"] for r in rows)
        failed += items.count(None)
    found = ledger.statistics()
    total = 4 * len(prompts)
    assert (found["completions"], found["accepted"], found["passed"]) == (total, accepted, passed)
    assert found["generated"] == total - failed
    assert sum(found["outcomes"].values()) == total
    assert found["yield"] == (accepted / total if total else None)
    assert found["pass_rate"] == (passed / (total - failed) if total > failed else None)
    assert found["completion_tokens"] == 5 * total
    assert all(f"{count:,}" in as_text(found) for count in found["outcomes"].values())


@pytest.mark.parametrize("count", [1, 3])
def test_a_ledger_that_does_not_add_up_fails(count):
    ledger = Ledger(n=2)
    ledger.enter([row(0), row(1)], [Decision(ACCEPTED, "correct")] * count, "exact_answer")
    with pytest.raises(UserError, match=f"{count} entries for 1 prompts × n = 2"):
        ledger.statistics()


def test_a_scorer_that_scored_nothing_is_named_even_where_nothing_was_generated():
    rows = [not_generated(0), not_generated(1)]
    with pytest.raises(UserError, match=r"completion p/0: no score of 'math' \(it has exact_answer"):
        Ledger(n=2).enter(rows, Rules(scorer="math").decide(rows), "math")
