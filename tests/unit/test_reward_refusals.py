"""Reward models and options that are refused, and what is told of them."""

from __future__ import annotations

import math
import shutil

import pytest
import reward_models
import torch
from own_modules import refused
from reward_models import SOME, build, direct, items, randomized, save, tokenizer, values
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from winnow import jsonl, scoring

CLOSE = 1e-4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The directory of a sound reward model, by its family's name."""
    return {"llama": save(tmp_path_factory.mktemp("rewards") / "llama", "llama")}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_is_no_number_names_model_and_completion(value, made, tmp_path):
    shutil.copytree(made["llama"], tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights["score.weight"][:] = value
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    error = refused(build(tmp_path / "broken").score_items, SOME)
    assert error.where.startswith("scorer 'reward_model': completion p")
    assert str(tmp_path / "broken") in error.found


def test_a_model_without_a_head_is_refused(tmp_path):
    config = LlamaConfig(**reward_models.DECODER, pad_token_id=0)
    randomized(LlamaForCausalLM(config), 0).save_pretrained(tmp_path / "policy")
    tokenizer().save_pretrained(tmp_path / "policy")
    error = refused(build(tmp_path / "policy").score_items, SOME)
    assert "lacks score.weight, which would be random" in error.found
    assert str(tmp_path / "policy") in error.where


def test_a_head_with_several_outputs_is_refused_unless_one_is_named(tmp_path):
    model = save(tmp_path / "three", "qwen2", num_labels=3)
    error = refused(build(model).score_items, SOME)
    assert "3 outputs (0 LABEL_0, 1 LABEL_1, 2 LABEL_2)" in error.found
    assert "output: 0" in error.mend
    of_each = [values(build(model, output=index)) for index in range(3)]
    assert of_each[0] == pytest.approx(direct(model, SOME), abs=CLOSE)
    assert of_each[0] != pytest.approx(of_each[2], abs=0.01)
    assert "output 3" in refused(build(model, output=3).score_items, SOME).found


def test_what_else_is_no_reward_model(made, tmp_path):
    def changed(name):
        return shutil.copytree(made["llama"], tmp_path / name)

    def why(directory):
        return refused(build(directory).score_items, SOME)

    silent = changed("silent")
    (silent / "chat_template.jinja").unlink()
    assert "no chat template" in why(silent).found
    pickled = changed("pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "a pickle" in why(pickled).found
    refusing = save(tmp_path / "refusing", "llama", template="{{ raise_exception('no') }}")
    assert "refuses the conversation (no)" in why(refusing).found
    assert why(refusing).where == "scorer 'reward_model': completion p0/0"
    assert "no such model directory" in why(tmp_path / "nowhere").found
    strange = changed("strange")
    config = jsonl.read_json(strange / "config.json")
    jsonl.write_json(strange / "config.json", {**config, "model_type": "clip_vision_model"})
    assert "transformers cannot load it as a sequence classifier" in why(strange).found
    wider = changed("wider")
    jsonl.write_json(wider / "config.json", {**config, "id2label": {"0": "a", "1": "b"}})
    assert "transformers cannot load it as a sequence classifier" in why(wider).found


def test_of_several_the_label_says_which(made, tmp_path):
    """Whatever is wrong: options, the model, its template, a reward."""
    refusing = save(tmp_path / "refusing", "llama", template="{{ raise_exception('no') }}")
    for options in (
        {"model": str(tmp_path / "nowhere")},
        {"model": str(made["llama"]), "device": "gpu"},
        {"model": str(made["llama"]), "output": 3},
        {"model": str(made["llama"]), "max_length": 1 << 20},
        {"model": str(refusing)},
    ):
        scorer = scoring.build("reward_model/helpful", options)
        assert refused(scorer.score_items, SOME).where.startswith("scorer 'reward_model/helpful'")
    assert (
        "reward_model/helpful"
        in refused(lambda: scoring.build("reward_model/helpful", {"model": "m", "dtype": "int8"})).where
    )


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "'gpu'"), ("cuda:99", "GPUs are visible"), ("cuda", "0 GPUs are visible")]
)
def test_a_device_that_is_not_there(device, words, made, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert words in refused(build(made["llama"], device=device).score_items, SOME).found


def test_a_template_that_drops_something_is_told_of_once(made, tmp_path, caplog):
    template = reward_models.TEMPLATE.replace("message['content']", "message['content'].split(' ')[-1]")
    model = save(tmp_path / "m", "llama", template=template)
    values(build(model), items(("a", ["b b c", "c d e"])))
    assert [r.message.partition(" (and")[0] for r in caplog.records] == [
        f"scorer 'reward_model': the chat template of {model} changes what it is shown of completion p0/0"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, "option model"),
        ({"batch_tokens": 0}, "option batch_tokens"),
        ({"max_length": True}, "option max_length"),
        ({"dtype": "int8"}, "one of float16, bfloat16, float32, float64"),
        ({"device": 0}, "option device"),
        ({"passes_above": "0"}, "option passes_above"),
        ({"passes_above": math.nan}, "option passes_above"),
        ({"output": -1}, "option output"),
        ({"trust_remote_code": "yes"}, "option trust_remote_code"),
        ({"model": "org/name", "trust_remote_code": True}, "lies on the hub"),
        ({"modle": "x"}, "did you mean 'model'?"),
    ],
)
def test_options_are_checked_at_once(options, words):
    assert words in str(refused(scoring.build, "reward_model/a", {"model": "somewhere", **options}))
