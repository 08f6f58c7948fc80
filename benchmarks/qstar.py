#!/usr/bin/env python
"""Tokens a second of q*: over the teacher alone, over lockstep, and over other programs, in one run.

    python benchmarks/qstar.py [--quick] [--json FILE] [--figure FILE] [--slots 1 8 16 32] [--pairs 120M/7M]
        [--noise 0.7] [--repeats 3] [--vllm PYTHON] [--parts pairs others two_prompts embedded]
    python benchmarks/qstar.py --device cuda [--pairs 7B/1.5B] [--slots 1 8 32 64] [--profile FILE] …

Models of random weights at real shapes; the teacher runs, but its logits are the student's plus noise
that is keyed by the token before, so that β is what is asked for. Lengths are geometric, eight completions
share a prompt. Both sides draw the same rows to the same lengths, in turn; the median of each side's repeats
counts.

"predicted" is what holds for the depth K that was chosen most, if reading the weights were all
that takes time: E(K) / (1 + K·c), with the β that came out and c, the student's time over the teacher's.
"by times" takes the times of single passes as they are: E(K) t(1) / (K s(1) + t(K)), t and s being passes of
teacher and student over all slots. The first is above the second where arithmetic binds (K tokens cost more
than one); the second is above what is measured by the mixture, the prefill, the host, and drafts that are
thrown away when rows end.

Parts: `pairs`, the above; `steps`, the teacher alone beside the roofline of its memory (goal: 0.7 at 32 to
64 slots), and the share of solver and draw in a round (goal: at most 5 %); `others`, transformers' `generate`
and a static lockstep; `two_prompts`, one set of weights; `embedded`, the example's own models. --profile FILE
adds what torch's profiler sees of some rounds at --profile_slots. --vllm names a Python that has vLLM: its
offline `generate` on the teacher, same rows, float32.

On CUDA weights are bfloat16, in Qwen2.5's shapes with 152,064 tokens, made on the device: 7B/1.5B takes
18.3 GB, 32B/7B 80.8 GB. The 7B has to read 14.1 GB a step, 4.7 ms at the 3.0 TB/s that a copy reaches on an
H100; the 1.5B takes 1.0 ms. The rows of 1, 8, 32 and 64 slots are 1,200 steps of the teacher, as many of
lockstep and some 400 rounds, for each of two strengths and each repeat: 16 s where memory binds, 110 s where
it is the host, with 20 ms a pass of either model. --seconds bounds it: no further repeat of a row begins
after so many, so that the part takes one minute to four. What was measured is in --json after every row.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks import qstar_beside, qstar_profile, qstar_steps
from benchmarks.qstar_models import lacks_room, packed
from benchmarks.qstar_pair import Pair, measure
from benchmarks.qstar_settings import Setting, asked
from benchmarks.report import device, line, save, tell
from winnow.qstar import memory
from winnow.qstar.loading import DTYPES
from winnow.qstar.models import LoadedModel


class Found:
    """Rows and ratios as they come; those of a run that is cut short are in the file.

    Args:
        file: for the result; None keeps it for the end.
        kind: the device.
    """

    def __init__(self, file: Path | None, kind: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ratios: dict[str, float] = {}
        self._file, self._kind = file, kind

    def add(self, ratios: dict[str, float], *rows: dict[str, Any]) -> None:
        """Print rows, or ratios that have none, and keep them with what they come to."""
        for row in rows:
            print("  " + line(row), flush=True)
        for what, ratio in ({} if rows else ratios).items():
            print(f"  ratio {ratio:6.2f}  {what}", flush=True)
        self.rows += rows
        self.ratios |= ratios
        if self._file:
            save("qstar", self.ratios, self.rows, self._file, self._kind)


def ratios_of(row: dict[str, Any]) -> dict[str, float]:
    """What a row of the part `pairs` comes to."""
    at = f"{row['pair']}, {row['slots']} slots, β {row['β']:.2f}"
    return {
        f"q* over the teacher alone, {at}": row["q*/teacher"],
        f"q* over lockstep, {at}": row["q* tok/s"] / row["lockstep tok/s"],
        f"lockstep over the teacher alone, {at}": row["lockstep/teacher"],
    }


def has_room(names: tuple[str, ...], slots: int, setting: Setting, kind: str) -> bool:
    """Whether models and slots fit; said where they do not."""
    lacking = lacks_room(names, slots, setting.work.capacity, DTYPES[setting.dtype], kind)
    if lacking:
        print(f"  left out: {lacking}", flush=True)
    return not lacking


def in_slots(
    models: tuple[LoadedModel, LoadedModel],
    counts: list[int],
    strengths: tuple[float, ...],
    setting: Setting,
    quick: bool,
    found: Found,
) -> None:
    """The parts that are measured for each number of slots."""
    device_ = models[0].device
    bandwidth = qstar_steps.measured_bandwidth(device_, quick) if "steps" in setting.parts else 0.0
    for slots in counts:
        pair = Pair.of(*models, slots, setting.work.capacity)
        for strength in strengths if "pairs" in setting.parts else ():
            row = measure(pair, strength, setting.work, setting.prompts(slots))
            found.add(ratios_of(row), row)
        if "steps" in setting.parts:
            steps = [
                qstar_steps.roofline(pair, bandwidth, setting.work.repeats),
                *qstar_steps.shares(pair, strengths[0]),
            ]
            found.add(qstar_steps.ratios(steps), *steps)
        del pair
        memory.release()


def of_pair(
    name: str,
    strengths: tuple[float, ...],
    setting: Setting,
    arguments: argparse.Namespace,
    found: Found,
    first: bool,
) -> None:
    """All parts that are asked of a pair; models of a pair that fits nowhere are not made."""
    kind, parts, work = arguments.device, setting.parts, setting.work
    names = tuple(name.split("/"))
    counts = [
        slots
        for slots in (setting.slots if {"pairs", "steps"} & {*parts} else ())
        if has_room(names, slots, setting, kind)
    ]
    others = "others" in parts and has_room(names, setting.beside[0], setting, kind)
    both = "two_prompts" in parts and has_room(names, setting.rows, setting, kind)
    seen = first and arguments.profile and has_room(names, arguments.profile_slots, setting, kind)
    if not (counts or others or both or seen):
        return
    teacher, student = (packed(each, DTYPES[setting.dtype], kind) for each in names)
    in_slots((teacher, student), counts, strengths, setting, arguments.quick, found)
    if seen:
        pair = Pair.of(teacher, student, arguments.profile_slots, work.capacity)
        qstar_profile.write(pair, strengths[0], arguments.profile)
        print(f"  profile: {arguments.profile}", flush=True)
        del pair
    if others:
        pair = Pair.of(teacher, student, setting.beside[0], work.capacity)
        more = qstar_beside.beside_others(pair, strengths[0], work, setting.beside[1], arguments.vllm)
        found.add(more)
        del pair
    if both:
        found.add(qstar_beside.two_prompts(teacher, setting.rows, work, setting.rows // 4))


def main(argv: list[str] | None = None) -> None:
    arguments, setting = asked(__doc__, argv)
    found = Found(arguments.json, arguments.device)
    for index, (name, strengths) in enumerate(setting.pairs.items()):
        # Other programs and a profile are for the first pair alone.
        parts = setting.parts if index == 0 else tuple(p for p in setting.parts if p in ("pairs", "steps"))
        of_pair(name, strengths, replace(setting, parts=parts), arguments, found, first=index == 0)
        memory.release()
    if "embedded" in setting.parts:
        found.add(qstar_beside.embedded(32, setting.work.repeats, setting.dtype, arguments.device))
    if not found.ratios and not (arguments.profile and arguments.profile.is_file()):
        raise SystemExit("nothing was measured")
    tell("qstar", found.ratios, found.rows, arguments.json, arguments.device)
    pairs = [row for row in found.rows if "noise" in row]
    if arguments.figure and pairs:
        # matplotlib is for this alone.
        from benchmarks import qstar_figure

        qstar_figure.draw(pairs, arguments.figure, device(arguments.device))


if __name__ == "__main__":
    main()
