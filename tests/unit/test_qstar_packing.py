"""Weights in oneDNN's order: the same products, for every family, and only where it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_qstar_architectures import CONFIGS, RECURRENT, TOKENS, loaded
from torch import nn

from winnow.qstar import packing
from winnow.qstar.loading import load
from winnow.qstar.packing import PackedLinear, pack

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "arithmetic" / "models" / "policy-step-460"
FAMILIES = CONFIGS | RECURRENT


def packed_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, PackedLinear)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_packed_model_gives_the_same_logits(name, monkeypatch):
    monkeypatch.setattr(packing, "SMALLEST", 0)
    model = loaded(FAMILIES[name]).model.float()
    ids = torch.randint(2, TOKENS, (3, 9), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = model(input_ids=ids, use_cache=False).logits
        pack(model)
        found = model(input_ids=ids, use_cache=False).logits
    assert "lm_head" in packed_layers(model)
    assert not [each for each in model.modules() if type(each) is nn.Linear]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 300), (5, 300), (2, 3, 300), (0, 300)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_layer(shape, bias):
    layer = nn.Linear(300, 700, bias=bias).requires_grad_(False)
    packed = PackedLinear(layer)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(packed(x), layer(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(packed.weight, layer.weight)
    assert (packed.in_features, packed.out_features) == (300, 700)


def test_what_stays_as_it_is():
    class Own(nn.Linear):
        """A class that may do more than multiply."""

    model = nn.ModuleDict(
        {
            "small": nn.Linear(8, 8),
            "precise": nn.Linear(512, 512).double(),
            "own": Own(512, 512),
            "elsewhere": nn.Linear(512, 512, device="meta"),
            "large": nn.Linear(512, 512),
        }
    )
    pack(model)
    assert packed_layers(model) == ["large"]


def test_tied_weights_still_embed():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(512, 256), nn.Linear(256, 512, bias=False)
            self.head.weight = self.embedding.weight

    model = Tied().requires_grad_(False)
    expected = model.head(model.embedding.weight)
    pack(model)
    torch.testing.assert_close(model.head(model.embedding.weight), expected, rtol=1e-4, atol=1e-4)


def test_a_loaded_model_is_packed_but_in_float64(monkeypatch):
    assert not packed_layers(load(EXAMPLE).model), "it is small"
    monkeypatch.setattr(packing, "SMALLEST", 0)
    policy = load(EXAMPLE)
    assert packed_layers(policy.model)
    assert policy.width == policy.model.get_input_embeddings().weight.shape[0]
    assert not packed_layers(load(EXAMPLE, dtype="float64").model)
