"""Make the reward models of this example: two judges of how the embedded example's sums are worked out.

    python examples/tulu/make_reward_models.py

takes a minute or two on two cores and writes `models/reward-a` and `models/reward-b` beside this file. Both
begin as the embedded policy at step 530, with a head of one number instead of its vocabulary, and learn to
prefer a sum that is added number by number over one by tens and units, by −log σ(r_better − r_worse)
(arXiv 2009.01325, equation 1). Whether a sum is right, models of this size do not learn to tell in minutes.
They saw other sums: they do not always agree. None of these is a prompt of the example. The program ends with
the share of pairs that each puts in order, of completions that a policy drew for other sums.
"""

import argparse
import random
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples/arithmetic")]

from conversations import Messages, number_by_number, student_messages, tens_and_units
from make_models import name_tokenizer_class
from make_prompts import Operands, draw_operands, fresh_operands, reserved_operands, unordered

from winnow.qstar import OptimalSampler

BODY = ROOT / "examples/arithmetic/models/policy-step-530"
SEEDS = {"reward-a": 1, "reward-b": 2}
BATCH, STEPS, LEARNING_RATE = 32, 120, 5e-4
SUMS, N = 200, 8
"""That are measured, and completions of each."""

Pair = tuple[Messages, str, str]
"""A question, a completion number by number and one by tens and units."""


def drawn_pairs(sums: list[Operands]) -> list[Pair]:
    """Completions of both kinds that the policy at step 460 draws for the same question, right or wrong."""
    policy = OptimalSampler(BODY.with_name("policy-step-460"), alpha_method="policy")
    asked = [student_messages(operands) for operands in sums]
    drawn = policy.generate(asked, max_new_tokens=64, n=N, batch_size=256)
    pairs: list[Pair] = []
    for index, messages in enumerate(asked):
        texts = [text for text in drawn.texts[index * N : (index + 1) * N] if text.endswith("</answer>")]
        # Tens and units: two sums of three numbers, and their sum.
        kinds = [[text for text in texts if text.count("=") == count] for count in (2, 3)]
        pairs += [(messages, *pair) for pair in zip(*kinds, strict=False)]
    return pairs


def solution(working: Callable[[Operands], str], operands: Operands) -> str:
    """A right solution, worked out in that way."""
    return f"<think>{working(operands)}</think><answer>{sum(operands)}</answer>"


def rewards(model: torch.nn.Module, tokenizer: object, rows: list[tuple[Messages, str]]) -> torch.Tensor:
    """The reward of each (question, completion)."""
    told = [[*messages, {"role": "assistant", "content": text}] for messages, text in rows]
    batch = tokenizer.apply_chat_template(  # type: ignore[attr-defined]
        told, padding=True, return_tensors="pt", return_dict=True, tokenizer_kwargs={"padding_side": "right"}
    )
    return model(**batch).logits[:, 0]


def in_order(model: torch.nn.Module, tokenizer: object, pairs: list[Pair]) -> float:
    """The share of pairs whose first completion has the higher reward."""
    with torch.no_grad():
        better = rewards(model, tokenizer, [(messages, good) for messages, good, _ in pairs])
        worse = rewards(model, tokenizer, [(messages, bad) for messages, _, bad in pairs])
    return (better > worse).float().mean().item()


def train(name: str, reserved: frozenset[Operands], unseen: list[Pair], output: Path) -> None:
    """Train one of them, measure it as stored, and tell."""
    torch.manual_seed(SEEDS[name])
    rng = random.Random(SEEDS[name])
    tokenizer = AutoTokenizer.from_pretrained(BODY)
    logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(BODY, num_labels=1, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    for step in range(1, STEPS + 1):
        sums = [
            each for each in (draw_operands(rng) for _ in range(BATCH)) if unordered(each) not in reserved
        ]
        good = [(student_messages(each), solution(number_by_number, each)) for each in sums]
        bad = [(student_messages(each), solution(tens_and_units, each)) for each in sums]
        both = rewards(model, tokenizer, good + bad)
        loss = -torch.nn.functional.logsigmoid(both[: len(sums)] - both[len(sums) :]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 40 == 0:
            print(f"{name}, step {step}: loss {loss.item():.3f}", flush=True)
    folder = output / name
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name_tokenizer_class(folder / "tokenizer_config.json")
    stored = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    print(f"{name}, as stored: {in_order(stored, tokenizer, unseen):.3f} of {len(unseen)} pairs in order")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("models"))
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    reserved = reserved_operands()
    others = list(islice(fresh_operands(random.Random(5), set(reserved)), SUMS))
    unseen = drawn_pairs(others)
    for name in SEEDS:
        train(name, reserved | {unordered(each) for each in others}, unseen, arguments.output)


if __name__ == "__main__":
    main()
