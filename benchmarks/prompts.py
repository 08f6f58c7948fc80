#!/usr/bin/env python
"""A data set dealt over shards: seconds and peak memory, against a one-off script.

    python benchmarks/prompts.py [--quick] [--json FILE]

Data sets of 30,000 and 300,000 problems (of 60 words each), the second in hashed ids too, the worst
case for finding duplicates, and over 3,000 shards. The rival is what people write in an afternoon:
read all rows with `json`, look for an id that stands twice, format two prompts, write every n-th row
to a shard. It checks less (fields, templates, ids with the places where they stand, whole files
or none). Both run as processes of their own on the same file, in turn; the best of several runs
counts, in processor time, which other programs on the machine disturb least.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import orjson

from benchmarks.report import flags, tell

RIVAL = """
import json, os, sys
dataset, num_shards, output = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.makedirs(output, exist_ok=True)
rows, seen = [json.loads(line) for line in open(dataset)], set()
for row in rows:
    if row["id"] in seen:
        raise SystemExit(f"{row['id']} stands twice")
    seen.add(row["id"])
prompts = []
for row in rows:
    asked = f"What is {row['problem']}?"
    shown = f"{asked} The answer is {row['answer']}."
    prompts.append({
        "id": row["id"],
        "messages": [{"role": "user", "content": asked}],
        "teacher_messages": [{"role": "user", "content": shown}],
        "reference": row["answer"],
        "metadata": {key: value for key, value in row.items() if key != "id"},
    })
for shard in range(num_shards):
    with open(f"{output}/{shard:05d}-of-{num_shards:05d}.jsonl", "w") as file:
        for prompt in prompts[shard::num_shards]:
            file.write(json.dumps(prompt) + "\\n")
"""

TEMPLATES = (
    "--prompt_template", "What is {{ problem }}?",
    "--teacher_template", "What is {{ problem }}? The answer is {{ reference }}.",
)  # fmt: skip


def write_data(path: Path, count: int, hashed_ids: bool) -> None:
    """`count` problems of 60 words, some 400 bytes each."""
    words = [f"word{index}" for index in range(3000)]
    draw = random.Random(17)
    with path.open("wb") as file:
        for index in range(count):
            name = f"train-{index:06d}"
            if hashed_ids:
                name = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            text = " ".join(draw.choices(words, k=60))
            row = {"id": name, "problem": f"{index}: {text}", "answer": str(index)}
            file.write(orjson.dumps(row) + b"\n")


def measure(command: list[str]) -> tuple[float, float, float]:
    """(processor seconds, wall seconds, peak MiB) of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:3]} failed")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def compare(
    folder: Path, count: int, num_shards: int, hashed_ids: bool, repeats: int
) -> list[dict[str, Any]]:
    """A row for each of the two, on the same data set."""
    dataset = folder / f"{count}-{hashed_ids}.jsonl"
    if not dataset.exists():
        write_data(dataset, count, hashed_ids)
    shards = {who: folder / f"{who} {count} {num_shards}" for who in ("winnow", "one-off script")}
    commands = {
        "winnow": [
            sys.executable, "scripts/prompts.py", "--dataset", str(dataset), "--num_shards", str(num_shards),
            "--output_dir", str(shards["winnow"]), *TEMPLATES,
        ],
        "one-off script": [
            sys.executable, "-c", RIVAL, str(dataset), str(num_shards), str(shards["one-off script"])
        ],
    }  # fmt: skip
    measured: dict[str, list[tuple[float, float, float]]] = {who: [] for who in commands}
    for _ in range(repeats):
        for who, command in commands.items():
            measured[who].append(measure(command))
    return [
        {
            "who": who,
            "rows": count,
            "shards": num_shards,
            "ids": "hashed" if hashed_ids else "in order",
            "processor seconds": min(cpu for cpu, _, _ in measured[who]),
            "wall seconds": min(wall for _, wall, _ in measured[who]),
            "peak MiB": max(peak for _, _, peak in measured[who]),
            "most files in a folder": sum(1 for _ in shards[who].iterdir()),
        }
        for who in commands
    ]


def main() -> None:
    arguments = flags(__doc__).parse_args()
    few, many = (10_000, 100_000) if arguments.quick else (30_000, 300_000)
    repeats = 1 if arguments.quick else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = compare(folder, few, 100, False, repeats) + compare(folder, many, 100, False, repeats)
        if not arguments.quick:
            rows += compare(folder, many, 100, True, repeats) + compare(folder, many, 3000, False, repeats)
    small, own, rival = rows[0], rows[2], rows[3]
    tell(
        "prompts",
        {
            f"processor time of the one-off script over ours, {many:,} rows": rival["processor seconds"]
            / own["processor seconds"],
            f"peak memory of the one-off script over ours, {many:,} rows": rival["peak MiB"]
            / own["peak MiB"],
            f"our peak memory at {few:,} rows over that at {many:,} (1 is flat)": small["peak MiB"]
            / own["peak MiB"],
        },
        rows,
        arguments.json,
    )


if __name__ == "__main__":
    main()
