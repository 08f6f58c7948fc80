"""What a step takes: the teacher alone beside what memory allows, and the share of solver and draw.

A decoding step has to read the weights once (rows of an embedding are looked up, an output layer is read
whole) and the keys and values of every sequence in progress. These bytes over the bandwidth that a copy
within the same memory reaches are the least that a step can take.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import clock
from benchmarks.qstar_models import SHAPES, size
from benchmarks.qstar_pair import Pair, clear, run, seconds_a_pass
from benchmarks.qstar_workload import N, noise_bank, rows
from winnow.arms import Alpha
from winnow.qstar import memory, verification
from winnow.qstar.mixture import draw, head, log_probabilities
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposal
from winnow.qstar.randomness import Role, uniforms
from winnow.qstar.scheduler import Row

SHORT, LONG = 8, 40
"""Lengths of two runs, of which the difference is made of steps alone: their prefill is the same."""
DEPTHS = (1, 4)
GOAL = 0.05
"""Of a step, for solver and draw together."""
PARAMETERS = SamplingParameters()


def measured_bandwidth(device: torch.device, quick: bool) -> float:
    """Bytes a second of the device's memory, by a copy of 1 GiB, or of as much as there is room for."""
    free = memory.available(device) or memory.GIB
    return clock.bandwidth(device, min(memory.GIB // (32 if quick else 1), free // 8))


def _alike(slots: int, length: int) -> list[Row]:
    """A row for each slot, all of one length."""
    found = rows(-(-slots // N), N, length, length, both=False)[:slots]
    return [replace(row, max_new_tokens=length) for row in found]


def roofline(pair: Pair, bandwidth: float, repeats: int) -> dict[str, Any]:
    """A step of the teacher alone, in the engine and as a bare pass, beside the least that it can take."""
    alone, slots = pair.alone, pair.slots
    times = {}
    for length in (SHORT, LONG):
        taken = []
        for _ in range(1 + repeats):
            clear(alone, slots)
            taken.append(run(alone, "policy", _alike(slots, length), slots)[0])
        times[length] = min(taken)
    step = (times[LONG] - times[SHORT]) / (LONG - SHORT)
    held = statistics.mean(len(row.prompt) for row in _alike(slots, LONG)) + (SHORT + LONG) / 2
    sizes = size(pair.teacher.name, pair.teacher.model.dtype)
    weights, cache = sizes.read, slots * held * sizes.a_token
    least, bare = (weights + cache) / bandwidth, seconds_a_pass(pair.t, slots, 1)
    return {
        "what": "the teacher alone beside its memory",
        "model": pair.teacher.name,
        "slots": slots,
        "bandwidth GB/s": bandwidth / 1e9,
        "weights GB": weights / 1e9,
        "cache GB": cache / 1e9,
        "least ms": least * 1e3,
        "step ms": step * 1e3,
        "pass ms": bare * 1e3,
        "least/step": least / step,
        "least/pass": least / bare,
    }


def shares(pair: Pair, strength: float) -> list[dict[str, Any]]:
    """Solver and draw beside the passes of a round, for each of some depths.

    `verify` is all that settles a round: the solver, acceptance, residual draws, diagnostics. The drafts' own
    draws, a softmax each, are told apart. Logits are normal at random, the teacher's with noise as elsewhere.
    """
    found = []
    student = seconds_a_pass(pair.theta, pair.slots, 1)
    for depth in DEPTHS:
        verify, drafts = _settling(pair, strength, depth)
        passes = depth * student + seconds_a_pass(pair.t, pair.slots, depth)
        found.append(
            {
                "what": "a round",
                "pair": pair.name,
                "slots": pair.slots,
                "K": depth,
                "teacher's pass ms": (passes - depth * student) * 1e3,
                "student's passes ms": depth * student * 1e3,
                "drafts' draws ms": drafts * 1e3,
                "verify ms": verify * 1e3,
                "verify, % of a step": 100 * verify / (passes + verify),
                "draws too, %": 100 * (verify + drafts) / (passes + verify + drafts),
            }
        )
    return found


@torch.inference_mode()
def _settling(pair: Pair, strength: float, depth: int) -> tuple[float, float]:
    """Seconds of (verification, the drafts' draws) of a round."""
    device, vocabulary = pair.theta.device, SHAPES[pair.teacher.name].vocabulary
    dtype: torch.dtype = pair.teacher.model.dtype
    torch.manual_seed(5)
    first = torch.randn(pair.slots, depth, vocabulary, device=device, dtype=dtype)
    bank = noise_bank(strength, vocabulary).to(device, dtype)
    second = bank[torch.randint(len(bank), (pair.slots, depth), device=device)].add_(first)
    seeds = torch.arange(pair.slots, device=device) * 7919
    places = torch.arange(depth, device=device).expand(pair.slots, depth)

    def drafted(place: int) -> tuple[Tensor, Tensor]:
        log_p = head(log_probabilities(first[:, place], PARAMETERS.temperature), PARAMETERS)
        return draw(log_p.exp(), uniforms(seeds, places[:, place], Role.DRAFT)), log_p

    drafts, log_draft = (torch.stack(each, dim=1) for each in zip(*map(drafted, range(depth)), strict=True))
    proposal = Proposal(drafts, log_draft, first, second)
    verify = verification.choose(Alpha.parse("kl_symmetry"), PARAMETERS, device)
    return (
        clock.best(device, lambda: verify(proposal, seeds, places)),
        depth * clock.best(device, lambda: drafted(0)),
    )


def ratios(found: list[dict[str, Any]]) -> dict[str, float]:
    """What the rows of this part come to; above 1 is within the goal, but for the roofline, which is 1."""
    told = {}
    for row in found:
        if "least/step" in row:
            where = f"{row['model']}, {row['slots']} slots"
            told[f"the roofline's time over a step's, teacher alone, {where}"] = row["least/step"]
            told[f"the roofline's time over a pass's, teacher alone, {where}"] = row["least/pass"]
        else:
            where = f"{row['pair']}, {row['slots']} slots, K = {row['K']}"
            told[f"{GOAL:.0%} of a step over verification's share, {where}"] = GOAL / (
                row["verify, % of a step"] / 100
            )
            told[f"{GOAL:.0%} of a step over solver's and all draws' share, {where}"] = GOAL / (
                row["draws too, %"] / 100
            )
    return told
