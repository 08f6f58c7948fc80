"""The summary as Markdown: for a terminal, a pull request or a notebook."""

from __future__ import annotations

from typing import Any

from winnow.summary.cost import cost_lines
from winnow.summary.markdown import table

COLUMNS = (
    "step", "alpha", "n", "passed", "accepted", "yield", "trained on", "before", "after (95 % CI)",
    "lift", "α", "β", "tokens", "seconds",
)  # fmt: skip


def as_markdown(summary: dict[str, Any]) -> str:
    """The arms side by side, then the checkpoints, then what they cost."""
    rows = [_row(arm) for arm in summary["arms"]]
    lines = [f"# {summary['run']}", "", *table(COLUMNS, rows), ""]
    lines += [
        "`passed`: share of the completions that the verifier accepts. `accepted`: completions that the",
        "selection keeps (`yield`: as a share of all). `trained on`: a random subset of them. `before`,",
        "`after`: held-out accuracy, with a 95 % interval clustered by prompt. `lift`: after − before in",
        "points, paired by prompt. α: the teacher's mean weight. β: mean Σ min(q*, π_θ) over the tokens.",
        "`seconds`: wall time of the jobs that drew the completions, start-up included.",
    ]
    lines += [f"\n**Unequal training sets**: {note}" for note in summary["warnings"]]
    lines += ["", "![Arms side by side](summary.png)"]
    if summary["steps"]:
        steps: list[tuple[str, ...]] = [
            (e["step"], _interval(e["accuracy"], e["accuracy_ci"])) for e in summary["steps"]
        ]
        lines += ["", "## Checkpoints", "", *table(("checkpoint", "held-out accuracy (95 % CI)"), steps)]
    lines += ["", *cost_lines(summary)]
    return "\n".join(lines) + "\n"


def _row(arm: dict[str, Any]) -> tuple[str, ...]:
    trained = arm["accuracy_after"] is not None
    return (
        arm["step"],
        arm["alpha"],
        str(arm["n"]),
        _percent(arm["pass_rate"]),
        f"{arm['accepted']:,}",
        _percent(arm["yield"]),
        f"{arm['train_examples']:,}" if trained else "",
        _percent(arm["accuracy_before"]),
        _interval(arm["accuracy_after"], arm["accuracy_ci"]) if trained else "",
        f"{100 * arm['lift']:+.1f} ± {50 * (arm['lift_ci'][1] - arm['lift_ci'][0]):.1f}" if trained else "",
        _number(arm["alpha_mean"]),
        _number(arm["beta_mean"]),
        f"{arm['completion_tokens']:,}",
        "" if arm["seconds"] is None else f"{arm['seconds']:.1f}",
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(value: float, bounds: list[float]) -> str:
    return f"{100 * value:.1f} % [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"
