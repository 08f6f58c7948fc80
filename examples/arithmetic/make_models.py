"""Make the models of the arithmetic example again from nothing: a policy at three steps, and its teacher.

    python examples/arithmetic/make_models.py

takes 24 minutes of CPU time, 23 on the clock when measured on two cores that others used too, and writes to
`models`, beside this file. All are Qwen3 models with random initial weights and one tokenizer, trained on
sums that hold none of the prompts' numbers (see `make_prompts.py`):

- `policy-step-<N>`: 0.45 M parameters; one run, stored after N steps, on its way from guessing to adding. It
  stops while it still has much to learn: that is what Winnow is for.
- `teacher`: 1.1 M parameters, trained for longer, with the answer in half of its prompts.

Seeds and threads are fixed. Another machine may still round differently and end up with slightly other
models; so the program measures them last, as stored, and refuses those outside `measure_models.BANDS`.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from conversations import Messages, student_messages, teacher_messages, worked_solution
from make_prompts import Operands, draw_operands, reserved_operands, unordered
from measure_models import MODELS, POLICY_STEPS, THREADS, measure_all, require_bands
from tokenizer import build_tokenizer
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

BATCH_ROWS = 128
WARM_UP_STEPS = 50
CONTEXT = 128
NOT_A_TARGET = -100  # the label that transformers leaves out of the loss


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    The learning rate stays level, then falls in a straight line to zero over the last `decay_steps` of
    `planned_steps`. `stored_steps` maps a step to the folder that holds the model after it; training stops
    after the last of them, as planned or earlier.
    """

    seed: int
    hidden_size: int
    layers: int
    learning_rate: float
    share_with_answer: float
    planned_steps: int
    decay_steps: int
    stored_steps: dict[int, str]

    def learning_rate_factor(self, step: int) -> float:
        """Scale the learning rate at a step, counted from 0."""
        warm_up = (step + 1) / WARM_UP_STEPS
        decay = (self.planned_steps - step) / self.decay_steps
        return min(1.0, warm_up, decay)


POLICY = Recipe(
    seed=1,
    hidden_size=96,
    layers=3,
    learning_rate=2e-3,
    share_with_answer=0.0,
    planned_steps=600,
    decay_steps=140,
    stored_steps={step: f"policy-step-{step}" for step in POLICY_STEPS},
)
TEACHER = Recipe(
    seed=2,
    hidden_size=128,
    layers=4,
    learning_rate=2e-3,
    share_with_answer=0.5,
    planned_steps=700,
    decay_steps=400,
    stored_steps={700: "teacher"},
)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Build a model with random weights."""
    torch.manual_seed(recipe.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=4 * recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            # Heads of 32 are the smallest that vLLM's kernels know.
            num_attention_heads=recipe.hidden_size // 32,
            num_key_value_heads=recipe.hidden_size // 32,
            head_dim=32,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def draw_conversation(
    recipe: Recipe, rng: random.Random, reserved: frozenset[Operands]
) -> tuple[Messages, str]:
    """Draw a question that is none of the example's prompts, and a worked solution of it."""
    operands = draw_operands(rng)
    while unordered(operands) in reserved:
        operands = draw_operands(rng)
    ask = teacher_messages if rng.random() < recipe.share_with_answer else student_messages
    return ask(operands), worked_solution(operands, rng)


def draw_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[dict[str, torch.Tensor]]:
    """Draw batches for ever, padded on the right; only the completions count in the loss."""
    rng, reserved = random.Random(recipe.seed), reserved_operands()
    while True:
        conversations = [draw_conversation(recipe, rng, reserved) for _ in range(BATCH_ROWS)]
        asked = [messages for messages, _ in conversations]
        told = [
            [*messages, {"role": "assistant", "content": solution}] for messages, solution in conversations
        ]
        prompts = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        batch = tokenizer.apply_chat_template(
            told, padding=True, return_tensors="pt", tokenizer_kwargs={"padding_side": "right"}
        )
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, NOT_A_TARGET)
        for row, prompt in zip(labels, prompts, strict=True):
            row[: len(prompt)] = NOT_A_TARGET
        yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def name_tokenizer_class(config: Path) -> None:
    """Name the class as transformers 4 and 5 both know it; version 5 writes a name that only it knows."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("backend", None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def store(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a float16 copy of the model with its tokenizer; the model itself trains on in float32."""
    rounded = Qwen3ForCausalLM(model.config).to(torch.float16)
    rounded.load_state_dict(model.state_dict())
    rounded.tie_weights()
    rounded.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    rounded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name_tokenizer_class(folder / "tokenizer_config.json")


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Train one model and store it after each of its recipe's steps."""
    model = build_model(recipe, tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, recipe.learning_rate_factor)
    started = time.monotonic()
    batches = islice(draw_batches(recipe, tokenizer), max(recipe.stored_steps))
    for step, batch in enumerate(batches, start=1):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}  {time.monotonic() - started:4.0f} s", flush=True)
        if step in recipe.stored_steps:
            store(model, tokenizer, output / recipe.stored_steps[step])


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
    tokenizer = build_tokenizer(CONTEXT)
    for recipe in (POLICY, TEACHER):
        train(recipe, tokenizer, arguments.output)
    require_bands(measure_all(arguments.output))


if __name__ == "__main__":
    main()
