"""What is told of a reward model before it is loaded: nothing that loading would not say, and early."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_modules import refused
from reward_models import DECODER, FAMILIES, SOME, build, randomized, save, tokenizer, values
from safetensors.torch import load_file, save_file
from test_config import SMALL
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    Qwen2ForCausalLM,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from winnow import jsonl, manifest
from winnow.doctor.profile import read_profile
from winnow.scoring.reward_files import HEADS, OTHER_HEADS, OUTPUT_LAYERS, UNSAID, inspect, look

ROOT = Path(__file__).parents[2]
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
NO_DEFAULT = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "esm": {"vocab_size": 33},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
}
"""What some families want to be told."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A reward model by its family's name."""
    folder = tmp_path_factory.mktemp("rewards")
    return {family: save(folder / family, family) for family in FAMILIES}


@pytest.fixture
def llama(sound, tmp_path):
    """One that may be damaged."""
    return shutil.copytree(sound["llama"], tmp_path / "llama")


def changed(directory, name="config.json", **values):
    file = directory / name
    settings = {**jsonl.read_json(file), **values}
    jsonl.write_json(file, {key: value for key, value in settings.items() if value is not ...})
    return directory


def test_a_model_with_a_head_passes_in_every_family(sound):
    told = {family: look(str(directory)) for family, directory in sound.items()}
    heads = {family: "classifier.weight" if family == "bert" else "score.weight" for family in FAMILIES}
    assert told == {family: f"{head}, 1 output" for family, head in heads.items()}


@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("llama", LlamaForCausalLM),
        ("llama", LlamaModel),
        ("qwen2", Qwen2ForCausalLM),
        ("gpt2", GPT2LMHeadModel),
        ("bert", BertForMaskedLM),
    ],
)
def test_a_model_without_a_head_is_refused_before_and_after(family, other, tmp_path):
    _, config_class, shape = FAMILIES[family]
    randomized(other(config_class(**shape, pad_token_id=0)), 0).save_pretrained(tmp_path / "policy")
    tokenizer().save_pretrained(tmp_path / "policy")
    found = refused(look, str(tmp_path / "policy"))
    assert found.where == str(tmp_path / "policy") and "no trained head" in found.found
    assert "no trained head" in refused(build(tmp_path / "policy").score_items, SOME).found


def test_the_config_is_refused_without_torch_or_generation(tmp_path):
    randomized(LlamaForCausalLM(LlamaConfig(**DECODER)), 0).save_pretrained(tmp_path / "policy")
    tokenizer().save_pretrained(tmp_path / "policy")
    config = copy.deepcopy(SMALL)
    config["scoring"] = {"exact_answer": {}, "reward_model/rm": {"model": str(tmp_path / "policy")}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code = (
        "import json, sys\nfrom winnow import config, errors\n"
        "try:\n    config.check(json.load(open(sys.argv[1])))\n"
        "except errors.UserError as error:\n    print(error.where, '|', error.found)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "config.json"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("config, key scoring: scorer 'reward_model/rm'")
    assert "no trained head" in done.stdout


def test_outputs_and_labels(tmp_path):
    three = str(save(tmp_path / "three", "qwen2", num_labels=3))
    assert "3 outputs (0 LABEL_0, 1 LABEL_1, 2 LABEL_2)" in refused(look, three).found
    assert look(three, output=2) == "score.weight, 3 outputs"
    assert "output 3" in refused(look, three, output=3).found
    two = save(tmp_path / "two", "llama", num_labels=2)
    # Two is what transformers takes where config.json says nothing, and writes nothing for it.
    assert "id2label" not in jsonl.read_json(two / "config.json")
    assert look(str(two), output=1) == "score.weight, 2 outputs"


@pytest.mark.parametrize(
    "labels", [{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}, {"id2label": ...}]
)
def test_labels_that_are_not_those_of_the_head(llama, labels):
    changed(llama, label2id=labels.get("label2id", ...), id2label=labels["id2label"])
    found = refused(look, str(llama))
    assert "score.weight has 1 rows, and config.json has labels for 2 outputs" in found.found
    assert "cannot load it as a sequence classifier" in refused(build(llama).score_items, SOME).found
    assert values(build(changed(llama, num_labels=1, id2label=..., label2id=...)))
    assert look(str(llama)) == "score.weight, 1 output"


def test_a_head_in_another_precision_or_shard_is_found(llama):
    weights = load_file(llama / "model.safetensors")
    (llama / "model.safetensors").unlink()
    parts = {"a.safetensors": [n for n in weights if n != "score.weight"], "b.safetensors": ["score.weight"]}
    for file, names in parts.items():
        save_file({n: weights[n].bfloat16() for n in names}, llama / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, names in parts.items() for name in names}}
    jsonl.write_json(llama / "model.safetensors.index.json", index)
    # Beside them lies what nobody reads.
    (llama / "consolidated.safetensors").write_bytes(b"x")
    assert look(str(llama)) == "score.weight, 1 output"
    (llama / "b.safetensors").unlink()
    assert "not there, and the index names it" in refused(look, str(llama)).found


def test_files_that_are_not_whole(llama):
    file = llama / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert f"cut off after {len(whole) - 1:,} of {len(whole):,} bytes" in refused(look, str(llama)).found
    refused(build(llama).score_items, SOME)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "Git LFS" in refused(look, str(llama)).found
    file.write_bytes(b"")
    assert "no safetensors file" in refused(look, str(llama)).found


def test_no_chat_template(llama):
    (llama / "chat_template.jinja").unlink()
    assert "no chat template" in refused(look, str(llama)).found
    assert "no chat template" in refused(build(llama).score_items, SOME).found
    changed(llama, "tokenizer_config.json", chat_template="{{ messages }}")
    assert look(str(llama)) == "score.weight, 1 output"


def test_no_padding_token_is_needed(tmp_path):
    model = save(tmp_path / "m", "llama", pad=None)
    assert look(str(model)) == "score.weight, 1 output"
    assert all(value is not None for value in values(build(model)))


def test_what_only_loading_can_tell(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "on the hub" in look("org/name")
    assert "no config.json" in look(str(tmp_path / "nowhere"))
    weights = load_file(llama / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, llama / "model.safetensors", metadata={"format": "pt"})
    refused(look, str(llama))
    later = "it is looked at when it is loaded"
    changed(llama, auto_map={"AutoModelForSequenceClassification": "own.Own"})
    refused(look, str(llama))
    assert look(str(llama), trust_remote_code=True) == later
    assert look(str(changed(llama, auto_map=..., model_type="perceiver"))) == later
    changed(llama, model_type="llama")
    (llama / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert look(str(llama)) == later
    (llama / "config.json").unlink()
    assert "a LoRA adapter" in refused(look, str(llama)).found


def test_a_manifest_leads_to_the_model(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest.describe(llama).write(llama / "manifest.json")
    assert inspect({"reward_model/a": {"model": str(llama / "manifest.json")}, "exact_answer": None}) == {
        "reward_model/a": f"{llama / 'manifest.json'}: score.weight, 1 output"
    }


def test_the_doctor_tells_of_it(llama, tmp_path):
    run = {"scoring": {"exact_answer": {}, "reward_model": {"model": str(llama)}}}
    arguments = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(ROOT), "--cores", "1"]
    arguments += ["--configfile", str(ROOT / "config.yaml"), str(tmp_path / "run.json")]
    (tmp_path / "run.json").write_text(json.dumps(run))
    found = read_profile(ROOT, arguments)
    assert found.rewards == {"reward_model": f"{llama}: score.weight, 1 output"}
    changed(llama, id2label={"0": "good", "1": "bad"}, label2id={"good": 0, "bad": 1})
    found = read_profile(ROOT, arguments)
    assert found.level == "FAIL" and "labels for 2 outputs" in found.found


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES))
def test_heads_are_called_so_in_every_family_of_transformers(model_type):
    assert AutoConfig.for_model(model_type).num_labels == UNSAID.get(model_type, 2)
    config = AutoConfig.for_model(model_type, num_labels=5, **NO_DEFAULT.get(model_type, {}))
    if model_type == "layoutlmv2":
        pytest.importorskip("detectron2", reason="its picture part needs it; it takes no text alone")
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    shapes = {name: weights.shape for name, weights in model.named_parameters()}
    heads = [name for name in shapes if HEADS.intersection(name.split("."))]
    assert bool(heads) == (model_type not in OTHER_HEADS)
    # The model below it has none, so that a head that is missing is noticed.
    assert all(name.split(".")[0] in HEADS for name in heads)
    assert all(shapes[name][0] == 5 for name in OUTPUT_LAYERS if name in shapes)
    assert not any("score" in key or "classif" in key for key in model._keys_to_ignore_on_load_missing or ())
