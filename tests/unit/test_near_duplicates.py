"""Near-duplicates: the estimate, the index, and what the rules do with them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_rows import row, score, valued

from winnow.errors import UserError
from winnow.selection.decision import ACCEPTED
from winnow.selection.near_duplicates import PERMUTATIONS, NearDuplicates, rows_of_band, signature, similarity
from winnow.selection.rules import Rules
from winnow.selection.signature_index import SignatureIndex
from winnow.selection.words import ngram_hashes, text_hash, words


def jaccard(one: str, other: str, n: int) -> float:
    first, second = ({tuple(w[i : i + n]) for i in range(len(w) - n + 1)} for w in (words(one), words(other)))
    return len(first & second) / len(first | second)


def changed(text: str, count: int, seed: int) -> str:
    """The text with some of its words replaced."""
    tokens = text.split()
    for index in random.Random(seed).sample(range(len(tokens)), count):
        tokens[index] = f"other{seed}x{index}"
    return " ".join(tokens)


TEXT = " ".join(f"w{i}" for i in range(400))


@pytest.mark.parametrize("count", [0, 4, 15, 40, 400])
def test_the_estimate_is_unbiased_and_as_narrow_as_it_should_be(count):
    base = signature(TEXT, 3)
    errors = []
    for seed in range(40):
        other = changed(TEXT, count, seed)
        errors.append(similarity(base, signature(other, 3)) - jaccard(TEXT, other, 3))
    true = jaccard(TEXT, changed(TEXT, count, 0), 3)
    deviation = (true * (1 - true) / PERMUTATIONS) ** 0.5
    # The base's minima are common to all 40, so their mean deviates as one does.
    assert abs(np.mean(errors)) <= 4 * deviation
    assert np.std(errors) <= 2 * deviation


def test_case_and_punctuation_make_no_difference_and_order_does():
    assert similarity(signature("A b, c. D e f", 5), signature("a B c d (E) f!", 5)) == 1.0
    assert similarity(signature("a b c d e f", 5), signature("f e d c b a", 5)) == 0.0
    assert similarity(signature("yes", 5), signature("Yes.", 5)) == 1.0
    assert similarity(signature("yes", 5), signature("no", 5)) == 0.0
    assert similarity(signature("...", 5), signature("!!!", 5)) == 0.0
    assert similarity(signature("", 5), signature("", 5)) == 1.0


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_equal_runs_have_equal_hashes_and_others_have_not(tokens, n):
    runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    found = ngram_hashes(tokens, n).tolist()
    assert len(found) == len(runs)
    assert len(set(found)) == len(set(runs)) == len(set(zip(found, runs, strict=True)))
    assert text_hash(tokens).tolist() == ngram_hashes(tokens, len(tokens)).tolist()


def test_hashes_are_the_same_everywhere():
    assert ngram_hashes(["natalia", "sold"], 2).tolist() == [17940727095162928598]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_miss_next_to_none_at_the_threshold(threshold):
    rows = rows_of_band(threshold)
    assert 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= 0.999


def test_the_index_finds_what_a_comparison_with_all_finds():
    rng = random.Random(0)
    texts = []
    for i in range(120):
        base = " ".join(f"t{i % 30}w{j}" for j in range(60))
        texts.append(changed(base, rng.choice([0, 1, 3, 30]), i))
    near = NearDuplicates(across=0.7, shingle=2)
    kept: list[tuple[str, Any]] = []
    for i, text in enumerate(texts):
        sign = signature(text, 2)
        like = [name for name, other in kept if similarity(sign, other) >= 0.7]
        assert near.before(text) == (like[0] if like else None)
        if not like:
            near.remember([(f"p{i}/0", text)])
            kept.append((f"p{i}/0", sign))
    assert 30 < len(kept) < 120


def test_the_index_finds_what_stands_behind_another_in_every_band():
    index = SignatureIndex(threshold=0.75, length=4, rows=2)
    index.add("a", np.array([1, 2, 3, 4], np.uint32))
    index.add("b", np.array([1, 2, 9, 9], np.uint32))
    index.add("c", np.array([3, 4, 1, 2], np.uint32))
    assert index.first_like(np.array([1, 2, 3, 5], np.uint32)) == "a"
    assert index.first_like(np.array([1, 2, 5, 6], np.uint32)) is None
    assert index.first_like(np.array([3, 4, 1, 5], np.uint32)) == "c"


def test_state_is_some_kilobyte_a_text():
    near = NearDuplicates(across=0.8)
    index = near._index
    for i in range(300):
        near.remember([(f"p{i:06d}/0", " ".join(f"{i}w{j}" for j in range(20)))])
    assert len(index) == 300
    assert index.nbytes / 300 < 1_700


def decide(texts, near, prompt="p", **options):
    rows = [row(i, t, prompt=prompt, scores={"exact_answer": score(1.0)}) for i, t in enumerate(texts)]
    return Rules(**options).decide(rows, None, near)


def test_within_a_prompt_the_first_stays_and_limits_count_what_is_kept():
    texts = [TEXT, changed(TEXT, 2, 1), changed(TEXT, 300, 2), changed(TEXT, 300, 3)]
    found = [d.reason for d in decide(texts, NearDuplicates(within=0.8), max_per_prompt=2)]
    assert found == ["correct", "near-duplicate within its prompt", "correct", "over max_per_prompt = 2"]
    assert decide(texts[:2], NearDuplicates(across=0.8))[1].outcome == ACCEPTED


def test_across_prompts_the_first_that_was_kept_is_named():
    near = NearDuplicates(across=0.8)
    decide([TEXT, "x"], near, prompt="a")
    second = decide(["something else", changed(TEXT, 2, 1)], near, prompt="b")
    assert [(d.reason, d.detail) for d in second] == [
        ("correct", None), ("near-duplicate of another prompt's", "of a/0")
    ]  # fmt: skip


def test_a_pair_goes_with_its_chosen_and_its_members_are_no_near_duplicates():
    rules = Rules(strategy="best_worst", scorer="numeric_error")
    near = NearDuplicates(within=0.8, across=0.8)
    rows = valued([0.0, 1.0, 2.0])
    rows[0]["text"], rows[2]["text"] = TEXT, changed(TEXT, 2, 1)
    assert [d.role for d in rules.decide(rows, None, near)] == ["chosen", "rejected", None]
    again = valued([0.0, 1.0], prompt="q")
    again[0]["text"] = changed(TEXT, 2, 5)
    assert [d.reason for d in rules.decide(again, None, near)] == [
        "near-duplicate of another prompt's", "its pair's chosen was rejected"
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{"within": 0.0}, {"across": 1.5}, {"within": float("nan")}])
def test_thresholds_are_checked(options):
    with pytest.raises(UserError, match=r"a similarity in \(0, 1\]"):
        NearDuplicates(**options)


def test_a_neighbour_is_found_however_many_others_share_a_band_with_it():
    source = np.random.default_rng(0)
    asked = source.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)

    def like(share: float) -> Any:
        other = source.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
        equal = source.permutation(PERMUTATIONS)[: round(share * PERMUTATIONS)]
        other[equal] = asked[equal]
        return other

    missed = 0
    for _ in range(40):
        index = SignatureIndex(0.8, PERMUTATIONS, rows_of_band(0.8))
        index.add("near", like(0.83))
        for number in range(200):
            index.add(f"far-{number}", like(0.7))
        missed += index.first_like(asked) != "near"
    assert missed == 0
