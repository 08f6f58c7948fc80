"""Models on devices of their own, or laid out by transformers over several."""

from __future__ import annotations

import pytest
import torch
from direct import ask, samples
from transformers import AutoModelForCausalLM

from winnow.errors import UserError
from winnow.qstar import OptimalSampler, SamplingParameters
from winnow.qstar.assembly import _needs
from winnow.qstar.loading import load


def build(student, teacher, **devices) -> OptimalSampler:
    return OptimalSampler(
        student, teacher, "kl_symmetry", parameters=SamplingParameters(max_new_tokens=8), dtype="float64",
        draft_tokens=3, **devices,
    )  # fmt: skip


def test_a_teacher_that_transformers_lays_out_draws_the_same(student, teacher, tmp_path, monkeypatch):
    """Here over memory and a disk, with the hooks that move what passes between GPUs."""
    rows = samples(build(student, teacher), ask("ab", "dcab"), 9)
    expected = {each.row.id: each.token_ids for each in build(student, teacher).draw(rows, 4)}
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    places |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
    read, asked = AutoModelForCausalLM.from_pretrained, []

    def laid_out(*names, device_map, **options):
        asked.append(device_map)
        more = {"device_map": places, "offload_folder": tmp_path} if device_map else {}
        return read(*names, **options, **more)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", laid_out)
    source = build(student, teacher, device_t="sharded")
    assert asked == [None, "auto"]
    assert source.t.model.model.layers[1].mlp.up_proj.weight.is_meta, "its weights wait on the disk"
    assert {each.row.id: each.token_ids for each in source.draw(rows, 4)} == expected


def test_without_gpus_it_lies_in_memory(student):
    found = load(student, "float32", "sharded")
    assert found.shares == {torch.device("cpu"): 1.0}


def test_each_device_is_asked_for_the_layers_that_lie_there(student):
    found = load(student)
    [whole] = _needs(found, 4, 10)
    found.model.hf_device_map = {"model.embed_tokens": 0, "model.layers.0": 0, "model.layers.1": "cuda:1"}
    first, second = _needs(found, 4, 10)
    assert (first.device, second.device) == (torch.device("cuda:0"), torch.device("cuda:1"))
    assert first.bytes == second.bytes == whole.bytes / 2


@pytest.mark.parametrize("device", ["gpu", "cuda:first", ""])
def test_a_device_that_is_none_is_named(student, device):
    with pytest.raises(UserError, match="sharded") as error:
        OptimalSampler(student, None, "policy", device=device)
    assert error.value.where == "--device"
