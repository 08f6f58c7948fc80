"""Make the image model of both image examples again from nothing: a policy at three steps of one run.

    python examples/agiqa/make_models.py

takes a few minutes of one core, and writes to `models`, beside this file. It is a LLaVA of 0.5 M parameters:
a CLIP tower that reads a picture in 16 patches, and a Qwen2 text model. It learns to rate one picture and to
compare two, from single raters' opinions of pictures that are drawn as it goes: none of the examples' own,
which have another seed. `policy-step-<N>` is the model after N steps. It stops while it still has much to
learn, and its raters scatter: that is what Winnow is for.

Seed and threads are fixed. Another machine may still round differently and end up with a slightly other
model; so the program measures it last, as stored, and refuses what is outside `measure_models.BANDS`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from conversations import COMPARE, RATE, THINK_FIRST, comparison, rating
from measure_models import MODELS, STEPS, THREADS, measure_all, require_bands
from pictures import EDGE, draw_scene, draw_score, noisy
from PIL import Image
from tokenizer import END, IMAGE, PAD, PATCH, build_processor
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
)
from transformers.utils import logging

SEED = 5
TOWER_STEPS, TOWER_ROWS = 200, 96
MIDDLE = 3.0  # of the score
BATCH_ROWS = 64
LEARNING_RATE = 2e-3
WARM_UP_STEPS = 50
PLANNED_STEPS, DECAY_STEPS = 260, 120
CONTEXT = 192
NOT_A_TARGET = -100  # the label that transformers leaves out of the loss


def build_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Build the model with random weights."""
    torch.manual_seed(SEED)
    tokenizer = processor.tokenizer
    tower = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=EDGE,
        patch_size=PATCH,
        projection_dim=64,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower,
            text_config=text,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=True,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
            pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        )
    )


def train_tower(tower: torch.nn.Module, processor: LlavaProcessor) -> None:
    """Teach the tower to see noise, before there is anything to say: a LLaVA starts from a trained one."""
    rng = np.random.default_rng(SEED + 1)
    read = torch.nn.Linear(tower.config.hidden_size, 1)
    weights = [*tower.parameters(), *read.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=(0.9, 0.95))
    for _ in range(TOWER_STEPS):
        scores = [draw_score(rng) for _ in range(TOWER_ROWS)]
        pictures = [picture(noisy(draw_scene(rng), score, rng)) for score in scores]
        pixels = processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        patches = tower(pixel_values=pixels).last_hidden_state[:, 1:]
        loss = (read(patches.mean(1))[:, 0] + MIDDLE - torch.tensor(scores)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    print(f"tower: squared error {loss.item():.3f}", flush=True)


def draw_conversation(rng: np.random.Generator) -> tuple[list[Image.Image], str, str]:
    """Draw pictures, a question about them, and one rater's answer."""
    scene = draw_scene(rng)
    if rng.random() < 0.5:
        score = draw_score(rng)
        return [picture(noisy(scene, score, rng))], RATE, rating(score, rng)
    first, second = draw_score(rng), draw_score(rng)
    think = bool(rng.random() < 0.5)
    asked = COMPARE.format(caption=scene.caption) + THINK_FIRST * think
    pictures = [picture(noisy(scene, first, rng)), picture(noisy(scene, second, rng))]
    return pictures, asked, comparison(first, second, think, rng)


def picture(pixels: np.ndarray) -> Image.Image:
    """As the pipeline opens a file."""
    return Image.fromarray(pixels).convert("RGB")


def draw_batches(processor: LlavaProcessor) -> Iterator[dict[str, torch.Tensor]]:
    """Draw batches for ever, padded on the right; only the answers count in the loss."""
    rng = np.random.default_rng(SEED)
    begins = processor.tokenizer.convert_tokens_to_ids("<|assistant|>")
    while True:
        rows = [draw_conversation(rng) for _ in range(BATCH_ROWS)]
        batch = processor(
            text=[f"<|user|>{asked}{END}<|assistant|>{answered}{END}" for _, asked, answered in rows],
            images=[each for pictures, _, _ in rows for each in pictures],
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        answer = (batch["input_ids"] == begins).cumsum(1).bool() & (batch["input_ids"] != begins)
        wanted = answer & batch["attention_mask"].bool()
        labels = batch["input_ids"].masked_fill(~wanted, NOT_A_TARGET)
        yield {**batch, "labels": labels}


def store(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Save a float16 copy of the model with its processor; the model itself trains on in float32."""
    rounded = LlavaForConditionalGeneration(model.config).to(torch.float16)
    rounded.load_state_dict(model.state_dict())
    rounded.tie_weights()
    rounded.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id
    )
    rounded.save_pretrained(folder)
    processor.save_pretrained(folder)
    name_tokenizer_class(folder / "tokenizer_config.json")


def name_tokenizer_class(config: Path) -> None:
    """Name the class as transformers 4 and 5 both know it; version 5 writes a name that only it knows."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("backend", None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def learning_rate_factor(step: int) -> float:
    """Scale the learning rate at a step, counted from 0: level, then falling; training stops before zero."""
    return min(1.0, (step + 1) / WARM_UP_STEPS, (PLANNED_STEPS - step) / DECAY_STEPS)


def train(output: Path) -> None:
    """Train the model and store it after each of the steps."""
    processor = build_processor(CONTEXT)
    model = build_model(processor)
    train_tower(model.model.vision_tower, processor)
    print(f"{sum(weights.numel() for weights in model.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor)
    started = time.monotonic()
    for step, batch in enumerate(islice(draw_batches(processor), max(STEPS)), start=1):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}  {time.monotonic() - started:4.0f} s", flush=True)
        if step in STEPS:
            store(model, processor, output / f"policy-step-{step}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=MODELS, help="folder to write to (default: models, beside this file)"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    train(arguments.output)
    require_bands(measure_all(arguments.output))


if __name__ == "__main__":
    main()
