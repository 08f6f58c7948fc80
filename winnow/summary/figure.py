"""The summary as one figure: accuracy, pass rate, mixture and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Okabe and Ito's palette: told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"


def draw(summary: dict[str, Any], path: Path) -> None:
    """Write the figure as PNG; the same input gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = summary["arms"]
    trained = [arm for arm in arms if arm["accuracy_after"] is not None]
    rows = max(len(arms), len(trained), 4)
    figure = Figure(figsize=(12, 2.4 + 0.5 * rows), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    figure.suptitle(f"{summary['run']}: arms side by side", fontsize=13, fontweight="bold")
    _accuracy(panels[0][0], trained)
    _pass_rate(panels[0][1], arms)
    _mixture(panels[1][0], arms)
    _checkpoints(panels[1][1], summary["steps"])
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", metadata={"Software": None})
    partial.replace(path)


def _empty(panel: Any, why: str) -> None:
    """A panel without data: its title, and why, but no axes that would measure nothing."""
    panel.set_axis_off()
    panel.text(0.5, 0.5, why, ha="center", va="center", transform=panel.transAxes)


def _label(arm: dict[str, Any]) -> str:
    return f"{arm['step']} · {arm['alpha']} · n={arm['n']}"


def _lanes(panel: Any, arms: list[dict[str, Any]]) -> list[int]:
    """One lane for each arm, the first on top; its labels on the y axis."""
    lanes = list(range(len(arms)))
    panel.set_yticks(lanes, [_label(arm) for arm in arms])
    panel.set_ylim(len(arms) - 0.4, -0.6)
    panel.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)
    return lanes


def _accuracy(panel: Any, arms: list[dict[str, Any]]) -> None:
    panel.set_title(
        "Held-out accuracy before and after training", fontsize=10.5, fontweight="bold", loc="left", pad=24
    )
    panel.set_xlabel("held-out accuracy [%], 95 % interval", fontsize=9)
    if not arms:
        _empty(panel, "no arm was trained")
        return
    for lane, arm in zip(_lanes(panel, arms), arms, strict=True):
        for key, bounds, colour, marker, name in (
            ("accuracy_before", "accuracy_before_ci", GREY, "o", "before"),
            ("accuracy_after", "accuracy_ci", BLUE, "D", "after"),
        ):
            low, high = (100 * value for value in arm[bounds])
            panel.plot([low, high], [lane, lane], color=colour, linewidth=1.6, alpha=0.7)
            panel.plot(100 * arm[key], lane, marker, color=colour, markersize=6, label=None if lane else name)
    panel.legend(
        fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=2, borderaxespad=0
    )


def _pass_rate(panel: Any, arms: list[dict[str, Any]]) -> None:
    panel.set_title(
        "Completions that passed, and that were kept", fontsize=10.5, fontweight="bold", loc="left", pad=24
    )
    panel.set_xlabel("share of all completions [%]", fontsize=9)
    lanes = _lanes(panel, arms)
    panel.barh(lanes, [100 * (a["pass_rate"] or 0) for a in arms], 0.7, color="#A6CEE3", label="passed")
    panel.barh(
        lanes, [100 * (a["yield"] or 0) for a in arms], 0.35, color=BLUE, label="kept by the selection"
    )
    panel.set_xlim(0, 100)
    panel.legend(
        fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=2, borderaxespad=0
    )


def _mixture(panel: Any, arms: list[dict[str, Any]]) -> None:
    mixed = [arm for arm in arms if arm["beta_mean"] is not None]
    panel.set_title("The mixture q*", fontsize=10.5, fontweight="bold", loc="left", pad=24)
    panel.set_xlabel("mean over tokens", fontsize=9)
    panel.set_xlim(0, 1.02)
    if not mixed:
        _empty(panel, "no arm mixes two models")
        return
    lanes = _lanes(panel, mixed)
    panel.plot([a["alpha_mean"] for a in mixed], lanes, "s", color=ORANGE, label="α, the teacher's weight")
    panel.plot([a["beta_mean"] for a in mixed], lanes, "^", color=GREEN, label="β = Σ min(q*, π_θ)")
    panel.legend(
        fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=2, borderaxespad=0
    )


def _checkpoints(panel: Any, steps: list[dict[str, Any]]) -> None:
    panel.set_title("Checkpoints", fontsize=10.5, fontweight="bold", loc="left", pad=24)
    panel.set_xlabel("checkpoint", fontsize=9)
    panel.set_ylabel("held-out accuracy [%], 95 % interval", fontsize=9)
    if not steps:
        _empty(panel, "no held-out prompts")
        return
    places = range(len(steps))
    means = [100 * entry["accuracy"] for entry in steps]
    errors = [
        [m - 100 * entry["accuracy_ci"][0] for m, entry in zip(means, steps, strict=True)],
        [100 * entry["accuracy_ci"][1] - m for m, entry in zip(means, steps, strict=True)],
    ]
    for place, mean, entry in zip(places, means, steps, strict=True):
        colour = ORANGE if entry["step"].startswith("round-") else BLUE
        low, high = errors[0][place], errors[1][place]
        panel.errorbar(place, mean, [[low], [high]], fmt="o", color=colour, capsize=3, markersize=6)
    panel.set_xticks(list(places), [entry["step"] for entry in steps])
    panel.set_xlim(-0.5, len(steps) - 0.5)
    panel.set_ylim(0, 100)
    panel.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)
