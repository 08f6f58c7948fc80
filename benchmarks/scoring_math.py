"""The scorer `math` beside a plain loop over math-verify; a part of benchmarks/scoring.py."""

from __future__ import annotations

import random
import time
from typing import Any

from winnow.records import Prompt
from winnow.scoring import Item
from winnow.scoring.math_answer import CHUNK, Math

N = 4


def items(prompts: int) -> list[Item]:
    """Completions of `prompts` prompts, n = 4: whole numbers, fractions, roots, polynomials, intervals."""
    source = random.Random(3)
    found = []
    for index in range(prompts):
        a, b = source.randint(2, 99), source.randint(2, 99)
        forms = (
            f"{a * b}",
            rf"\frac{{{a}}}{{{b}}}",
            rf"{a}\sqrt{{{b}}}",
            f"{a}x^2 + {b}x",
            f"[{a}, {a + b})",
        )
        others = (f"{a}*{b}", f"{a}/{b}", rf"\sqrt{{{a * a * b}}}", f"x({a}x + {b})", f"[{a}, {a + b})")
        kind = index % len(forms)
        prompt = Prompt(f"p{index}", [], reference=forms[kind])
        for sample in range(N):
            stated = others[kind] if sample % 2 else forms[(kind + sample // 2) % len(forms)]
            text = f"Let us see. {'We add and carry. ' * 20}So the answer is $\\boxed{{{stated}}}$."
            found.append(Item(f"p{index}/{sample}", prompt, text, {}))
    return found


def library(given: list[Item]) -> tuple[float, list[bool]]:
    """(seconds, verdicts) of what math-verify's own documentation shows."""
    from math_verify import parse, verify

    start = time.perf_counter()
    found = [verify(parse(f"${item.prompt.reference}$"), parse(item.text)) for item in given]
    return time.perf_counter() - start, found


def ours(given: list[Item], processes: int) -> tuple[float, list[bool]]:
    """(seconds, verdicts) of the scorer; its processes have begun."""
    scorer = Math(processes=processes)
    scorer.score_items(given[: CHUNK * processes])
    start = time.perf_counter()
    found = [score.passed for score in scorer.score_items(given)]
    seconds = time.perf_counter() - start
    scorer.close()
    return seconds, found


def measure(prompts: int, repeats: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(ratios, rows): the scorer on one core and on two over the library's loop on one, in turn."""
    given = items(prompts)
    library(given[:64])
    sides = {"library": lambda: library(given), "one": lambda: ours(given, 1), "two": lambda: ours(given, 2)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    verdicts = {}
    for _ in range(repeats):
        for name, side in sides.items():
            taken, verdicts[name] = side()
            seconds[name].append(taken)
    best = {name: min(taken) for name, taken in seconds.items()}
    equal = sum(a == b for a, b in zip(verdicts["library"], verdicts["one"], strict=True)) / len(given)
    rows = [{"math, completions": len(given), **{f"{name} s": taken for name, taken in best.items()}}]
    return {
        "math on one core over math-verify's own loop": best["library"] / best["one"],
        "math on two cores over math-verify's own loop": best["library"] / best["two"],
        "verdicts of math as the loop's": equal,
    }, rows
