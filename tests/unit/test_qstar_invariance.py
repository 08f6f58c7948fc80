"""What a completion does not depend on, and where it ends."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import torch
from direct import END, ask, sampler, samples
from safetensors.torch import load_file, save_file

from winnow.errors import UserError
from winnow.qstar import sampler as samplers
from winnow.qstar.decoder import Decoder
from winnow.qstar.sampler import PromptTooLong

PROMPTS = [ask("abcd"[: i % 5] * (1 + i % 3), "dcba"[i % 4 :] * (1 + i % 2), f"p{i}") for i in range(9)]


def completions(student, teacher, alpha, batch_size, order=0, count=3, depth=None, **parameters):
    """Token ids, reason and diagnostics by id."""
    source = sampler(student, teacher, alpha, 16, depth, **parameters)
    rows = [row for prompt in PROMPTS for row in samples(source, prompt, count)]
    if order:
        random.Random(order).shuffle(rows)
    drawn = list(source.draw(rows, batch_size))
    assert sorted(entry.row.id for entry in drawn) == sorted(row.id for row in rows), "each row once"
    return {entry.row.id: (entry.token_ids, entry.finish_reason, entry.diagnostics) for entry in drawn}


def check_invariance(student, teacher, alpha, runs=((7, 0), (7, 1), (32, 2))):
    alone = completions(student, teacher, alpha, 1)
    assert len({tuple(tokens) for tokens, _, _ in alone.values()}) > len(alone) / 3, "not all alike"
    for batch_size, order in runs:
        assert completions(student, teacher, alpha, batch_size, order) == alone


@pytest.mark.parametrize("alpha", ["policy", "teacher", "fixed-0.3", "kl_symmetry", "entropy"])
def test_batches_and_order_change_nothing(student, teacher, alpha):
    check_invariance(student, teacher, alpha)


@pytest.mark.parametrize("parameters", [{}, {"top_k": 3}, {"top_p": 0.8, "temperature": 1.5}], ids=str)
def test_the_depth_of_drafts_changes_nothing(student, teacher, parameters):
    alone = completions(student, teacher, "kl_symmetry", 1, depth=1, **parameters)
    for depth, slots in [(2, 5), (3, 27), (4, 8), (8, 3)]:
        assert completions(student, teacher, "kl_symmetry", slots, depth=depth, **parameters) == alone


def test_two_prompts_of_one_model_are_as_two_models(student, tmp_path):
    shutil.copytree(student, tmp_path / "same")
    together = completions(student, None, "kl_symmetry", 7)
    assert completions(student, tmp_path / "same", "kl_symmetry", 7, depth=1) == together
    assert completions(student, tmp_path / "same", "kl_symmetry", 7, depth=3) == together


def test_more_samples_change_nothing(student, teacher):
    few = completions(student, teacher, "kl_symmetry", 32, count=2)
    many = completions(student, teacher, "kl_symmetry", 32, count=5)
    assert {key: many[key] for key in few} == few


@pytest.mark.parametrize("alpha", ["policy", "kl_symmetry"])
def test_a_row_ends_with_its_own_end_token_or_its_limit(student, teacher, alpha):
    found = completions(student, teacher, alpha, 27)
    reasons = set()
    for tokens, reason, summary in found.values():
        reasons.add(reason)
        assert END not in tokens[:-1]
        assert (tokens[-1] == END) == (reason == "stop")
        assert len(tokens) == 16 or reason == "stop"
        assert summary is None if alpha == "policy" else summary["tokens"] == len(tokens)
    assert reasons == {"stop", "length"}


def test_the_context_limits_each_row_by_its_own_prompts(student, save_model, tmp_path):
    teacher = save_model(tmp_path / "short", seed=3, context=20)
    source = sampler(student, teacher, "kl_symmetry", 100, temperature=3.0)
    prompts = [ask("a", "a", "roomy"), ask("a", "abcd" * 3, "tight"), ask("abcd" * 12, "a", "student")]
    limits = {prompt.id: source.row(prompt, "x", 0).max_new_tokens for prompt in prompts}
    # user and assistant markers take two; the student's context is 64, the teacher's 20.
    assert limits == {"roomy": 17, "tight": 6, "student": 14}
    rows = [row for prompt in prompts for row in samples(source, prompt, 20)]
    longest = {}
    for entry in source.draw(rows, 60):
        name = entry.row.id.split("/")[0]
        longest[name] = max(longest.get(name, 0), len(entry.token_ids))
    assert longest == limits


@pytest.mark.parametrize(("student_letters", "teacher_letters"), [(62, 1), (1, 46)])
def test_a_prompt_without_room_is_told(student, teacher, student_letters, teacher_letters):
    source = sampler(student, teacher, "kl_symmetry")
    with pytest.raises(PromptTooLong, match="context"):
        source.row(ask("a" * student_letters, "b" * teacher_letters), "p/0", 0)
    assert source.row(ask("a" * 61, "b" * 45), "p/0", 0).max_new_tokens == 1


def test_one_model_alone_ignores_the_others_prompt(student, teacher):
    prompt = ask("a", "b" * 60)
    assert sampler(student, teacher, "policy").row(prompt, "p/0", 0).teacher_prompt is None
    alone = sampler(student, teacher, "teacher").row(ask("a" * 60, "bb"), "p/0", 0)
    assert (len(alone.prompt), alone.teacher_prompt) == (4, None)


@pytest.mark.parametrize("broken", ["student", "teacher"])
@pytest.mark.parametrize("alpha", ["policy", "teacher", "fixed-0.3", "kl_symmetry"])
def test_nan_weights_fail_every_row(student, teacher, tmp_path, broken, alpha):
    models = {"student": student, "teacher": teacher}
    shutil.copytree(models[broken], tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] * torch.nan
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    models[broken] = tmp_path / "broken"
    source = sampler(models["student"], models["teacher"], alpha)
    runs = {"policy": {"student"}, "teacher": {"teacher"}}.get(alpha, {"student", "teacher"})
    for entry in source.draw(samples(source, ask("ab", "c"), 5), 3):
        if broken in runs:
            assert (entry.finish_reason, entry.token_ids, entry.diagnostics) == ("failed", [], None)
        else:
            assert entry.finish_reason in ("stop", "length")


def test_text_has_no_special_tokens_but_every_letter(student, teacher):
    source = sampler(student, teacher, "kl_symmetry", 16)
    for entry in source.draw(samples(source, ask("ab"), 30), 30):
        assert source.text(entry) == "".join("abcd"[token - 4] for token in entry.token_ids if token >= 4)


def test_only_the_models_that_are_used_are_loaded(student, teacher, monkeypatch):
    loaded = []
    load = samplers.load
    monkeypatch.setattr(samplers, "load", lambda model, *rest: loaded.append(model) or load(model, *rest))
    for alpha, expected in [("policy", [student]), ("teacher", [teacher]), ("entropy", [student, teacher])]:
        loaded.clear()
        samplers.OptimalSampler(student, teacher, alpha, dtype="float64")
        assert loaded == expected


def test_models_of_other_tokens_are_refused(student, save_model, tmp_path):
    other = save_model(tmp_path / "other", seed=3, letters="abdc")
    with pytest.raises(UserError, match=r"differ in 2 ids: id 6 is 'c' for the student, 'd' for the teacher"):
        sampler(student, other, "kl_symmetry")
    assert sampler(student, other, "teacher").theta is None


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_a_row_that_turns_to_nan_fails_and_leaves_the_others_alone(
    student, teacher, monkeypatch, whose, depth
):
    """Others in its batch, and those that come into its slot after it, whose cache it has poisoned."""
    source = sampler(student, teacher, "kl_symmetry", 16, depth)
    rows = [row for prompt in PROMPTS for row in samples(source, prompt, 4)]
    undisturbed = {entry.row.id: entry for entry in source.draw(rows, 6)}
    logits, calls = Decoder._logits, []

    def poisoned(self, ids, *rest, **options):
        found = logits(self, ids, *rest, **options)
        if self._model is getattr(source, {"student": "theta", "teacher": "t"}[whose]).model:
            calls.append(1)
            if len(calls) == 8:
                # For one token of one row only: what comes after looks sound again, but for the cache.
                found[2, -1] = torch.nan
                for keys, values in self._cache._layers:
                    keys[2, :, -5:], values[2] = torch.nan, torch.nan
        return found

    monkeypatch.setattr(Decoder, "_logits", poisoned)
    failed = []
    for entry in source.draw(rows, 6):
        if entry.finish_reason == "failed":
            failed.append(entry)
            assert entry.token_ids == []
        else:
            assert entry.token_ids == undisturbed[entry.row.id].token_ids
    [one] = failed
    assert (source.theta if whose == "student" else source.t).name in one.detail


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_the_end_tokens_of_both_models_end_a_row(student, teacher, tmp_path, whose):
    models = {"student": student, "teacher": teacher}
    shutil.copytree(models[whose], tmp_path / "other")
    declared = json.loads((tmp_path / "other" / "generation_config.json").read_text())
    (tmp_path / "other" / "generation_config.json").write_text(
        json.dumps({**declared, "eos_token_id": [END, 7]})
    )
    models[whose] = tmp_path / "other"
    source = sampler(models["student"], models["teacher"], "kl_symmetry", 16)
    ends = set()
    for entry in source.draw(samples(source, ask("ab"), 40), 40):
        assert not {END, 7} & set(entry.token_ids[:-1])
        ends.add(entry.token_ids[-1])
    assert {END, 7} <= ends
