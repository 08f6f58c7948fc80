#!/usr/bin/env python
"""Scoring, file to file: rows per second and peak memory, against a one-off script.

    python benchmarks/scoring.py [--quick] [--json FILE] [--parts files math reward_model]

files: the rival is what people write in an afternoon: read all rows with `json`, find the answer with a
regular expression, compare, write all rows. It checks less (no boxed answers, no number forms, no ids).
Both run as processes of their own on the same file; memory is each process's peak resident set. The goals are
100,000 rows a second and core, and as much memory for a million rows as for a tenth of them.

math: see scoring_math.py.

reward_model: see scoring_reward.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import orjson

from benchmarks import scoring_math, scoring_reward
from benchmarks.report import flags, tell

RIVAL = """
import json, re, sys
completions, prompts, output = sys.argv[1:]
references = {row["id"]: row["reference"] for row in map(json.loads, open(prompts))}
rows = [json.loads(line) for line in open(completions)]
for row in rows:
    found = re.findall(r"<answer>(.*?)</answer>", row["text"])
    right = bool(found) and found[-1].strip() == references[row["prompt_id"]]
    row["scores"] = {"exact_answer": {"value": float(right), "passed": right}}
with open(output, "w") as file:
    for row in rows:
        file.write(json.dumps(row) + "\\n")
"""


Measured = tuple[dict[str, float], list[dict[str, Any]]]
"""Ratios, and the rows behind them."""


def write_data(folder: Path, count: int) -> tuple[Path, Path]:
    """`count` completions of count / 8 prompts, as the embedded example's look."""
    completions, prompts = folder / f"c{count}.jsonl", folder / f"p{count}.jsonl"
    with completions.open("wb") as file, prompts.open("wb") as other:
        for index in range(count // 8):
            key = f"train-{index:06d}"
            other.write(orjson.dumps({"id": key, "messages": [], "reference": str(index)}) + b"\n")
            for sample in range(8):
                answer = index if sample % 3 else index + 1
                row = {
                    "id": f"{key}/{sample}", "prompt_id": key, "sample": sample, "seed": index * 977 + sample,
                    "text": f"<think>{index}+0={index} {index}+0={answer}</think><answer>{answer}</answer>",
                    "finish_reason": "stop", "prompt_tokens": 20, "completion_tokens": 28,
                    "step": "460", "alpha": "policy", "model": "7c56d76378ea2bac" * 4,
                }  # fmt: skip
                file.write(orjson.dumps(row) + b"\n")
    return completions, prompts


def measure(command: list[str]) -> tuple[float, float]:
    """(seconds, peak MiB) of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:3]} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def measure_files(quick: bool) -> Measured:
    """Scorers of texts against the one-off script."""
    few, many = (20_000, 100_000) if quick else (100_000, 1_000_000)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (few, many):
            completions, prompts = write_data(folder, count)
            output = folder / "scored.jsonl"
            files = ["--input", str(completions), "--prompts", str(prompts), "--output", str(output)]
            score = [sys.executable, "scripts/score.py", *files, "--scorers"]
            for who, command in (
                ("exact_answer", [*score, "exact_answer"]),
                ("numeric_error", [*score, "numeric_error"]),
                ("both", [*score, "exact_answer", "numeric_error"]),
                (
                    "one-off script",
                    [sys.executable, "-c", RIVAL, str(completions), str(prompts), str(output)],
                ),
            ):
                # Long enough for one time to do.
                measured = [measure(command) for _ in range(1 if quick or count == many else 3)]
                seconds, peak = min(s for s, _ in measured), max(m for _, m in measured)
                rate = count / seconds
                row = {"who": who, "rows": count, "seconds": seconds, "rows/s": rate, "peak MiB": peak}
                found[who, count] = row
    own, rival = found["exact_answer", many], found["one-off script", many]
    small = found["exact_answer", few]
    return {
        f"rows per second over the one-off script, {many:,} rows": own["rows/s"] / rival["rows/s"],
        **{
            f"{who}: rows per second over 100,000": found[who, many]["rows/s"] / 100_000
            for who in ("exact_answer", "numeric_error")
        },
        f"peak memory of the one-off script over ours, {many:,} rows": rival["peak MiB"] / own["peak MiB"],
        f"our peak memory at {few:,} rows over at {many:,} (1 is flat)": small["peak MiB"] / own["peak MiB"],
    }, list(found.values())


def measure_math(quick: bool) -> Measured:
    """The scorer `math` against a loop over its library."""
    return scoring_math.measure(60 if quick else 500, 1 if quick else 3)


PARTS: dict[str, Callable[[bool], Measured]] = {
    "files": measure_files,
    "math": measure_math,
    "reward_model": scoring_reward.measure,
}
"""What is measured, by name; each is told whether to be quick."""


def main() -> None:
    parser = flags(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    arguments = parser.parse_args()
    ratios: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for name in arguments.parts:
        of_part, rows_of_part = PARTS[name](arguments.quick)
        ratios |= of_part
        rows += [{"part": name, **row} for row in rows_of_part]
    tell("scoring", ratios, rows, arguments.json)


if __name__ == "__main__":
    main()
