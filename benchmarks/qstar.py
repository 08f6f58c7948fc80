#!/usr/bin/env python
"""Tokens a second of q*: over the teacher alone, over lockstep, and over other programs, in one run.

    python benchmarks/qstar.py [--quick] [--json FILE] [--figure FILE] [--slots 1 8 16 32] [--pairs 3]
        [--repeats 3] [--vllm PYTHON] [--parts pairs others two_prompts embedded]

Models of random weights at real shapes; the teacher runs, but its logits are the student's plus noise
that is keyed by the token before, so that β is what is asked for. Lengths are geometric, eight completions
share a prompt. Both sides draw the same rows to the same lengths, in turn; the best of several repeats counts
for each, because what else runs on the machine only ever slows a side down.

"predicted" is what holds for the depth K that was chosen most, if reading the weights were all
that takes time: E(K) / (1 + K·c), with the β that came out and c, the student's time over the teacher's.
"by times" takes the times of single passes as they are: E(K) t(1) / (K s(1) + t(K)), t and s being passes of
teacher and student over all slots. The first is above the second where arithmetic binds (K tokens cost more
than one); the second is above what is measured by the mixture, the prefill, the host, and drafts that are
thrown away when rows end.

--vllm names a Python that has vLLM: its offline `generate` on the teacher, same rows, float32.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from benchmarks import qstar_figure
from benchmarks import qstar_rivals as rivals
from benchmarks.qstar_workload import SetAcceptance, model, noise_bank, rows
from benchmarks.report import device, flags, tell
from winnow import jsonl
from winnow.arms import Alpha
from winnow.qstar import OptimalSampler
from winnow.qstar.controller import Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.models import LoadedModel
from winnow.qstar.packing import pack
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, Proposer, TwoPrompts
from winnow.qstar.scheduler import Row, Slots
from winnow.records import Prompt

LONGEST = 160
PARTS = ("pairs", "others", "two_prompts", "embedded")
STRENGTHS = (0.70, 0.46)
"""Noise for a β of about 0.86 and 0.91; what came out is printed."""


@dataclass(frozen=True)
class Work:
    """How much is drawn: completions of a geometric length, so many times."""

    mean: int
    longest: int
    repeats: int

    def rows(self, prompts: int, both: bool) -> list[Row]:
        """Eight for each prompt."""
        return rows(prompts, 8, self.mean, self.longest, both)


FULL, QUICK = Work(40, LONGEST, 3), Work(8, 24, 1)


def run(
    proposer: Proposer, alpha: str, work: list[Row], slots: int, depth: int | None = None
) -> tuple[float, Controller]:
    """(tokens a second, what the controller saw)."""
    controller = Controller(proposer.deepest, depth)
    engine = Engine(
        proposer, controller, Alpha.parse(alpha), SamplingParameters(), frozenset(), ("student", "teacher")
    )
    start = time.perf_counter()
    tokens = sum(len(drawn.token_ids) for drawn in engine.run(Slots(work, slots)))
    return tokens / (time.perf_counter() - start), controller


def packed(name: str) -> LoadedModel:
    """A model as `load` leaves it."""
    made = model(name, torch.float32, "cpu")
    pack(made.model)
    return made


def decoder(loaded: LoadedModel, slots: int) -> Decoder:
    """With room for the longest row."""
    return Decoder(loaded, loaded.width, slots, 64 + LONGEST + 8)


def alone(loaded: LoadedModel, work: list[Row], slots: int) -> float:
    """Tokens a second of one model."""
    return run(OneModel(decoder(loaded, slots)), "policy", work, slots)[0]


def seconds_a_pass(loaded: LoadedModel, slots: int, new: int) -> float:
    """The best of a few forward passes over so many new tokens of each slot."""
    made = decoder(loaded, slots)
    made.admit([(slot, (1,) * 48) for slot in range(slots)])
    tokens = torch.ones(slots, new, dtype=torch.int64)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        made.forward(tokens)
        times.append(time.perf_counter() - start)
    return min(times)


def in_turn(repeats: int, sides: dict[str, Any]) -> dict[str, float]:
    """The best of each side's speeds, the sides taking turns."""
    speeds = dict.fromkeys(sides, 0.0)
    for _ in range(repeats):
        for name, side in sides.items():
            speeds[name] = max(speeds[name], side())
    return speeds


def measure(
    teacher: LoadedModel, student: LoadedModel, slots: int, strength: float, work: Work, prompts: int
) -> dict[str, Any]:
    """Teacher alone, q* and lockstep."""
    both, one = (work.rows(prompts, pair) for pair in (True, False))
    seen: dict[str, Controller] = {}

    def mixed(name: str, depth: int | None) -> float:
        pair = SetAcceptance(decoder(student, slots), decoder(teacher, slots), strength)
        speed, seen[name] = run(pair, "kl_symmetry", both, slots, depth)
        return speed

    speeds = in_turn(
        work.repeats,
        {
            "teacher": lambda: alone(teacher, one, slots),
            "q*": lambda: mixed("q*", None),
            "lockstep": lambda: mixed("lockstep", 1),
        },
    )
    chosen, beta = seen["q*"].rounds.most_common(1)[0][0], seen["q*"].acceptance or 0.0
    one_t, deep_t = (seconds_a_pass(teacher, slots, new) for new in (1, chosen))
    one_s = seconds_a_pass(student, slots, 1)
    expected = (1 - beta**chosen) / (1 - beta)
    return {
        "pair": f"{teacher.name}/{student.name}",
        "noise": strength,
        "slots": slots,
        "β": beta,
        **{f"{name} tok/s": speed for name, speed in speeds.items()},
        "q*/teacher": speeds["q*"] / speeds["teacher"],
        "by times": expected * one_t / (chosen * one_s + deep_t),
        "predicted": expected / (1 + chosen * one_s / one_t),
        "lockstep/teacher": speeds["lockstep"] / speeds["teacher"],
        "chose": str(seen["q*"]),
    }


def beside_others(
    teacher: LoadedModel, student: LoadedModel, slots: int, work: Work, prompts: int, vllm: str | None
) -> dict[str, float]:
    """Ratios over transformers' `generate`, over a lockstep as system C has it, and over vLLM."""
    both, one = (work.rows(prompts, pair) for pair in (True, False))
    # As their users have them: oneDNN's order of the weights is ours.
    plain, plain_student = (model(each.name, torch.float32, "cpu") for each in (teacher, student))
    tokens, strength = sum(row.max_new_tokens for row in one), STRENGTHS[0]

    def static(side: Any, *models: LoadedModel) -> float:
        with rivals.own_attention(*models):
            return tokens / side()

    def mixed() -> float:
        pair = SetAcceptance(decoder(student, slots), decoder(teacher, slots), strength)
        return run(pair, "kl_symmetry", both, slots)[0]

    bank = noise_bank(strength)
    speeds = in_turn(
        work.repeats,
        {
            "teacher": lambda: alone(teacher, one, slots),
            "generate": lambda: static(lambda: rivals.static_generate(plain, one, slots), plain),
            "q*": mixed,
            "static lockstep": lambda: static(
                lambda: rivals.static_lockstep(plain_student, plain, both, slots, bank), plain_student, plain
            ),
        },
    )
    told = {
        f"teacher alone over transformers generate, {slots} slots": speeds["teacher"] / speeds["generate"],
        f"q* over a static-batch lockstep, {slots} slots": speeds["q*"] / speeds["static lockstep"],
    }
    if vllm:
        theirs = tokens / rivals.vllm_offline(vllm, plain, one, slots)
        print(f"  vLLM offline, {slots} sequences: {theirs:.1f} tok/s")
        told[f"teacher alone over vLLM offline, {slots} slots"] = speeds["teacher"] / theirs
    return told


def embedded(slots: int, repeats: int) -> dict[str, float]:
    """The embedded example's own models, real prompts and β; teacher and student are of one size."""
    example = ROOT / "examples" / "arithmetic"
    prompts = []
    for index, row in enumerate(jsonl.rows(example / "data" / "train.jsonl")):
        if index == 4 * slots:
            break
        asked = f"What is {row['problem']}?"
        shown = [
            [{"role": "user", "content": text}] for text in (asked, f"{asked} The answer is {row['answer']}.")
        ]
        prompts.append(Prompt(str(index), *shown))
    policy, teacher = (str(example / "models" / name) for name in ("policy-step-460", "teacher"))
    parameters = SamplingParameters(max_new_tokens=64)
    speeds, said = {}, ""
    for alpha in ("teacher", "kl_symmetry"):
        sampler = OptimalSampler(policy, teacher, alpha, parameters=parameters)
        work = [
            row
            for prompt in prompts
            for row in sampler.rows(prompt, [(f"{prompt.id}/{i}", 8 * int(prompt.id) + i) for i in range(8)])
        ]
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            drawn = list(sampler.draw(work, slots))
            times.append(sum(len(each.token_ids) for each in drawn) / (time.perf_counter() - start))
        speeds[alpha] = max(times)
        if alpha == "kl_symmetry":
            betas = [beta for each in drawn if each.metrics is not None for beta in each.metrics[:, -1]]
            said = f"embedded models, {slots} slots, β {statistics.mean(betas):.2f}"
    return {f"q* over the teacher alone, {said}": speeds["kl_symmetry"] / speeds["teacher"]}


def two_prompts(loaded: LoadedModel, slots: int, work: Work, prompts: int) -> dict[str, float]:
    """One set of weights with two prompts, over the same model alone: as many completions, as many rows."""
    both, one = (work.rows(prompts, pair) for pair in (True, False))
    speeds = in_turn(
        work.repeats,
        {
            "alone": lambda: alone(loaded, one, slots // 2),
            "rows": lambda: alone(loaded, one, slots),
            "q*": lambda: run(TwoPrompts(decoder(loaded, slots)), "kl_symmetry", both, slots // 2)[0],
        },
    )
    tokens, read = speeds["q*"] / speeds["alone"], 2 * speeds["q*"] / speeds["rows"]
    return {
        f"same weights, two prompts, tokens over plain decoding's, {slots // 2} completions": tokens,
        f"same weights, two prompts, rows over plain decoding's, {slots} rows": read,
    }


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", help="sequences in progress at a time")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    parser.add_argument("--pairs", type=int, default=3, help="the first so many pairs of models and β")
    parser.add_argument("--vllm", help="a Python that has vLLM")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="draw the ratios into this file")
    arguments = parser.parse_args()
    quick = arguments.quick
    work = QUICK if quick else replace(FULL, repeats=arguments.repeats)
    teacher, student, middle = (packed(name) for name in ("120M", "7M", "30M"))
    for each in (teacher, student, middle):
        alone(each, rows(1, 8, 4, 4, False), 8)
    found: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    pairs = [(student, STRENGTHS[0]), (student, STRENGTHS[1]), (middle, STRENGTHS[1])]
    parts = set(arguments.parts) & ({"pairs", "others"} if quick else set(PARTS))
    for drafter, strength in pairs[: 1 if quick else arguments.pairs] if "pairs" in parts else ():
        for slots in arguments.slots or ([8] if quick else [1, 8, 16, 32, 64]):
            row = measure(teacher, drafter, slots, strength, work, 1 if quick else max(2, slots // 2))
            found.append(row)
            print("  " + "  ".join(f"{key} {_short(value)}" for key, value in row.items()), flush=True)
            at = f"{row['pair']}, {slots} slots, β {row['β']:.2f}"
            ratios[f"q* over the teacher alone, {at}"] = row["q*/teacher"]
            ratios[f"q* over lockstep, {at}"] = row["q* tok/s"] / row["lockstep tok/s"]
            ratios[f"lockstep over the teacher alone, {at}"] = row["lockstep/teacher"]
    if "others" in parts:
        slots, prompts = (4, 1) if quick else (16, 8)
        ratios |= beside_others(teacher, student, slots, work, prompts, arguments.vllm)
    if "two_prompts" in parts:
        ratios |= two_prompts(teacher, 32, work, 8)
    if "embedded" in parts:
        ratios |= embedded(32, work.repeats)
    tell("qstar", ratios, found, arguments.json)
    if arguments.figure:
        qstar_figure.draw(found, arguments.figure, device())


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
