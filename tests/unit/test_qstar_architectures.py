"""Models of many kinds behind one decoder: slots give what a whole pass gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconMambaConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
)

from winnow.arms import Alpha
from winnow.qstar.controller import Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.loading import choose_attention
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, StudentDrafts
from winnow.qstar.scheduler import Row, Slots
from winnow.qstar.stateful import StatefulDecoder

TOKENS = 11
SMALL = {
    "vocab_size": TOKENS,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "qwen2": Qwen2Config(**SMALL),
    "mistral, window of 4": MistralConfig(**SMALL, head_dim=4, sliding_window=4),
    "gemma2, soft caps": Gemma2Config(**SMALL, head_dim=4, sliding_window=4, query_pre_attn_scalar=4),
    "gemma3, some layers slide": Gemma3TextConfig(
        **SMALL,
        head_dim=4,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"] * 1 + ["sliding_attention"],
    ),
    "mixtral, experts": MixtralConfig(**SMALL, num_local_experts=4, sliding_window=None),
    "gpt2, learned positions": GPT2Config(
        vocab_size=TOKENS, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=1
    ),
}
RECURRENT = {
    "falcon mamba": FalconMambaConfig(
        vocab_size=TOKENS, hidden_size=16, state_size=4, num_hidden_layers=2, pad_token_id=0, eos_token_id=1
    ),
    "lfm2, convolutions and attention": Lfm2Config(**SMALL, layer_types=["conv", "full_attention", "conv"]),
}


def loaded(config: PretrainedConfig, seed: int = 1) -> LoadedModel:
    model = AutoModelForCausalLM.from_config(config).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, weights in model.named_parameters():
        if "norm" not in name and "ln_" not in name and "A_log" not in name:
            torch.nn.init.normal_(weights, std=0.4, generator=generator)
    choose_attention(model)
    tokenizer = SimpleNamespace(pad_token_id=0)
    return LoadedModel("tiny", model, tokenizer, None, frozenset({1}), 64)


def whole(model: LoadedModel, tokens: list[int]) -> torch.Tensor:
    """The logits after some tokens, by transformers' plain attention, whose softmax is in float32."""
    before = model.model.config._attn_implementation
    model.model.set_attn_implementation("eager")
    with torch.inference_mode():
        found = model.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
    model.model.set_attn_implementation(before)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_slots_give_what_a_whole_pass_gives(name):
    model = loaded(CONFIGS[name])
    assert model.crops
    decoder = Decoder(model, TOKENS, slots=3, capacity=40)
    held = [[2, 4, 5, 6, 3, 7, 8], [2, 3], [9, 2, 4, 10, 3, 5]]
    decoder.admit([(slot, tuple(prompt)) for slot, prompt in enumerate(held)])
    generator = torch.Generator().manual_seed(2)
    for depth, kept in [(1, 1), (3, 2), (4, 4), (2, 1), (5, 3)]:
        new = torch.randint(2, TOKENS, (3, depth), generator=generator)
        new[:, 0] = torch.tensor([tokens[-1] for tokens in held])
        decoder.place(*new.shape)
        found = decoder.forward(new)
        for slot, tokens in enumerate(held):
            for place in range(depth):
                expected = whole(model, [*tokens[:-1], *new[slot, : place + 1].tolist()])
                torch.testing.assert_close(found[slot, place], expected, rtol=1e-5, atol=1e-5)
        decoder.advance([kept] * 3)
        held = [[*tokens[:-1], *new[slot, :kept].tolist(), 4] for slot, tokens in enumerate(held)]


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_model_is_decoded_one_token_a_round(name):
    model = loaded(RECURRENT[name])
    assert not model.crops
    decoder = StatefulDecoder(model, TOKENS, slots=3)
    held = [[2, 4, 5, 6, 3, 7, 8], [2, 3], [2, 3]]
    decoder.admit([(slot, tuple(prompt)) for slot, prompt in enumerate(held)])
    for step in range(4):
        found = decoder.forward(torch.tensor([[tokens[-1]] for tokens in held]))
        for slot, tokens in enumerate(held):
            torch.testing.assert_close(found[slot, 0], whole(model, tokens), rtol=1e-5, atol=1e-5)
            tokens.append(2 + (slot * 3 + step) % 8)
        decoder.advance([1] * len(held))
    with pytest.raises(ValueError, match="one token a round"):
        decoder.forward(torch.tensor([[2, 3]]))


def test_the_samples_of_a_prompt_share_a_recurrent_models_prefill_though_they_come_later(monkeypatch):
    model, read = loaded(RECURRENT["falcon mamba"]), []
    passing = StatefulDecoder._pass
    monkeypatch.setattr(
        StatefulDecoder, "_pass", lambda self, cache, ids: read.append(len(ids)) or passing(self, cache, ids)
    )
    engine = Engine(
        OneModel(StatefulDecoder(model, TOKENS, 2)),
        Controller(1),
        Alpha.parse("policy"),
        SamplingParameters(),
        frozenset(),
        ("s",),
    )
    rows = [Row(str(i), i, ((2, 4, 5, 6), (2, 3, 3))[i % 2], None, 1 + i) for i in range(8)]
    assert len(list(engine.run(Slots(rows, 2)))) == 8
    assert sorted(length for length in read if length > 1) == [2, 3]


def test_a_recurrent_student_and_a_teacher_that_crops():
    """The pair falls back to one token a round, and each completion is still its seed's own."""
    student, teacher = loaded(RECURRENT["falcon mamba"]), loaded(CONFIGS["llama"], seed=2)

    def drawn(slots: int) -> dict[str, list[int]]:
        pair = StudentDrafts(StatefulDecoder(student, TOKENS, slots), Decoder(teacher, TOKENS, slots, 40))
        assert pair.deepest == 1
        engine = Engine(
            pair,
            Controller(pair.deepest),
            Alpha.parse("kl_symmetry"),
            SamplingParameters(),
            frozenset({1}),
            ("student", "teacher"),
        )
        rows = [Row(str(i), 31 * i, ((2, 4), (5,))[i % 2], (2, 4, 4, 3), 8) for i in range(9)]
        return {each.row.id: each.token_ids for each in engine.run(Slots(rows, slots))}

    assert drawn(4) == drawn(1)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("mistral, window of 4", "gemma2, soft caps"),
        ("gemma3, some layers slide", "llama"),
        ("mixtral, experts", "gpt2, learned positions"),
    ],
)
def test_pairs_of_kinds_draw_the_same_however_they_are_run(student, teacher):
    """Prompts longer than the windows, drafts that are rejected, and slots that are taken again."""
    models = loaded(CONFIGS[student]), loaded(CONFIGS[teacher], seed=2)

    def drawn(slots: int, depth: int) -> dict[str, list[int]]:
        decoders = [Decoder(model, TOKENS, slots, 48) for model in models]
        engine = Engine(
            StudentDrafts(*decoders),
            Controller(None, depth),
            Alpha.parse("kl_symmetry"),
            SamplingParameters(),
            frozenset({1, 3}),
            ("student", "teacher"),
        )
        prompts = [((2, 4, 5, 6, 7, 8, 2, 4), (5, 6)), ((9,), (2, 4, 4, 3, 8, 7, 5, 5, 6))]
        rows = [Row(str(i), 31 * i, *prompts[i % 2], 12) for i in range(12)]
        return {each.row.id: each.token_ids for each in engine.run(Slots(rows, slots))}

    alone = drawn(1, 1)
    assert len({len(tokens) for tokens in alone.values()}) > 2
    assert drawn(5, 4) == drawn(12, 3) == drawn(3, 1) == alone


def test_positions_that_the_longest_row_scales_are_decoded_row_by_row():
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    config = Phi3Config(
        **SMALL, rope_parameters={**rope, "short_factor": [1.0] * 2, "long_factor": [4.0] * 2}
    )
    model = loaded(config)
    assert not model.crops
    assert loaded(CONFIGS["llama"]).crops


def test_drafts_past_the_end_of_the_context_are_harmless():
    """Learned positions have a last one; a row that ends there drafts beyond it."""
    model, other = loaded(CONFIGS["gpt2, learned positions"]), loaded(CONFIGS["llama"], seed=2)
    rows = [Row(str(i), i, (2,) * 50, (3,) * 40, 14) for i in range(4)]

    def drawn(depth: int) -> dict[str, list[int]]:
        pair = StudentDrafts(Decoder(model, TOKENS, 4, 80), Decoder(other, TOKENS, 4, 80))
        engine = Engine(
            pair,
            Controller(None, depth),
            Alpha.parse("fixed-0.5"),
            SamplingParameters(),
            frozenset(),
            ("s", "t"),
        )
        return {each.row.id: each.token_ids for each in engine.run(Slots(rows, 4))}

    assert drawn(8) == drawn(1)
    assert {len(tokens) for tokens in drawn(8).values()} == {14}


def test_one_model_of_each_kind_ends_at_its_limit():
    model = loaded(CONFIGS["llama"])
    engine = Engine(
        OneModel(Decoder(model, TOKENS, 2, 40)),
        Controller(1),
        Alpha.parse("policy"),
        SamplingParameters(),
        frozenset(),
        ("s",),
    )
    rows = [Row(str(i), i, (2, 3), None, 1 + i) for i in range(5)]
    assert {each.row.id: len(each.token_ids) for each in engine.run(Slots(rows, 2))} == {
        str(i): 1 + i for i in range(5)
    }
