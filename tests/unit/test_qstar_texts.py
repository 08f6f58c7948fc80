"""The sampler as a library: texts in, texts out."""

from __future__ import annotations

import shutil

import pytest
import torch
from direct import ask, sampler
from safetensors.torch import load_file, save_file

from winnow.errors import UserError
from winnow.records import completion_seed


@pytest.fixture
def source(student, teacher):
    return sampler(student, teacher, "kl_symmetry", 8)


def test_each_prompt_has_its_completions_in_order(source):
    found = source.generate(["ab", "c"], n=3, return_diagnostics=True, seed=17)
    assert len(found.texts) == len(found.ids) == len(found.finish_reasons) == 6
    longest = max(map(len, found.ids))
    assert found.alpha_values.shape == found.ess_ratios.shape == (6, longest)
    assert set(found.diagnostics) == {"alpha", "ess_ratio", "kl_theta", "kl_t", "neg_log_z", "beta"}
    for index, tokens in enumerate(found.ids):
        own = found.alpha_values[index]
        assert not own[: len(tokens)].isnan().any()
        assert own[len(tokens) :].isnan().all()
        prompt, sample = divmod(index, 3)
        row = source.row(ask(["ab", "c"][prompt]), "x", completion_seed(17, str(prompt), sample))
        [again] = source.draw([row], 1)
        assert again.token_ids == tokens
        assert source.text(again) == found.texts[index]


def test_prompts_are_the_teachers_and_theta_prompts_the_students(source):
    found = source.generate(["abcd"], theta_prompts=["b"], n=2)
    row = source.row(ask("b", "abcd"), "x", completion_seed(0, "0", 1))
    assert (len(row.prompt), len(row.teacher_prompt)) == (3, 6)
    assert next(iter(source.draw([row], 1))).token_ids == found.ids[1]
    assert found.diagnostics == {}


def test_without_theta_prompts_both_see_the_same(source):
    same = source.generate(["ab"], n=4)
    assert same.ids == source.generate(["ab"], theta_prompts=["ab"], n=4).ids
    assert same.ids != source.generate(["ab"], theta_prompts=["cd"], n=4).ids


def test_system_prompts_go_before(source):
    told = [{"role": "user", "content": "d"}, {"role": "user", "content": "ab"}]
    by_hand = source.generate([told], theta_prompts=["ab"], n=4)
    assert source.generate(["ab"], theta_prompts=["ab"], n=4).ids != by_hand.ids
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        tokenize = type(source.theta).tokenize
        patch.setattr(
            type(source.theta),
            "tokenize",
            lambda self, messages, *rest: seen.append(messages) or tokenize(self, messages[-1:], *rest),
        )
        source.generate(["ab"], teacher_system_prompt="be right", theta_system_prompt="be brief")
    assert [messages[0] for messages in seen] == [
        {"role": "system", "content": "be brief"},
        {"role": "system", "content": "be right"},
    ]


def test_unequal_lists_are_refused_with_both_lengths(source):
    with pytest.raises(UserError, match="1 prompts for the student, 2 for the teacher"):
        source.generate(["a", "b"], theta_prompts=["a"])


def test_what_a_call_asks_for_holds_for_that_call(source):
    assert all(len(tokens) <= 2 for tokens in source.generate(["ab"], n=9, max_new_tokens=2).ids)
    assert max(len(tokens) for tokens in source.generate(["ab"], n=9).ids) > 2
    cold = source.generate(["ab"], n=5, temperature=0.0).ids
    assert all(tokens == cold[0] for tokens in cold)
    assert cold == source.generate(["ab"], n=5, top_k=1).ids
    with pytest.raises(UserError, match="top_p"):
        source.generate(["ab"], top_p=0.0)


@pytest.mark.parametrize(
    ("prompts", "where", "told"),
    [
        ("ab", "prompts", "one string"),
        (["ab", ""], "prompts[1]", "an empty prompt"),
        (["ab", " \n"], "prompts[1]", "an empty prompt"),
        ([[]], "prompts[0]", "an empty conversation"),
        (["ab", None], "prompts[1]", "NoneType"),
        ([["ab"]], "prompts[0]", "list"),
        ([[{"content": "ab"}]], "prompts[0]", "without 'role'"),
        ([[{"role": "user", "content": None}]], "prompts[0]", "without 'content'"),
    ],
)
def test_what_is_no_prompt_is_named(source, prompts, where, told):
    for arguments in ({"prompts": prompts}, {"prompts": ["c"] * len(prompts), "theta_prompts": prompts}):
        with pytest.raises(UserError) as error:
            source.generate(**arguments)
        assert error.value.where == where if "theta_prompts" not in arguments else f"theta_{where}"
        assert told in error.value.found


def test_a_turn_that_calls_a_tool_is_left_to_the_template(source):
    talk = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "user", "content": "ab"}]
    with pytest.raises(UserError, match="the chat template"):
        source.generate([talk])
    assert source.generate([[{"role": "system", "content": ""}, talk[1]]]).texts


@pytest.mark.parametrize("name", ["n", "batch_size"])
def test_counts_are_at_least_one(source, student, teacher, name):
    with pytest.raises(UserError, match=f"{name}: 0"):
        source.generate(["ab"], **{name: 0})
    with pytest.raises(UserError, match="draft_tokens: 0"):
        sampler(student, teacher, "kl_symmetry", draft_tokens=0)


def test_a_text_that_no_tokenizer_reads_is_named(source):
    with pytest.raises(UserError, match="tokenizer") as error:
        source.generate(["ab", "a\udce9"])
    assert error.value.where == "prompt 1"


def test_why_a_completion_failed_is_told(source, student, teacher, tmp_path, caplog):
    shutil.copytree(teacher, tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] * torch.nan
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    broken = sampler(student, tmp_path / "broken", "kl_symmetry")
    found = broken.generate(["ab"], n=2, return_diagnostics=True)
    assert found.alpha_values.shape == found.diagnostics["beta"].shape == (2, 0)
    assert found.finish_reasons == ["failed"] * 2
    assert found.details == [f"{tmp_path / 'broken'} gave NaN logits for the token in place 1"] * 2
    assert f" failed: {found.details[0]}" in caplog.text
    assert "2 completions failed" in caplog.text
    assert source.generate(["ab"]).details == [None]


def test_prompts_without_room_are_told_and_the_rest_goes_on(source, caplog):
    found = source.generate(["a" * 80, "ab"], n=2)
    assert "prompt 0: the student's prompt has 82 tokens" in caplog.text
    assert [detail is None for detail in found.details] == [False, False, True, True]
    assert found.finish_reasons[:2] == ["prompt_too_long"] * 2
    assert found.texts[:2] == ["", ""]
    assert all(reason in ("stop", "length") for reason in found.finish_reasons[2:])
    assert torch.isnan(found.alpha_values[:2]).all()


def test_one_model_alone_has_no_alpha(student, teacher):
    found = sampler(student, teacher, "policy").generate(["ab"], return_diagnostics=True)
    assert (found.alpha_values, found.ess_ratios, found.diagnostics) == (None, None, {})
    assert source_is_empty(sampler(student, teacher, "policy").generate([]))


def source_is_empty(found) -> bool:
    return (found.texts, found.ids, found.finish_reasons) == ([], [], [])
