"""The engine draws from q* itself: every completion enumerated, and single ones replayed by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from chi_square import goodness
from direct import ask, enumerate_all, replay, sampler, samples

from winnow.arms import Alpha

DRAWS = 6_000
ARMS = ("policy", "teacher", "fixed-0.3", "kl_symmetry", "entropy")
ASK = ask("ab", "dcabc")
"""Prompts of different lengths for student and teacher."""


def check_distribution(student, teacher, alpha, longest=4, temperature=1.0, prompt=ASK, draws=DRAWS):
    """Many draws against the probability of every sequence."""
    source = sampler(student, teacher, alpha, longest, temperature=temperature)
    drawn = Counter(
        tuple(entry.token_ids) for entry in source.draw(samples(source, prompt, draws), batch_size=4_000)
    )
    expected = enumerate_all(student, teacher, prompt, alpha, longest, temperature)
    assert sum(expected.values()) == pytest.approx(1.0)
    assert drawn.total() == draws
    assert set(drawn) <= set(expected)
    assert goodness([drawn[tokens] for tokens in expected], list(expected.values())) > 1e-4


def check_replay(student, teacher, alpha, temperature=0.7, longest=12, draft_tokens=None):
    """Token by token what a seed determines, in a batch of prompts of many lengths."""
    source = sampler(student, teacher, alpha, longest, draft_tokens, temperature=temperature)
    prompts = [ask("a"), ask("abcd", "b", "q"), ask("", "abca", "r"), ask("dd", "ccc", "s")]
    rows = [(prompt, row) for prompt in prompts for row in samples(source, prompt, 4)]
    drawn = {entry.row.id: entry for entry in source.draw([row for _, row in rows], batch_size=7)}
    lengths = set()
    for prompt, row in rows:
        tokens, seen, logprobs = replay(student, teacher, prompt, alpha, row.seed, longest, temperature)
        entry = drawn[row.id]
        assert tuple(entry.token_ids) == tokens
        assert entry.logprobs == pytest.approx(logprobs, abs=1e-9)
        assert entry.finish_reason == ("stop" if tokens[-1] == 1 else "length")
        lengths.add(len(tokens))
        if source.alpha.needs_both:
            check_diagnostics(entry.diagnostics, tokens, seen)
        else:
            assert entry.diagnostics is None
    assert len(lengths) > 2, "the prompts are to end at different times"


def check_diagnostics(summary, tokens, seen):
    """The metrics along a completion: those of its own tokens, and no others."""
    assert summary["tokens"] == len(tokens) == len(summary["alpha_values"])
    assert summary["alpha_values"] == pytest.approx(seen["alpha"], abs=1.01e-4)
    for name, values in seen.items():
        mean = sum(values) / len(values)
        deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        assert summary[f"{name}_mean"] == pytest.approx(mean, abs=2e-5, rel=2e-4), name
        assert summary[f"{name}_std"] == pytest.approx(deviation, abs=2e-5, rel=2e-4), name


@pytest.mark.parametrize("alpha", ARMS)
def test_draws_follow_q_star(student, teacher, alpha):
    check_distribution(student, teacher, alpha)


@pytest.mark.parametrize("alpha", ["policy", "kl_symmetry", "entropy"])
def test_temperature_comes_before_the_mixture(student, teacher, alpha):
    check_distribution(student, teacher, alpha, longest=2, temperature=2.0)


@pytest.mark.parametrize("depth", [None, 1, 4])
@pytest.mark.parametrize("alpha", [*ARMS, "ess_balance"])
def test_each_seed_determines_its_completion_and_diagnostics(student, teacher, alpha, depth):
    if depth is None or Alpha.parse(alpha).needs_both:
        check_replay(student, teacher, alpha, draft_tokens=depth)


def test_one_model_with_two_prompts(student):
    check_distribution(student, student, "kl_symmetry", longest=3)
    source = sampler(student, None, "kl_symmetry")
    assert source.t is source.theta, "the weights are loaded once"
    for other in (f"{student}/", student / ".." / student.name):
        again = sampler(student, other, "kl_symmetry")
        assert again.t is again.theta, "in whatever words"
    row = source.row(ASK, "p/0", 0)
    assert len(row.teacher_prompt) == len(row.prompt) + 3


def test_tokens_that_only_the_teacher_has_are_left_out_before_the_mixture(
    student, save_model, tmp_path, monkeypatch
):
    monkeypatch.setattr("winnow.qstar.vocabulary.MOST_EXTRAS", 0.2)
    check_distribution(
        student, save_model(tmp_path / "later", seed=3, letters="abcde"), "kl_symmetry", longest=3
    )


def test_zero_temperature_takes_the_arg_max_of_q_star(student, teacher):
    source = sampler(student, teacher, "kl_symmetry", 1, temperature=0.0)
    expected = enumerate_all(student, teacher, ASK, "kl_symmetry", 1)
    [likeliest] = [tokens for tokens, p in expected.items() if p == max(expected.values())]
    drawn = {tuple(entry.token_ids) for entry in source.draw(samples(source, ASK, 5), 5)}
    assert drawn == {likeliest}


def test_truncation_applies_to_q_star(student, teacher):
    source = sampler(student, teacher, "kl_symmetry", 1, top_k=3)
    expected = enumerate_all(student, teacher, ASK, "kl_symmetry", 1)
    head = sorted(expected, key=expected.get)[-3:]
    drawn = Counter(tuple(entry.token_ids) for entry in source.draw(samples(source, ASK, 3_000), 3_000))
    assert set(drawn) == set(head)
    mass = sum(expected[tokens] for tokens in head)
    assert goodness([drawn[tokens] for tokens in head], [expected[tokens] / mass for tokens in head]) > 1e-4
