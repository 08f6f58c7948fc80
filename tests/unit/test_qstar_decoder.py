"""The decoder's bookkeeping: positions and masks are each row's own."""

from __future__ import annotations

import torch

from winnow.qstar.decoder import Decoder
from winnow.qstar.models import load


def test_positions_count_from_each_rows_own_first_token(student):
    # Rotary models do not feel a shift of all positions of a row, others would.
    loaded = load(student, "float64")
    decoder, seen = Decoder(loaded, 8), []
    model = decoder._model

    class Spy:
        config = model.config

        def __call__(self, **inputs):
            seen.append((inputs["position_ids"].tolist(), inputs["attention_mask"].tolist()))
            return model(**inputs)

    decoder._model = Spy()
    logits = decoder.prefill([[2, 4, 5, 3], [2, 3]], torch.tensor([0, 1, 1]))
    assert logits.shape == (3, 8)
    positions, mask = seen[0]
    assert positions[0] == [0, 1, 2, 3]
    assert positions[1][2:] == [0, 1]
    assert mask == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert torch.equal(logits[1], logits[2])
    decoder.step(torch.tensor([4, 5, 6]))
    assert seen[1] == ([[4], [2], [2]], [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]])
    decoder.keep(torch.tensor([2, 0]))
    decoder.step(torch.tensor([4, 4]))
    assert seen[2][0] == [[3], [5]]


def test_the_cache_gives_what_a_whole_pass_gives(student):
    loaded = load(student, "float64")
    decoder = Decoder(loaded, 8)
    prompts, tokens = [[2, 4, 5, 6, 3], [2, 3]], [[4, 5, 6], [7, 4, 4]]
    found = [decoder.prefill(prompts, torch.tensor([0, 1]))]
    found += [decoder.step(torch.tensor([row[i] for row in tokens])) for i in range(3)]
    for row, prompt in enumerate(prompts):
        for length in range(4):
            whole = torch.tensor([[*prompt, *tokens[row][:length]]])
            expected = loaded.model(input_ids=whole, use_cache=False).logits[0, -1, :8]
            torch.testing.assert_close(found[length][row], expected, rtol=1e-12, atol=1e-12)
