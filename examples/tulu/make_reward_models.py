"""Make the reward models of this example: two judges of the embedded example's sums.

    python examples/tulu/make_reward_models.py

takes some minutes on two cores and writes `models/reward-a` and `models/reward-b` beside this file. Both
begin as the embedded policy at step 530, with a head of one number instead of its vocabulary and two more
layers: what the policy foresees is known behind its last layer only, and has to be compared with what is
there. They learn to tell right solutions from those with one slip, by −log σ(r_right − r_wrong)
(arXiv 2009.01325, equation 1). They saw other sums: they do not always agree. None of these sums is a prompt of
the example. The program ends with the share of pairs that each puts in order, of completions that a policy
drew for other sums.
"""

import argparse
import random
import sys
from itertools import islice
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples/arithmetic")]

from conversations import Messages, is_right, student_messages, worked_solution
from make_models import name_tokenizer_class
from make_prompts import Operands, draw_operands, fresh_operands, reserved_operands, unordered

from winnow.qstar import OptimalSampler

BODY = ROOT / "examples/arithmetic/models/policy-step-530"
SEEDS = {"reward-a": 1, "reward-b": 2}
MORE_LAYERS = 2
BATCH, STEPS, LEARNING_RATE = 32, 1500, 1e-3
SUMS, N = 300, 8
"""That are measured, and completions of each."""
SLIPS = (-20, -10, -2, -1, 1, 2, 10, 20)

Pair = tuple[Messages, str, str]
"""A question, a right completion and a wrong one."""


def slipped(operands: Operands, rng: random.Random) -> str:
    """A solution whose one slip goes on into what follows, as a policy's does."""
    a, b, c = operands
    slip = rng.choice(SLIPS)
    if rng.random() < 0.5:
        first = a + b + (slip if rng.random() < 0.5 else 0)
        last = first + c + (slip if first == a + b else 0)
        working = f"{a}+{b}={first} {first}+{c}={last}"
    else:
        tens, units = ([n // 10 * 10 for n in operands], [n % 10 for n in operands])
        sums = [sum(tens), sum(units), 0]
        place = rng.randrange(3)
        sums[place] += slip if place != 1 else slip // abs(slip)
        last = sums[0] + sums[1] + sums[2]
        columns = [
            f"{'+'.join(map(str, column))}={found}" for column, found in ((tens, sums[0]), (units, sums[1]))
        ]
        working = f"{' '.join(columns)} {sums[0]}+{sums[1]}={last}"
    return f"<think>{working}</think><answer>{last}</answer>"


def drawn_pairs(sums: list[Operands]) -> list[Pair]:
    """Right and wrong completions of the policy at step 460: the same question, at most four pairs of it."""
    policy = OptimalSampler(BODY.with_name("policy-step-460"), alpha_method="policy")
    asked = [student_messages(operands) for operands in sums]
    drawn = policy.generate(asked, max_new_tokens=64, n=N, batch_size=256)
    pairs: list[Pair] = []
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


def deeper() -> Qwen3ForSequenceClassification:
    """The policy with more layers and a head of one number."""
    body = AutoModelForCausalLM.from_pretrained(BODY, dtype=torch.float32)
    layers = body.config.num_hidden_layers + MORE_LAYERS
    settings = {**body.config.to_dict(), "num_hidden_layers": layers, "layer_types": None, "num_labels": 1}
    model = Qwen3ForSequenceClassification(Qwen3Config(**settings)).to(torch.float32)
    model.model.load_state_dict(body.model.state_dict(), strict=False)
    return model


def train(name: str, reserved: frozenset[Operands], unseen: list[Pair], output: Path) -> None:
    """Train one of them, measure it as stored, and tell."""
    torch.manual_seed(SEEDS[name])
    rng = random.Random(SEEDS[name])
    tokenizer = AutoTokenizer.from_pretrained(BODY)
    model = deeper()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    for step in range(1, STEPS + 1):
        sums = [
            each for each in (draw_operands(rng) for _ in range(BATCH)) if unordered(each) not in reserved
        ]
        good = [(student_messages(each), worked_solution(each, rng)) for each in sums]
        bad = [(student_messages(each), slipped(each, rng)) for each in sums]
        both = rewards(model, tokenizer, good + bad)
        loss = -torch.nn.functional.logsigmoid(both[: len(sums)] - both[len(sums) :]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0:
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
