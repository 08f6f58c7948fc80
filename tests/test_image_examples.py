"""The image model and the pictures as shipped: small, loadable, in order, and made by their generator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from winnow.images import located
from winnow.qstar.loading import load

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "agiqa" / "models"
STEPS = ("110", "150", "210")


def rows(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def files(name: str) -> dict[str, Path]:
    folder = ROOT / "examples" / name / "data"
    return {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}


def test_models_and_pictures_are_small() -> None:
    assert sorted(folder.name for folder in MODELS.iterdir()) == [f"policy-step-{step}" for step in STEPS]
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) < 4_000_000
    pictures = [*files("agiqa").values(), *files("hpdv3").values()]
    assert sum(file.stat().st_size for file in pictures) < 1_500_000


@pytest.mark.parametrize("step", STEPS)
def test_models_load_as_any_other(step: str) -> None:
    folder = MODELS / f"policy-step-{step}"
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    for text in ("<think>It has no grain.</think><answer>4.7</answer>", "any text: ä, 漢, 🙂"):
        ids = processor.tokenizer.encode(text, add_special_tokens=False)
        assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How?"}]}]
    answered = [*asked, {"role": "assistant", "content": [{"type": "text", "text": "So."}]}]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert prompt == "<|user|><image>How?<|im_end|><|assistant|>"
    assert processor.apply_chat_template(answered, tokenize=False) == f"{prompt}So.<|im_end|>"


def test_prompts_fit_their_limits_and_pictures_are_there() -> None:
    model = load(MODELS / "policy-step-150")
    for name, limit in (("agiqa", 64), ("hpdv3", 96)):
        data = ROOT / "examples" / name / "data"
        for split in ("train", "heldout"):
            for row in rows(data / f"{split}.jsonl"):
                images = located(row["images"], data, row["id"])
                assert all(Image.open(image).size == (32, 32) for image in images)
        asked = (
            row.get("problem")
            or f"<image><image>Both were drawn from: {row['prompt']}. Which image is better? Think first."
        )
        assert 16 < len(model.tokenize([{"role": "user", "content": asked}], images)) <= limit


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_answer_names_the_image_that_hpdv3_prefers_in_the_order_shown(split: str) -> None:
    data = ROOT / "examples" / "hpdv3" / "data"
    pairs = orjson.loads((data / f"{split}.json").read_bytes())
    shown = rows(data / f"{split}.jsonl")
    assert [each["prompt"] for each in pairs] == [each["prompt"] for each in shown]
    places = []
    for pair, row in zip(pairs, shown, strict=True):
        assert set(pair) == {"path1", "path2", "prompt", "confidence", "choice_dist", "model1", "model2"}
        assert sorted(row["images"]) == sorted([pair["path1"], pair["path2"]])
        places.append(row["images"].index(pair["path1"]) + 1)
        assert row["answer"] == f"Image {places[-1]} is better"
    assert 0.4 < places.count(1) / len(places) < 0.6


def test_splits_share_no_picture() -> None:
    for name in ("agiqa", "hpdv3"):
        content = {split: set() for split in ("train", "heldout")}
        for path, file in files(name).items():
            if path.endswith(".png"):
                content[Path(path).name.partition("-")[0]].add(file.read_bytes())
        assert content["train"] and not content["train"] & content["heldout"]


def test_the_generator_makes_the_same_again(tmp_path: Path) -> None:
    """Pixel by pixel: another zlib may pack them otherwise."""
    subprocess.run(
        [sys.executable, "examples/agiqa/make_images.py", "--output", str(tmp_path)], cwd=ROOT, check=True
    )
    for name in ("agiqa", "hpdv3"):
        made, kept = tmp_path / name / "data", files(name)
        assert {str(f.relative_to(made)) for f in made.rglob("*") if f.is_file()} == kept.keys()
        for path, file in kept.items():
            if path.endswith(".png"):
                with Image.open(made / path) as one, Image.open(file) as other:
                    assert one.tobytes() == other.tobytes(), path
            else:
                assert (made / path).read_bytes() == file.read_bytes(), path
