"""Models of other kinds are tried before they draw: served another way, or refused, never drawn wrong."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from direct import sampler
from test_qstar_architectures import CONFIGS, RECURRENT, TOKENS, loaded, whole
from transformers import BloomConfig, FalconConfig, GPTNeoConfig, RecurrentGemmaConfig, RwkvConfig

from winnow.errors import UserError
from winnow.qstar import probe
from winnow.qstar.masks import Masks
from winnow.qstar.models import LoadedModel
from winnow.qstar.stateful import StatefulDecoder

SHAPE = {"vocab_size": TOKENS, "hidden_size": 16, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
OWN_MASKS = {
    "bloom": BloomConfig(**SHAPE, n_layer=2, n_head=4),
    "falcon, alibi": FalconConfig(**SHAPE, num_hidden_layers=2, num_attention_heads=4, alibi=True),
}
OWN_STATE = {
    "recurrent gemma": RecurrentGemmaConfig(
        **SHAPE, num_hidden_layers=3, intermediate_size=32, num_attention_heads=4, lru_width=16,
        num_key_value_heads=1,
    ),
    "rwkv": RwkvConfig(**SHAPE, num_hidden_layers=2, attention_hidden_size=16),
}  # fmt: skip
LOCAL = GPTNeoConfig(
    **SHAPE, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4,
    max_position_embeddings=64,
)  # fmt: skip


def made(config, dtype=torch.float64) -> LoadedModel:
    """A model with a tokenizer that has text for it."""
    model = loaded(config)
    model.model.to(dtype)
    tokens = [2, 4, 5, 3, 7, 8, 6, 9, 10, 2, 3]
    return replace(
        model, tokenizer=SimpleNamespace(pad_token_id=0, encode=lambda text, add_special_tokens: tokens)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", [*CONFIGS, *RECURRENT])
def test_what_is_served_passes_as_it_is(name, dtype, caplog):
    model = made({**CONFIGS, **RECURRENT}[name], dtype)
    assert probe.probed(model) is model
    assert not [record for record in caplog.records if record.name == "generate"]


@pytest.mark.parametrize("name", OWN_MASKS)
def test_masks_of_its_own_are_decoded_row_by_row_and_rightly(name, caplog):
    model = made(OWN_MASKS[name])
    assert model.crops
    model = probe.probed(model)
    assert not model.crops
    assert "its rows cannot share a pass" in caplog.text
    decoder = StatefulDecoder(model, TOKENS, slots=2)
    held = [[2, 4, 5, 6, 3, 7, 8], [2, 3]]
    decoder.admit([(slot, tuple(prompt)) for slot, prompt in enumerate(held)])
    found = decoder.forward(torch.tensor([[tokens[-1]] for tokens in held]))
    for slot, tokens in enumerate(held):
        torch.testing.assert_close(found[slot, 0], whole(model, tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OWN_STATE)
def test_a_state_that_it_keeps_to_itself_is_refused(name):
    with pytest.raises(UserError, match=r"off by .* of their spread") as error:
        probe.probed(made(OWN_STATE[name]))
    assert error.value.where == "tiny"


def test_windows_that_count_from_the_end_of_the_cache_are_decoded_row_by_row():
    """They look right until a row is shorter than the longest by more than the window."""
    model = made(LOCAL)
    assert not model.crops
    decoder = StatefulDecoder(model, TOKENS, slots=2)
    held = [[2, 4, 5, 6, 3, 7, 8, 9, 4, 4], [2, 3, 5]]
    decoder.admit([(slot, tuple(prompt)) for slot, prompt in enumerate(held)])
    found = decoder.forward(torch.tensor([[tokens[-1]] for tokens in held]))
    for slot, tokens in enumerate(held):
        torch.testing.assert_close(found[slot, 0], whole(model, tokens), rtol=1e-5, atol=1e-5)


def test_broken_weights_are_left_to_the_rows_that_meet_them():
    model = made(CONFIGS["llama"])
    model.model.lm_head.weight.fill_(torch.nan)
    assert probe.probed(model) is model


def test_a_mask_that_is_not_heeded_is_seen(monkeypatch):
    past = Masks.past
    monkeypatch.setattr(Masks, "past", lambda self, places, span: torch.zeros_like(past(self, places, span)))
    assert probe.probed(made(CONFIGS["llama"])).alone


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_says_nothing_of_the_model(monkeypatch, error):
    def tight(*arguments):
        raise error

    monkeypatch.setattr(probe, "_whole", tight)
    with pytest.raises(type(error)):
        probe.probed(made(CONFIGS["llama"]))


def test_a_sampler_tries_its_models(student, teacher, monkeypatch):
    tried = []
    monkeypatch.setattr("winnow.qstar.sampler.probed", lambda loaded: tried.append(loaded.name) or loaded)
    sampler(student, teacher, "kl_symmetry")
    assert tried == [str(student), str(teacher)]
