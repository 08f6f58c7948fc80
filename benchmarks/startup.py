#!/usr/bin/env python
"""How long each program takes to start, against a start that imports torch.

    python benchmarks/startup.py [--quick] [--json FILE]

Times `--help`, which parses the flags after all top-level imports: the wait before a mistake in a
flag is reported. Programs that need torch import it later, when the flags and files are found good.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks.report import flags, tell


def seconds(command: list[str], repeats: int) -> float:
    """Median wall time of a command."""
    measured = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        measured.append(time.perf_counter() - start)
    return statistics.median(measured)


def main() -> None:
    arguments = flags(__doc__).parse_args()
    repeats = 3 if arguments.quick else 9
    torch = seconds([sys.executable, "-c", "import torch"], 1 if arguments.quick else 3)
    rows = [{"program": "import torch", "seconds": torch}]
    for program in sorted((ROOT / "scripts").glob("*.py")):
        found = seconds([sys.executable, str(program), "--help"], repeats)
        rows.append({"program": program.name, "seconds": found})
    slowest = max(row["seconds"] for row in rows[1:])
    tell(
        "startup",
        {"importing torch over the slowest program's start": torch / slowest},
        rows,
        arguments.json,
    )


if __name__ == "__main__":
    main()
