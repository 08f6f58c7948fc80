"""The embedded example's own models, in float32 and drafting deep: what comes out follows q*.

Each emitted token is looked up in a q* that is computed anew: one pass over the whole text for each
model, without caches, and α by bisection in float64.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bisection import bisect, mixture, roots_function
from transforms import direct, kolmogorov_smirnov, transform

from winnow import jsonl
from winnow.qstar import OptimalSampler, SamplingParameters
from winnow.qstar.rounds import Rounds
from winnow.records import Prompt, completion_seed

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "arithmetic"
DEPTH, PROMPTS, SAMPLES = 4, 64, 5


def prompts() -> list[Prompt]:
    found = []
    for row in jsonl.rows(EXAMPLE / "data" / "train.jsonl"):
        asked = f"What is {row['problem']}?"
        hinted = f"{asked} The answer is {row.get('answer', row.get('reference'))}."
        shown = [[{"role": "user", "content": text}] for text in (asked, hinted)]
        found.append(Prompt(str(len(found)), *shown))
        if len(found) == PROMPTS:
            return found
    raise AssertionError("the example has more prompts than that")


@cache
def drawn():
    """(completions, (accepted, β) of each draft that was considered)."""
    sampler = OptimalSampler(
        EXAMPLE / "models" / "policy-step-460",
        EXAMPLE / "models" / "teacher",
        "kl_symmetry",
        parameters=SamplingParameters(max_new_tokens=64),
        draft_tokens=DEPTH,
    )
    considered: list[tuple[bool, float]] = []
    draw = Rounds.draw

    def remembering(self, active, depth):
        found = draw(self, active, depth)
        for tokens, accepted, row in zip(found.tokens, found.accepted, found.metrics, strict=True):
            considered.extend((place < accepted, row[place, -1]) for place in range(len(tokens)))
        return found

    rows = [
        sampler.row(prompt, f"{prompt.id}/{i}", completion_seed(5, prompt.id, i))
        for prompt in prompts()
        for i in range(SAMPLES)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rounds, "draw", remembering)
        completions = list(sampler.draw(rows, 16))
    return sampler, completions, considered


@cache
def places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every emitted token: its transforms under q*, the student and the teacher [3, tokens],
    |KL(q‖θ) − KL(q‖t)|, and the error of −log Z.
    """
    sampler, completions, _ = drawn()
    source = np.random.default_rng(3)
    transforms, gaps, errors = [], [], []
    for each in completions:
        s = direct(sampler.theta, each.row.prompt, each.token_ids)
        t = direct(sampler.t, each.row.teacher_prompt, each.token_ids)
        alpha = bisect(roots_function("kl_symmetry", s, t), len(s))
        q, _, log_z = mixture(s, t, alpha)
        order, tokens = np.argsort(s - t, axis=1), np.array(each.token_ids)
        found = np.stack([transform(p, order, tokens, source) for p in (q, np.exp(s), np.exp(t))])
        gaps.append(np.abs(each.metrics[:, 2] - each.metrics[:, 3]))
        errors.append(np.abs(each.metrics[:, 4] + log_z))
        # Where both are of one mind, nothing could be seen.
        transforms.append(found[:, log_z < -0.1])
    return np.concatenate(transforms, axis=1), np.concatenate(gaps), np.concatenate(errors)


def test_emitted_tokens_are_uniform_under_their_own_q_star():
    under, _, _ = places()
    assert under.shape[1] > 200
    assert kolmogorov_smirnov(under[0]) > 1e-3


@pytest.mark.parametrize("other", [1, 2], ids=["student", "teacher"])
def test_the_check_would_see_another_distribution(other):
    under, _, _ = places()
    assert kolmogorov_smirnov(under[other]) < 1e-3


def test_drafts_are_accepted_as_often_as_beta_says():
    _, _, considered = drawn()
    accepted = np.array([kept for kept, _ in considered], dtype=float)
    beta = np.array([chance for _, chance in considered])
    assert len(beta) > 1_500
    score = (accepted - beta).sum() / np.sqrt((beta * (1 - beta)).sum())
    assert abs(score) < 3.5


def test_both_divergences_are_equal_and_log_z_is_what_it_is():
    _, gaps, errors = places()
    # Newton stops at |Δα|·σ_d < 1e-5; the gap's slope in α is σ_d².
    assert gaps.max() < 1e-3
    assert errors.max() < 1e-3
