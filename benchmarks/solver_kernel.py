"""The solver on a GPU: a launch of Winnow's Triton kernel beside torch and the bisection, logits to tokens.

Every side gets the same logits in bfloat16 and ends with a token of q* for each row. `verify` accepts or
redraws a draft, `sample` draws; a round of the engine is the kernel with its random numbers and its test for
NaN, as `verification.choose` picks it. Several sets of logits take turns: one alone would lie in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import clock
from winnow.arms import Alpha
from winnow.qstar import fused
from winnow.qstar.mixture import draw, log_probabilities, mix
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Proposal
from winnow.qstar.verification import ByKernel, ByTorch

GOAL = 150e-6
"""Seconds of a launch over 64 rows of 152,064 tokens."""
SETS = 4
"""Of logits."""
KL_SYMMETRY = Alpha.parse("kl_symmetry")

Pairs = list[tuple[Tensor, Tensor]]
Rows = Callable[[int, int, int], tuple[Tensor, Tensor]]
Bisection = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Errors = Callable[[Tensor, Tensor, list[Tensor]], list[Tensor]]


def sides(pairs: Pairs, bisection: Bisection, blocks: tuple[int, ...]) -> dict[str, Callable[[int], Any]]:
    """What is timed: each takes the number of a launch, which picks the logits.

    Args:
        pairs: logits of student and teacher, bfloat16 [rows, vocabulary].
        bisection: the rival, from log-probabilities to (q*, α).
        blocks: tokens that the kernel reads at a time.
    """
    rows = len(pairs[0][0])
    device = pairs[0][0].device
    accept, residual = torch.rand(2, rows, dtype=torch.float64, device=device)
    drafted = [torch.multinomial(s.float().softmax(1), 1)[:, 0] for s, _ in pairs]
    seeds, places = torch.arange(rows, device=device), torch.zeros(rows, 1, dtype=torch.int64, device=device)
    proposals = [
        Proposal(draft[:, None], torch.log_softmax(s.float(), 1)[:, None], s[:, None], t[:, None])
        for draft, (s, t) in zip(drafted, pairs, strict=True)
    ]
    by_kernel = ByKernel(KL_SYMMETRY, SamplingParameters(), fused)
    by_torch = ByTorch(KL_SYMMETRY, SamplingParameters())

    def of(logits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return log_probabilities(logits[0], 1.0), log_probabilities(logits[1], 1.0)

    def kernel(block: int) -> dict[str, Callable[[int], Any]]:
        return {
            f"kernel, verify, blocks of {block:,}": lambda index: fused.verify(
                *pairs[index % SETS], drafted[index % SETS], accept, residual, KL_SYMMETRY, block=block
            ),
            f"kernel, sample, blocks of {block:,}": lambda index: fused.sample(
                *pairs[index % SETS], accept, KL_SYMMETRY, block=block
            ),
        }

    timed: dict[str, Callable[[int], Any]] = {}
    for block in blocks:
        timed |= kernel(block)
    return {
        **timed,
        "a round by the kernel": lambda index: by_kernel(proposals[index % SETS], seeds, places),
        "a round by torch": lambda index: by_torch(proposals[index % SETS], seeds, places),
        "torch, softmax to draw": lambda index: draw(
            mix(*of(pairs[index % SETS]), KL_SYMMETRY)[0].exp(), accept
        ),
        "bisection of C, softmax to draw": lambda index: draw(bisection(*of(pairs[index % SETS]))[0], accept),
    }


@torch.inference_mode()
def compare(
    make: Rows,
    bisection: Bisection,
    errors: Errors,
    device: torch.device,
    rows: int,
    vocabulary: int,
    blocks: tuple[int, ...],
    launches: int,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The table of one shape, and its ratios.

    Args:
        make: log-probabilities of student and teacher from rows, vocabulary and a seed.
        bisection: the rival.
        errors: total variation from q* in float64, for each α that was found.
        device: where it runs.
        rows, vocabulary: the shape.
        blocks: tokens that the kernel reads at a time.
        launches: of the kernel, timed; others run a tenth of it.
    """
    base = [each.to(device, torch.bfloat16) for each in make(rows, vocabulary, 0)]
    # Rows in another order are other addresses, and cost the host nothing.
    pairs = [(base[0].roll(turn, 0), base[1].roll(turn, 0)) for turn in range(SETS)]
    exact = [each.double().log_softmax(1) for each in pairs[0]]
    single = [log_probabilities(each, 1.0) for each in pairs[0]]
    draws = torch.full((rows,), 0.5, dtype=torch.float64, device=device)
    step = fused.sample(*pairs[0], draws, KL_SYMMETRY, block=blocks[0])
    alphas = [step.alpha, mix(*single, KL_SYMMETRY)[1].alpha, bisection(*single)[1]]
    far = errors(*exact, alphas)
    found = dict(zip(("kernel", "torch", "bisection"), far, strict=True))
    table, seconds = [], {}
    for who, call in sides(pairs, bisection, blocks).items():
        many = launches if "kernel" in who else max(2, launches // 10)
        seconds[who] = clock.median_on_the_device(device, call, many)
        line: dict[str, Any] = {
            "rows": rows,
            "vocabulary": vocabulary,
            "who": who,
            "µs": seconds[who] * 1e6,
            "µs, one after the other": clock.each_of(device, call, many) * 1e6,
        }
        for kind, values in found.items():
            if kind in who and "round" not in who:
                line["largest error"] = f"{values.max().item():.1e}"
                line["median error"] = f"{values.median().item():.1e}"
        if "sample" in who:
            line["passes"] = f"{step.passes.double().mean().item():.1f}"
        table.append(line)
    rival, shape = seconds["bisection of C, softmax to draw"], f"{rows} rows of {vocabulary:,}"
    ratios = {
        f"faster than the bisection of C, {who}, {shape}": rival / taken
        for who, taken in seconds.items()
        if "bisection" not in who
    }
    for what in ("verify", "sample"):
        fastest = min(taken for who, taken in seconds.items() if f"kernel, {what}" in who)
        ratios[f"{GOAL * 1e6:.0f} µs over the kernel's best {what}, {shape}"] = GOAL / fastest
    return table, ratios
