#!/usr/bin/env python
"""What `make plan` expects of a run, over what the run then takes: 1 is exact, the goal is 1/1.5 to 1.5.

    python benchmarks/plan.py [--quick] [--json FILE]

Both ask what it would take to make the embedded example again, from what `make demo` left in results/.
Without --quick the example then runs from nothing under another run's name, and once more after one arm's
completions are deleted (minutes). With --quick the expected time is held against that of the run that
left the past: it shows how well jobs are laid over cores, not how well one run foretells another.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import orjson

from benchmarks.demo import last_example
from benchmarks.report import flags, tell

OTHER = ("--config", "run=benchmark-plan")


def expected(*arguments: str) -> float:
    """Seconds, by scripts/plan.py for these arguments of Snakemake."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.json"
        command = [sys.executable, "scripts/plan.py", "--json", str(file), "--cores", "all", *arguments]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        plan = orjson.loads(file.read_bytes())
    if unknown := plan["total"]["unknown_seconds"]:
        raise SystemExit(f"{unknown} jobs have no past in results/: run `make demo` first")
    return float(plan["seconds"])


def taken(*arguments: str) -> float:
    """Seconds of a run of Snakemake."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "all", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)
    return time.perf_counter() - start


def main() -> None:
    arguments = flags(__doc__).parse_args()
    _, past = last_example()
    found = {"all of it": (expected("--forceall"), past)}
    if not arguments.quick:
        results = ROOT / "results" / "benchmark-plan"
        shutil.rmtree(results, ignore_errors=True)
        found["all of it, another run"] = (expected(*OTHER), taken(*OTHER))
        shutil.rmtree(next(results.glob("completions/train/*/kl_symmetry")))
        found["one arm of it"] = (expected(*OTHER), taken(*OTHER))
    ratios = {f"expected over taken, {what}": told / took for what, (told, took) in found.items()}
    rows = [{"what": what, "expected s": told, "taken s": took} for what, (told, took) in found.items()]
    tell("plan", ratios, rows, arguments.json)


if __name__ == "__main__":
    main()
