"""The decoder's bookkeeping: positions, masks and places are each slot's own."""

from __future__ import annotations

import pytest
import torch

from winnow.qstar.decoder import Decoder
from winnow.qstar.loading import load


class Spy:
    """A model that remembers what it was given."""

    def __init__(self, model):
        self.model, self.config, self.seen = model, model.config, []

    def __call__(self, **inputs):
        mask = inputs["attention_mask"]
        self.seen.append(
            (
                inputs["input_ids"].tolist(),
                inputs["position_ids"].tolist(),
                None if mask is None else mask[:, 0] == 0,
            )
        )
        return self.model(**inputs)


@pytest.fixture
def decoder(student):
    made = Decoder(load(student, "float64"), 8, slots=4, capacity=24)
    made._model = Spy(made._model)
    return made


def whole(student, tokens):
    """The logits after some tokens, by one pass over all of them."""
    model = load(student, "float64").model
    return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1, :8]


def test_positions_and_masks_count_from_each_slots_own_first_token(decoder):
    decoder.admit([(0, (2, 4, 5, 3)), (1, (2, 3))])
    ids, positions, mask = decoder._model.seen[0]
    assert ids == [[2, 4, 5], [2, 0, 0]]
    assert positions == [[0, 1, 2]] * 2
    assert mask is None, "a prompt is read from its first token: causal"
    decoder.place(2, 2)
    decoder.forward(torch.tensor([[3, 6], [3, 7]]))
    ids, positions, mask = decoder._model.seen[1]
    assert positions == [[3, 4], [1, 2]]
    assert mask.long().tolist() == [
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]],
    ]
    decoder.advance([1, 2])
    decoder.place(2, 2)
    decoder.forward(torch.tensor([[6], [5]]), ahead=1)
    assert decoder._model.seen[2][1] == [[5], [4]]


def test_a_prompt_is_read_once_wherever_it_stands(decoder):
    decoder.admit([(0, (2, 4, 3)), (1, (2, 4, 3)), (2, (2, 5, 5, 3))])
    assert sorted(decoder._model.seen[0][0]) == [[2, 4, 0], [2, 5, 5]]
    decoder.place(3, 1)
    decoder.forward(torch.tensor([[3], [3], [3]]))
    decoder.advance([1, 1, 1])
    decoder.admit([(1, (2, 5, 5, 3)), (2, (2, 5, 5, 3)), (3, (2, 4, 3))])
    assert len(decoder._model.seen) == 2, "the first from the slot itself, the others from their neighbours"
    decoder.admit([(0, (2, 6, 3))])
    assert decoder._model.seen[2][0] == [[2, 6]]


def test_slots_give_what_a_whole_pass_gives(decoder, student):
    held = [[2, 4, 5, 6, 3], [2, 3], [2, 4, 5, 6, 3], [3]]
    decoder.admit([(slot, tuple(prompt)) for slot, prompt in enumerate(held)])

    def check(new, ahead=0, before=()):
        decoder.place(len(new), ahead + len(new[0]))
        found = decoder.forward(torch.tensor(new), ahead)
        for slot, tokens in enumerate(new):
            for place in range(len(tokens)):
                sequence = [*held[slot][:-1], *(row[slot] for row in before), *tokens[: place + 1]]
                torch.testing.assert_close(
                    found[slot, place], whole(student, sequence), rtol=1e-12, atol=1e-12
                )

    check([[3], [3], [3], [3]])
    check([[3, 4, 5], [3, 6, 6], [3, 7, 7], [3, 5, 5]])
    for slot, (count, tokens) in enumerate([(3, [4, 5, 7]), (1, [4]), (2, [7, 4]), (1, [6])]):
        held[slot] += tokens
        assert len(tokens) == count
    decoder.advance([3, 1, 2, 1])
    # Drafts that were rejected are written over.
    check([[7], [4], [4], [6]])
    check([[5], [5], [6], [7]], 1, before=[[7, 4, 4, 6]])
    decoder.advance([0, 0, 0, 0])
    decoder.move(3, 1)
    held = [held[0], held[3], held[2]]
    check([[7, 4], [6, 4], [4, 4]])
    decoder.wipe(2, whole=True)
    decoder.admit([(2, (2, 7, 7, 3))])
    held[2] = [2, 7, 7, 3]
    check([[7, 4], [6, 4], [3, 4]])


def test_long_prompts_are_read_in_parts(decoder, student, monkeypatch):
    monkeypatch.setattr("winnow.qstar.decoder.PREFILL_TOKENS", 10)
    prompts = [(2, 4, 5, 6, 3), (2, 5, 4, 4, 3), (2, 6, 3), (2, 7, 7, 3)]
    decoder.admit(list(enumerate(prompts)))
    assert [len(ids) for ids, _, _ in decoder._model.seen] == [2, 2]
    decoder.place(4, 1)
    found = decoder.forward(torch.tensor([[prompt[-1]] for prompt in prompts]))
    for slot, prompt in enumerate(prompts):
        torch.testing.assert_close(found[slot, 0], whole(student, list(prompt)), rtol=1e-12, atol=1e-12)
