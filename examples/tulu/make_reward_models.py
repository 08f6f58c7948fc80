"""Make the reward models of this example: two judges of the embedded example's sums.

    python examples/tulu/make_reward_models.py

takes some minutes on two cores and writes `models/reward-a` and `models/reward-b` beside this file. Both
begin as the embedded policy at step 530, with a head of one number instead of its vocabulary. They learn to
tell right completions from wrong ones (Bradley–Terry: −log σ(r_right − r_wrong), as in arXiv 2009.01325,
equation 1). They saw other sums, in another order: they do not always agree. None of these sums is a prompt of
the example. The program tells the share of pairs, of sums that neither saw, that each puts in order.
"""

import argparse
import random
import sys
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples/arithmetic")]

from conversations import Messages, is_right, student_messages
from make_models import name_tokenizer_class
from make_prompts import Operands, fresh_operands, reserved_operands

from winnow.qstar import OptimalSampler

BODY = ROOT / "examples/arithmetic/models/policy-step-530"
SEEDS = {"reward-a": 1, "reward-b": 2}
PAIRS, SUMS, N, BATCH, EPOCHS, LEARNING_RATE = 3000, 1500, 8, 64, 4, 3e-4
MEASURED = 500

Pair = tuple[Messages, str, str]
"""A question, a right completion and a wrong one."""


def draw_pairs(sums: list[Operands]) -> list[Pair]:
    """Right and wrong completions of the policy at two steps: the same question, at most four pairs of it."""
    pairs: list[Pair] = []
    for step in ("460", "530"):
        model = ROOT / f"examples/arithmetic/models/policy-step-{step}"
        policy = OptimalSampler(model, alpha_method="policy")
        asked = [student_messages(operands) for operands in sums]
        drawn = policy.generate(asked, max_new_tokens=64, n=N, batch_size=256)
        for index, (operands, messages) in enumerate(zip(sums, asked, strict=True)):
            texts = drawn.texts[index * N : (index + 1) * N]
            right = [text for text in texts if is_right(text, operands)]
            wrong = [text for text in texts if not is_right(text, operands) and text.endswith("</answer>")]
            pairs += [(messages, *pair) for pair in islice(zip(right, wrong, strict=False), 4)]
    return pairs


def rewards(model: torch.nn.Module, tokenizer: object, rows: list[tuple[Messages, str]]) -> torch.Tensor:
    """The reward of each (question, completion)."""
    told = [[*messages, {"role": "assistant", "content": text}] for messages, text in rows]
    batch = tokenizer.apply_chat_template(  # type: ignore[attr-defined]
        told, padding=True, return_tensors="pt", return_dict=True, tokenizer_kwargs={"padding_side": "right"}
    )
    return model(**batch).logits[:, 0]


def in_order(model: torch.nn.Module, tokenizer: object, pairs: list[Pair]) -> float:
    """The share of pairs whose right completion has the higher reward."""
    with torch.no_grad():
        right = rewards(model, tokenizer, [(messages, good) for messages, good, _ in pairs])
        wrong = rewards(model, tokenizer, [(messages, bad) for messages, _, bad in pairs])
    return (right > wrong).float().mean().item()


def train(name: str, pairs: list[Pair], unseen: list[Pair], output: Path) -> None:
    """Train one of them, measure it as stored, and tell."""
    torch.manual_seed(SEEDS[name])
    tokenizer = AutoTokenizer.from_pretrained(BODY)
    logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(BODY, num_labels=1, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    steps = EPOCHS * (len(pairs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    source = random.Random(SEEDS[name])
    for _ in range(EPOCHS):
        source.shuffle(pairs)
        for start in range(0, len(pairs) - BATCH + 1, BATCH):
            batch = pairs[start : start + BATCH]
            both = rewards(
                model, tokenizer, [(m, good) for m, good, _ in batch] + [(m, bad) for m, _, bad in batch]
            )
            loss = -torch.nn.functional.logsigmoid(both[: len(batch)] - both[len(batch) :]).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        found = in_order(model, tokenizer, unseen)
        print(f"{name}: loss {loss.item():.3f}, in order {found:.3f}", flush=True)
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
    reserved = set(reserved_operands())
    fresh = fresh_operands(random.Random(5), reserved)
    unseen = draw_pairs(list(islice(fresh, MEASURED)))
    for name in SEEDS:
        train(name, draw_pairs(list(islice(fresh, SUMS)))[:PAIRS], unseen, arguments.output)


if __name__ == "__main__":
    main()
