#!/usr/bin/env python
"""Tokens a second of q*: over the teacher alone, over lockstep, and over other programs, in one run.

    python benchmarks/qstar.py [--quick] [--json FILE] [--slots 1 8 16 32] [--vllm PYTHON] [--repeats 3]

Models of random weights at real shapes; the teacher runs, but its logits are the student's plus noise
that is keyed by the token before, so that β is what is asked for. Lengths are geometric, eight completions
share a prompt. Both sides draw the same rows to the same lengths; medians of several repeats in turn.

--vllm names a Python that has vLLM: its offline `generate` on the teacher, same rows, float32.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from benchmarks.qstar_workload import SetAcceptance, model, rows
from benchmarks.report import flags, tell
from winnow.arms import Alpha
from winnow.qstar.controller import Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, Proposer
from winnow.qstar.scheduler import Row, Slots

MEAN, LONGEST = 40, 160
STRENGTHS = {0.85: 0.80, 0.9: 0.52}
"""Noise for about this β; what came out is printed."""


def run(
    proposer: Proposer, alpha: str, work: list[Row], slots: int, depth: int | None
) -> tuple[float, Controller]:
    """(tokens a second, what the controller saw)."""
    controller = Controller(proposer.deepest, depth)
    engine = Engine(
        proposer, controller, Alpha.parse(alpha), SamplingParameters(), frozenset(), ("student", "teacher")
    )
    start = time.perf_counter()
    tokens = sum(len(drawn.token_ids) for drawn in engine.run(Slots(work, slots)))
    return tokens / (time.perf_counter() - start), controller


def decoder(loaded: LoadedModel, slots: int, width: int) -> Decoder:
    return Decoder(loaded, width, slots, 64 + LONGEST + 8)


def measure(
    teacher: LoadedModel, student: LoadedModel, slots: int, strength: float, repeats: int, prompts: int
) -> dict[str, Any]:
    """Teacher alone, q* and lockstep, in turn."""
    width = teacher.width
    both, alone = (rows(prompts, 8, MEAN, LONGEST, pair) for pair in (True, False))
    speeds: dict[str, list[float]] = {"teacher": [], "q*": [], "lockstep": []}
    seen: Controller | None = None
    for _ in range(repeats):
        speeds["teacher"].append(
            run(OneModel(decoder(teacher, slots, width)), "teacher", alone, slots, None)[0]
        )
        for name, depth in (("q*", None), ("lockstep", 1)):
            pair = SetAcceptance(decoder(student, slots, width), decoder(teacher, slots, width), strength)
            speed, controller = run(pair, "kl_symmetry", both, slots, depth)
            speeds[name].append(speed)
            seen = controller if depth is None else seen
    median = {name: statistics.median(values) for name, values in speeds.items()}
    assert seen is not None
    return {
        "pair": f"{teacher.name}/{student.name}",
        "slots": slots,
        "β": seen.acceptance,
        "teacher tok/s": median["teacher"],
        "q* tok/s": median["q*"],
        "lockstep tok/s": median["lockstep"],
        "q*/teacher": median["q*"] / median["teacher"],
        "lockstep/teacher": median["lockstep"] / median["teacher"],
        "chose": str(seen),
    }


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", help="sequences in progress at a time")
    parser.add_argument("--vllm", help="a Python that has vLLM")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    quick = arguments.quick
    teacher, student = (model(name, torch.float32, "cpu") for name in ("120M", "7M"))
    run(OneModel(decoder(teacher, 4, 64)), "teacher", rows(1, 4, 4, 4, False), 4, None)
    repeats = 1 if quick else arguments.repeats
    found: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for strength in list(STRENGTHS.values())[: 1 if quick else 2]:
        for slots in arguments.slots or ([8] if quick else [1, 8, 16, 32, 64]):
            row = measure(teacher, student, slots, strength, repeats, 1 if slots == 1 else max(2, slots // 4))
            found.append(row)
            print(
                "  "
                + "  ".join(
                    f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in row.items()
                ),
                flush=True,
            )
            ratios[f"q* over the teacher alone, {slots} slots, β {row['β']:.2f}"] = row["q*/teacher"]
            ratios[f"q* over lockstep, {slots} slots, β {row['β']:.2f}"] = (
                row["q* tok/s"] / row["lockstep tok/s"]
            )
    tell("qstar", ratios, found, arguments.json)


if __name__ == "__main__":
    main()
