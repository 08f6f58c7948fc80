"""Fine-tuning on images, by the program itself: killed and resumed, limits honoured, mistakes named."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from transformers import AutoProcessor

from winnow.errors import UserError
from winnow.training import sft
from winnow.training.callbacks import CountSteps
from winnow.training.examples import Lengths
from winnow.training.recipe import Recipe, Workplace, claim

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "agiqa" / "models" / "policy-step-110"
TEXT_MODEL = ROOT / "examples" / "arithmetic" / "models" / "policy-step-250"
DATA = ROOT / "examples" / "hpdv3" / "data"


def training_rows() -> list[dict]:
    """Comparisons with their answers, and a long prompt among them."""
    found = []
    for line in (DATA / "train.jsonl").read_bytes().splitlines()[:12]:
        row = orjson.loads(line)
        asked = f"<image><image>Both were drawn from: {row['prompt']}. Which image is better?"
        found.append(
            {
                "prompt": [{"role": "user", "content": asked}],
                "completion": [{"role": "assistant", "content": f"<answer>{row['answer']}</answer>"}],
                "images": row["images"],
            }
        )
    found[4]["prompt"][0]["content"] += " Think first." * 9
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "prompt_completion.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in training_rows()))
    return file


class Killed(BaseException):
    """As by a signal: between two steps."""


def train(folder: Path, data: Path, limit: int, model: Path) -> Workplace:
    """What the launched worker does."""
    place = Workplace(folder)
    folder.mkdir(exist_ok=True)
    options = {"max_epochs": 2, "train_batch_size": 4, "micro_train_batch_size": 2, "learning_rate": 1e-3}
    root = str(DATA) if model == MODEL else None
    claim(place, Recipe("p", "d", "c", **options, save_steps=1, max_prompt_length=limit, image_root=root))
    given = {"model": str(model), "train_data": str(data), "trust_remote_code": False}
    sft.train(place, argparse.Namespace(**given, attempts=None, deadline="none"))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, TEXT_MODEL], ids=["images", "text"])
def test_a_killed_run_goes_on_to_the_same_weights_without_what_is_too_long(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows, data = training_rows(), tmp_path / "rows.jsonl"
    if model == TEXT_MODEL:
        rows = [{key: row[key] for key in ("prompt", "completion")} for row in rows]
    data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    reader = AutoProcessor.from_pretrained(model)
    lengths = Lengths(reader, DATA if model == MODEL else None)
    prompts = sorted(lengths.prompt(row, "here") for row in rows)
    assert prompts[-2] < prompts[-1]
    whole = train(tmp_path / "whole", data, prompts[-2], model)
    assert orjson.loads(whole.examples.read_bytes()) == {
        "examples": 11,
        "prompt_too_long": 1,
        "too_long": 0,
    }
    on_step_end = CountSteps.on_step_end

    def killed(self, args, state, control, **kwargs):
        on_step_end(self, args, state, control, **kwargs)
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(CountSteps, "on_step_end", killed)
        train(tmp_path / "killed", data, prompts[-2], model)
    # What is trained on is settled: another measure would not change it.
    monkeypatch.setattr("winnow.training.sft.fitting", None)
    with caplog.at_level("INFO"):
        resumed = train(tmp_path / "killed", data, prompts[-2], model)
    assert "resumed from checkpoint-2" in caplog.text
    one, other = (
        hashlib.sha256((place.model / "model.safetensors").read_bytes()).hexdigest()
        for place in (whole, resumed)
    )
    assert one == other
    assert AutoProcessor.from_pretrained(resumed.model).chat_template


def test_a_limit_never_cuts_rows_with_images(tmp_path: Path) -> None:
    """The trainer cuts text; rows with images that are too long are left out before it sees any."""
    place, state = Workplace(tmp_path), sft.PartialState(cpu=True)
    options = {"max_length": 20, "train_batch_size": 4, "micro_train_batch_size": 4}
    for root, cut in ((str(DATA), None), (None, 20)):
        made = sft._arguments(Recipe("p", "d", "c", **options, image_root=root), place, state, bool(root))
        assert made.max_length == cut
        # A tower stands idle for a batch of text; several processes would wait for its gradients.
        assert made.ddp_find_unused_parameters == bool(root)


def refusal(data: Path, folder: Path, model: Path, *flags: str) -> str:
    done = subprocess.run(
        [
            sys.executable, "scripts/train.py", "--pretrain", str(model), "--train_data", str(data),
            "--save_path", str(folder), "--train_batch_size", "4", "--micro_train_batch_size", "4", *flags,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_rows_whose_images_are_wrong_are_named_before_anything_is_loaded(tmp_path: Path, data: Path) -> None:
    root = ["--image_root", str(DATA)]
    assert "line 1: the image" in refusal(data, tmp_path / "x", MODEL, "--image_root", str(tmp_path))
    rows = training_rows()
    rows[6]["images"] = rows[6]["images"][:1]
    data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    told = refusal(data, tmp_path / "x", MODEL, *root)
    assert "prompt_completion.jsonl, line 7: 1 images, and 2 times <image>" in told
    assert not (tmp_path / "x").exists()


def test_a_model_of_text_is_not_trained_on_images(tmp_path: Path, data: Path) -> None:
    workplace = Workplace(tmp_path)
    recipe = Recipe("p", "d", "c", image_root=str(DATA))
    given = argparse.Namespace(model=str(TEXT_MODEL), train_data=str(data))
    with pytest.raises(UserError, match="reads text alone"):
        sft._rows(recipe, workplace, sft.PartialState(cpu=True), given, object())
