"""The figure of benchmarks/qstar.py: q* over the teacher alone, by slots, beside what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.diagnostics.style import BLUE, GREEN, GREY, ORANGE, figure

LINES = (
    ("q*/teacher", "q*", "-", "o", BLUE),
    ("by times", "q*, from the times of single passes", "--", None, GREEN),
    ("predicted", "q*, if memory alone bound", ":", None, GREY),
    ("lockstep/teacher", "lockstep", "-", "x", ORANGE),
)


def draw(rows: list[dict[str, Any]], file: Path, device: str) -> None:
    """One panel for each pair of models and strength of noise.

    Args:
        rows: as `qstar.measure` gives them.
        file: the PNG.
        device: what it was measured on.
    """
    panels: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["pair"], row["noise"]), []).append(row)
    with figure(
        file, "Tokens a second, over the teacher alone", device, max(4.2 * len(panels), 6.4), 3.8
    ) as drawn:
        axes = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, ((pair, _), entries) in zip(axes, panels.items(), strict=True):
            slots = [entry["slots"] for entry in entries]
            for key, label, style, marker, colour in LINES:
                values = [entry[key] for entry in entries]
                axis.plot(slots, values, style, marker=marker, color=colour, label=label)
            axis.axhline(1.0, color=GREY, linewidth=0.6)
            axis.set_xscale("log", base=2)
            axis.set_xticks(slots, [str(count) for count in slots])
            axis.set_xlabel("slots")
            betas = [entry["β"] for entry in entries]
            axis.set_title(f"{pair}, β = {sum(betas) / len(betas):.2f}")
        axes[0].set_ylim(bottom=0)
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
