"""What the benchmarks share: the two flags, and the file that holds a result."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path
from typing import Any

import orjson


def flags(doc: str | None) -> argparse.ArgumentParser:
    """A parser with --quick and --json."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="under a minute on 2 cores")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser


def device(kind: str = "cpu") -> str:
    """What it was measured on: the GPU, or the processor and how many of its cores this process may use."""
    if kind.startswith("cuda"):
        # Most benchmarks need no torch.
        import torch

        return torch.cuda.get_device_name(kind)
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def tell(
    name: str, ratios: dict[str, float], rows: list[dict[str, Any]], file: Path | None, kind: str = "cpu"
) -> None:
    """Print a result, and write it where --json says."""
    print(f"\n{name} on {device(kind)}")
    for row in rows:
        print("  " + line(row))
    for what, ratio in ratios.items():
        print(f"  ratio {ratio:6.2f}  {what}")
    if file:
        save(name, ratios, rows, file, kind)


def save(
    name: str, ratios: dict[str, float], rows: list[dict[str, Any]], file: Path, kind: str = "cpu"
) -> None:
    """Write what is there so far."""
    result = {
        "name": name,
        "device": device(kind),
        "date": datetime.date.today().isoformat(),
        "ratios": ratios,
        "rows": rows,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))


def line(row: dict[str, Any]) -> str:
    """A row of a table, with the names of its columns."""
    return "  ".join(f"{key} {_shown(value)}" for key, value in row.items())


def _shown(value: Any) -> str:
    return (
        f"{value:,.2f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
