"""LoRA adapters as policies and teachers: merged into what they adapt, and known by both."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from direct import ask, sampler, samples
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import describe, resolve
from winnow.qstar.loading import load


@pytest.fixture
def adapter(student, tmp_path):
    """An adapter of the student, whose weights are not the zeros of a new one, and the model beside it."""
    shutil.copytree(student, tmp_path / "base")
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float64),
        LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    )
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def name_base(adapter, name) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))


def test_the_logits_are_those_of_the_adapted_model(adapter, student):
    ids = torch.tensor([[2, 4, 5, 3]])
    merged = load(adapter, "float64")
    base = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float64)
    plain = base(input_ids=ids).logits
    expected = PeftModel.from_pretrained(base, adapter)(input_ids=ids).logits
    torch.testing.assert_close(merged.model(input_ids=ids, use_cache=False).logits, expected)
    assert not torch.allclose(plain, expected, atol=1e-3)
    assert merged.name == str(adapter)
    assert merged.tokenize([{"role": "user", "content": "ab"}]) == [2, 4, 5, 3]


def test_its_base_is_found_beside_it(adapter, tmp_path):
    name_base(adapter, "../base")
    assert base_of(adapter) == str(adapter / "../base")
    (tmp_path / "adapter").rename(tmp_path / "moved")
    assert load(tmp_path / "moved", "float64").model is not None


def test_it_is_known_by_its_own_weights_and_its_bases(adapter, tmp_path):
    name_base(adapter, "../base")
    before = describe(adapter)
    assert before.tokenizer == describe(tmp_path / "base").tokenizer
    weights = load_file(tmp_path / "base" / "model.safetensors")
    weights["lm_head.weight"] += 0.5
    save_file(weights, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    other_base = describe(adapter)
    assert other_base.model != before.model
    assert other_base.files == before.files
    own = load_file(adapter / "adapter_model.safetensors")
    save_file({name: 2 * value for name, value in own.items()}, adapter / "adapter_model.safetensors")
    assert describe(adapter).model not in (before.model, other_base.model)


def test_it_is_a_teacher_as_any_other(adapter, student):
    source = sampler(student, adapter, "kl_symmetry", 8)
    assert source.t is not source.theta
    drawn = list(source.draw(samples(source, ask("ab", "c"), 12), 5))
    assert all(each.finish_reason in ("stop", "length") for each in drawn)
    assert max(each.diagnostics["neg_log_z_mean"] for each in drawn) > 0.01


def test_an_adapter_of_an_adapter_is_refused(adapter):
    name_base(adapter, ".")
    with pytest.raises(UserError, match="an adapter itself"):
        resolve(adapter)


def test_pickled_weights_are_refused(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "other.safetensors")
    (adapter / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="a pickle"):
        resolve(adapter)


def test_a_base_on_the_hub_is_known_by_its_name_and_not_downloaded(adapter):
    name_base(adapter, "org/base")
    one = describe(adapter).model
    name_base(adapter, "org/base@v2")
    assert describe(adapter).model != one


@pytest.mark.parametrize(
    ("named", "told"), [(None, "no base_model_name_or_path"), ("../gone", "no such model")]
)
def test_a_base_that_is_not_there_is_named(adapter, named, told):
    name_base(adapter, named)
    with pytest.raises(UserError, match=told):
        resolve(adapter)
