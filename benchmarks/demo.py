#!/usr/bin/env python
"""Wall time of the embedded example by stage, against its jobs one after another.

    python benchmarks/demo.py [--quick] [--json FILE]

Without --quick it runs the example from nothing under another run's name (minutes). With --quick it
reads what the last `make demo` left: the jobs' benchmark files, and the wall time between the first
and the last of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import orjson

from benchmarks.report import flags, tell

STAGES = {
    "models": "describe models", "prompts": "prompts", "completions": "generate", "scored": "score",
    "selected": "select", "training_data": "export", "diagnostics": "diagnose", "checkpoints": "train",
    "evaluation": "evaluate (draw, score, measure)", "summary.jsonl": "summarize",
}  # fmt: skip


def run_example() -> tuple[Path, float]:
    """Run the whole DAG from nothing; its results and wall time."""
    results = ROOT / "results" / "benchmark-demo"
    shutil.rmtree(results, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "all",
            "--quiet",
            "all",
            "--config",
            f"run={results.name}",
        ],
        cwd=ROOT,
        check=True,
    )
    return results, time.perf_counter() - start


def last_example() -> tuple[Path, float]:
    """What `make demo` left; the time from the first job's start to the last one's end."""
    results = ROOT / "results" / "arithmetic"
    files = list((results / "benchmarks").rglob("*.jsonl"))
    if not files:
        raise SystemExit("no results/arithmetic/benchmarks: run `make demo` first, or leave --quick out")
    ends = {file: file.stat().st_mtime for file in files}
    return results, max(ends.values()) - min(end - job(file)["s"] for file, end in ends.items())


def job(file: Path) -> dict[str, Any]:
    """A job's benchmark."""
    found: dict[str, Any] = orjson.loads(file.read_bytes().splitlines()[0])
    return found


def main() -> None:
    arguments = flags(__doc__).parse_args()
    results, wall = last_example() if arguments.quick else run_example()
    seconds: dict[str, list[float]] = defaultdict(list)
    memory: dict[str, float] = defaultdict(float)
    for file in (results / "benchmarks").rglob("*.jsonl"):
        stage = STAGES[file.relative_to(results / "benchmarks").parts[0]]
        seconds[stage].append(job(file)["s"])
        memory[stage] = max(memory[stage], float(job(file)["max_rss"] or 0))
    rows: list[dict[str, Any]] = [
        {
            "stage": stage,
            "jobs": len(seconds[stage]),
            "seconds": sum(seconds[stage]),
            "peak MiB": memory[stage],
        }
        for stage in STAGES.values()
        if stage in seconds
    ]
    total = sum(row["seconds"] for row in rows)
    rows.append({"stage": "all, wall time", "jobs": sum(map(len, seconds.values())), "seconds": wall})
    tell("demo", {"its jobs one after another over the wall time": total / wall}, rows, arguments.json)


if __name__ == "__main__":
    main()
