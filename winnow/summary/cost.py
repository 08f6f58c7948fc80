"""The ledger as Markdown: what each stage and each arm cost."""

from __future__ import annotations

from typing import Any

from winnow.summary.markdown import table

COLUMNS = (
    "stage", "jobs", "attempts", "hours", "GPU-hours", "CPU-hours", "earlier attempts", "completions",
    "prompt tokens", "completion tokens", "tok/s",
)  # fmt: skip


def cost_lines(summary: dict[str, Any]) -> list[str]:
    """The section on cost: by stage, then by arm."""
    total = {"stage": "whole run", **summary["ledger_totals"]}
    arms: list[tuple[str, ...]] = [
        (arm["step"], arm["alpha"], str(arm["n"]), _hours(arm["gpu_hours"]), _hours(arm["cpu_hours"]))
        for arm in summary["arms"]
    ]
    return [
        "## Cost",
        "",
        *table(COLUMNS, [_row(entry) for entry in [*summary["ledger_stages"], total]]),
        "",
        "`hours`: of all attempts at these jobs, added up; GPU-hours and CPU-hours: these times the GPUs and",
        "the cores that each held. `earlier attempts`: the part of the GPU-hours (of the CPU-hours",
        "where no GPU was held) that went into attempts that were killed, that failed, or whose result was",
        "replaced. A prompt's tokens count once for each block of its samples.",
        "",
        *table(("step", "alpha", "n", "GPU-hours", "CPU-hours"), arms),
        "",
        "What stands behind each arm. Arms that look at the same completions each count them, so this adds",
        "up to more than the whole run.",
    ]


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    earlier = "earlier_gpu_hours" if entry["gpu_hours"] else "earlier_cpu_hours"
    return (
        entry["stage"],
        f"{entry['jobs']:,}",
        f"{entry['attempts']:,}",
        _hours(entry["seconds"] / 3600),
        _hours(entry["gpu_hours"]),
        _hours(entry["cpu_hours"]),
        _hours(entry[earlier]) if entry[earlier] else "",
        _count(entry["completions"]),
        _count(entry["prompt_tokens"]),
        _count(entry["completion_tokens"]),
        _count(entry["tokens_per_second"]),
    )


def _hours(value: float) -> str:
    return "0" if value == 0 else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
