"""What the trainer is shown of rows with images: in order, whole, and with the loss on the answer alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from winnow.errors import UserError
from winnow.training.examples import Fitting, Lengths, Shown, fitting
from winnow.training.recipe import Recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
ANSWER = "<think>It has no grain.</think><answer>4.7</answer>"


def row(asked: str, images: list[str] | None = None, told: str = ANSWER) -> dict:
    found = {
        "prompt": [{"role": "user", "content": asked}],
        "completion": [{"role": "assistant", "content": told}],
    }
    return found if images is None else {**found, "images": images}


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(EXAMPLES / "agiqa" / "models" / "policy-step-150")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Pictures of one grey level each, told by their names."""
    folder = tmp_path_factory.mktemp("pictures")
    for level in (0, 80, 160, 240):
        Image.new("L", (32, 32), level).save(folder / f"{level}.png")
    Image.new("L", (48, 32), 10).save(folder / "wide.png")
    return folder


def columns(rows: list[dict]) -> dict[str, list]:
    """As `datasets` hands a batch to a transform; a row without images has None."""
    return {key: [each.get(key) for each in rows] for key in ("prompt", "completion", "images")}


def collated(processor, pictures: Path, rows: list[dict]) -> dict[str, torch.Tensor]:
    """What TRL makes of some rows."""
    shown = Shown(pictures, "train.jsonl")(columns(rows))
    examples = [dict(zip(shown, values, strict=True)) for values in zip(*shown.values(), strict=True)]
    return DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(examples)


ROWS = [
    row("<image>How good?", ["80.png"]),
    row("<image>or<image>better?", ["240.png", "0.png"], "<answer>Image 1 is better</answer>"),
    row("No picture.", None, "None."),
]


def test_the_loss_falls_on_the_answer_and_its_end_and_on_nothing_else(processor, pictures):
    batch = collated(processor, pictures, ROWS)
    for ids, labels, mask, each in zip(
        batch["input_ids"], batch["labels"], batch["attention_mask"], ROWS, strict=True
    ):
        assert (labels[labels != -100] == ids[labels != -100]).all()
        learnt = processor.tokenizer.decode(ids[labels != -100])
        assert learnt == each["completion"][0]["content"] + "<|im_end|>"
        # Neither a part of an image, nor the assistant's marker, nor padding.
        before = processor.tokenizer.decode(ids[(labels == -100) & mask.bool()])
        assert before.endswith("<|assistant|>") and "answer" not in before
        assert (labels[mask == 0] == -100).all()


def test_images_come_in_the_order_shown_and_where_they_are_marked(processor, pictures):
    batch = collated(processor, pictures, ROWS)
    levels = ((batch["pixel_values"].mean((1, 2, 3)) + 1) * 127.5).round().tolist()
    assert levels == [80, 240, 0]
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert (batch["input_ids"] == image).sum(1).tolist() == [16, 32, 0]
    text = processor.tokenizer.decode(batch["input_ids"][1])
    assert "<|user|>" + "<image>" * 16 + "or" + "<image>" * 16 + "better?" in text
    swapped = collated(processor, pictures, [{**ROWS[1], "images": ROWS[1]["images"][::-1]}])
    assert not torch.equal(swapped["pixel_values"], batch["pixel_values"][1:])


def test_a_row_whose_images_do_not_fit_its_text_is_refused(processor, pictures):
    for bad, told in [
        (row("<image><image>?", ["0.png"]), "1 images, and 2 times <image>"),
        (row("<image>?", ["0.png"], "I see <image>"), "0 images, and 1 times <image>"),
        (row("<image>?", ["9.png"]), "'9.png' is not in"),
        (row("<image>?", ["../0.png"]), "outside"),
    ]:
        with pytest.raises(UserError, match=told):
            Shown(pictures, "train.jsonl")(columns([bad]))


def test_lengths_are_those_of_the_processor(processor, pictures, monkeypatch):
    rows = [*ROWS, row("<image><image>?", ["wide.png", "0.png"]), row("<image>How bad?", ["0.png"])]
    lengths = Lengths(processor, pictures)
    for each in rows:
        batch = collated(processor, pictures, [each])
        assert lengths.whole(each, "here") == batch["input_ids"].shape[1]
        assert lengths.prompt(each, "here") == int((batch["labels"] == -100).sum())
    # However many rows, an image's tokens are counted once for each size.
    monkeypatch.setattr("winnow.training.examples.opened", None)
    assert lengths.prompt(row("<image>Well?", ["160.png"]), "here") > 16


def recipe(**limits) -> Recipe:
    return Recipe("parent", "data", "code", **limits)


def test_rows_that_are_too_long_are_left_out_and_counted(processor, pictures):
    lengths = Lengths(processor, pictures)
    prompts = [lengths.prompt(each, "here") for each in ROWS]
    wholes = [lengths.whole(each, "here") for each in ROWS]
    assert prompts[2] < prompts[0] < prompts[1]
    assert fitting(ROWS, lengths, recipe(), "f") == Fitting([0, 1, 2], 0, 0)
    assert fitting(ROWS, lengths, recipe(max_prompt_length=prompts[0]), "f") == Fitting([0, 2], 1, 0)
    assert fitting(ROWS, lengths, recipe(max_prompt_length=prompts[0] - 1), "f") == Fitting([2], 2, 0)
    # Beside images the trainer cuts nothing: text that is too long goes too.
    assert fitting(ROWS, lengths, recipe(max_length=wholes[2]), "f") == Fitting([2], 0, 2)
    with pytest.raises(UserError, match="3 are longer than 2"):
        fitting(ROWS, lengths, recipe(max_length=2), "f")
    assert fitting(ROWS, lengths, recipe(max_length=wholes[0]), "f").kept == [
        index for index, count in enumerate(wholes) if count <= wholes[0]
    ]
    both = fitting(ROWS, lengths, recipe(max_length=wholes[0] - 1, max_prompt_length=prompts[0]), "f")
    assert both.to_row() == {"examples": 1, "prompt_too_long": 1, "too_long": 1}
    with pytest.raises(UserError, match="no row fits: 3 have prompts of more than 1 tokens"):
        fitting(ROWS, lengths, recipe(max_prompt_length=1), "f")


def test_lengths_of_text_alone():
    tokenizer = AutoTokenizer.from_pretrained(EXAMPLES / "arithmetic" / "models" / "policy-step-250")
    lengths = Lengths(tokenizer, None)
    each = row("What is 1+2?", None, "3")
    asked = tokenizer.apply_chat_template(each["prompt"], add_generation_prompt=True)["input_ids"]
    assert lengths.prompt(each, "here") == len(asked)
    assert fitting([each], lengths, recipe(max_prompt_length=len(asked)), "f").kept == [0]
    # What an image model would take for an image is text here.
    assert lengths.prompt(row("<image>"), "here") > 0
