#!/usr/bin/env python
"""α and q* of a batch of rows: Winnow's solver against the 20-step bisection of system C.

    python benchmarks/solver.py [--quick] [--json FILE]
    python benchmarks/solver.py --device cuda [--json FILE] [--blocks 2048 4096]

The rival halves [0, 1] twenty times for all rows; at each step it forms q* over the whole vocabulary
and sums both KL divergences. Both get the same float32 log-probabilities of Zipf-like rows, from
nearly certain to broad, and both end with q*. Times are the medians of alternating runs with
torch's own number of threads. `error` is the total variation between q at the α that was found and
q at the root by a bisection in float64, both formed in float64.

On CUDA the Triton kernel stands beside both, over bfloat16 logits: medians of many launches by CUDA's events
(goal: 150 µs for 64 rows of 152,064 tokens). It takes about a minute.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch
from torch import Tensor

from benchmarks.report import flags, tell
from winnow.arms import Alpha
from winnow.qstar.alpha import solve_alpha
from winnow.qstar.mixture import draw, mix

KL_SYMMETRY = Alpha.parse("kl_symmetry")
# (rows, vocabulary): Qwen's on a GPU batch, the arithmetic example's order of size, the rounds of
# a speculative engine on CPU (rows × drafted tokens), and a single row.
SHAPES = ((64, 152_064), (64, 16_384), (16, 16_384), (1, 152_064), (64, 512))


def zipf_rows(rows: int, vocabulary: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a student and a teacher, float32 [rows, vocabulary].

    Exponents run from 0.9 (broad) to 4 (nearly certain); the teacher shares the student's order of
    the tokens but for noise of its own, and is sharper or flatter by up to a third.
    """
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.arange(1, vocabulary + 1).log()
    exponents = torch.linspace(0.9, 4.0, rows)[torch.randperm(rows, generator=generator)]
    student = torch.empty(rows, vocabulary)
    teacher = torch.empty(rows, vocabulary)
    for row, exponent in enumerate(exponents):
        order = torch.randperm(vocabulary, generator=generator)
        noise = torch.randn(2, vocabulary, generator=generator)
        sharper = 1.0 + 0.33 * (2.0 * torch.rand(1, generator=generator) - 1.0)
        student[row] = -exponent * ranks[order] + 0.7 * noise[0]
        teacher[row] = -exponent * sharper * ranks[order] + 0.7 * noise[1]
    return student.log_softmax(dim=1), teacher.log_softmax(dim=1)


def bisection(log_theta: Tensor, log_t: Tensor) -> tuple[Tensor, Tensor]:
    """(q*, α) as system C finds them: 20 halvings, both divergences in full at each."""
    low = log_theta.new_zeros(len(log_theta), 1)
    high = log_theta.new_ones(len(log_theta), 1)
    for _ in range(20):
        alpha = 0.5 * (low + high)
        log_q = torch.log_softmax((1.0 - alpha) * log_theta + alpha * log_t, dim=1)
        q = log_q.exp()
        kl_theta = (q * (log_q - log_theta)).sum(dim=1, keepdim=True)
        kl_t = (q * (log_q - log_t)).sum(dim=1, keepdim=True)
        below = kl_theta < kl_t
        low, high = torch.where(below, alpha, low), torch.where(below, high, alpha)
    alpha = 0.5 * (low + high)
    return torch.softmax((1.0 - alpha) * log_theta + alpha * log_t, dim=1), alpha[:, 0]


def errors(log_theta: Tensor, log_t: Tensor, found: list[Tensor]) -> list[Tensor]:
    """The total variation from the exact q* of q at each α that was found, each [rows]."""
    result = [torch.empty(len(log_theta), dtype=torch.float64) for _ in found]
    for row in range(len(log_theta)):
        s, t = log_theta[row].double(), log_t[row].double()
        d = t - s
        low, high = 0.0, 1.0
        for _ in range(45):
            middle = 0.5 * (low + high)
            q = torch.softmax(s + middle * d, dim=0)
            low, high = (middle, high) if torch.dot(q, d) < 0 else (low, middle)
        exact = torch.softmax(s + 0.5 * (low + high) * d, dim=0)
        for alpha, error in zip(found, result, strict=True):
            q = torch.softmax(s + alpha[row].double() * d, dim=0)
            error[row] = 0.5 * (q - exact).abs().sum()
    return result


def with_diagnostics(log_theta: Tensor, log_t: Tensor) -> Tensor:
    """q*'s logarithm, and all that Winnow reports of it."""
    log_q, solution = mix(log_theta, log_t, KL_SYMMETRY)
    assert solution.beta is not None
    return log_q


def median_times(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of each, taken in turns so that a busy machine troubles all alike."""
    times: dict[str, list[float]] = {who: [] for who in runs}
    for _ in range(repeats + 1):
        for who, run in runs.items():
            start = time.perf_counter()
            run()
            times[who].append(time.perf_counter() - start)
    # The first round fills caches and allocators.
    return {who: statistics.median(taken[1:]) for who, taken in times.items()}


@torch.inference_mode()
def compare(rows: int, vocabulary: int, repeats: int, checked: int) -> tuple[list[dict[str, Any]], float]:
    """The table of one shape, and how much faster Winnow forms q*.

    About `checked` numbers are solved in float64 as well.
    """
    log_theta, log_t = zipf_rows(rows, vocabulary)
    uniforms = torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    log_q, solution = mix(log_theta, log_t, KL_SYMMETRY)
    seconds = median_times(
        {
            "bisection of C": lambda: bisection(log_theta, log_t),
            "winnow": lambda: mix(log_theta, log_t, KL_SYMMETRY),
            "winnow, α alone": lambda: solve_alpha(log_theta, log_t, "kl_symmetry").alpha,
            "winnow, diagnostics too": lambda: with_diagnostics(log_theta, log_t),
            "one softmax": lambda: torch.softmax(log_theta, dim=1),
            "draw": lambda: draw(log_q, uniforms),
        },
        repeats,
    )
    # A row of the large vocabulary takes the reference half a second.
    some = torch.arange(0, rows, max(1, rows * vocabulary // checked))
    alphas = [found[some] for found in (bisection(log_theta, log_t)[1], solution.alpha)]
    of_c, of_winnow = errors(log_theta[some], log_t[some], alphas)
    accuracy = {"bisection of C": of_c, "winnow": of_winnow}
    table = []
    for who, taken in seconds.items():
        line: dict[str, Any] = {"rows": rows, "vocabulary": vocabulary, "ms": taken * 1e3, "who": who}
        if who in accuracy:
            line["largest error"] = f"{accuracy[who].max().item():.1e}"
            line["median error"] = f"{accuracy[who].median().item():.1e}"
        if who == "winnow":
            line["passes"] = f"{solution.passes.double().mean().item():.1f}"
        table.append(line)
    return table, seconds["bisection of C"] / seconds["winnow"]


def on_a_gpu(
    device: str, quick: bool, blocks: tuple[int, ...]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The kernel's table, over the largest shape and a single row."""
    # Its kernel needs Triton, which CPU builds of torch lack.
    from benchmarks import solver_kernel

    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for count, vocabulary in SHAPES[:1] if quick else ((64, 152_064), (256, 152_064), (1, 152_064)):
        table, found = solver_kernel.compare(
            zipf_rows,
            bisection,
            errors,
            torch.device(device),
            count,
            vocabulary,
            blocks,
            20 if quick else 400,
        )
        rows += table
        ratios |= found
    return rows, ratios


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=[4096], help="tokens that the kernel reads at a time"
    )
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    if arguments.device == "cuda":
        rows, ratios = on_a_gpu(arguments.device, arguments.quick, tuple(arguments.blocks))
    for count, vocabulary in SHAPES if arguments.device == "cpu" else ():
        # Seconds a run on the largest shape, so few of them.
        repeats = (1 if arguments.quick else 7) if count * vocabulary > 2**22 else 9
        table, ratio = compare(count, vocabulary, repeats, 2**20 if arguments.quick else 2**24)
        rows += table
        ratios[f"faster than the bisection of C, {count} rows of {vocabulary:,}"] = ratio
    rows.append({"threads": torch.get_num_threads(), "torch": torch.__version__})
    tell("solver", ratios, rows, arguments.json, arguments.device)


if __name__ == "__main__":
    main()
