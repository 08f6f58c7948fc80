"""Figures of q*: the distribution of each metric, and α along the completion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from winnow.diagnostics.style import (
    BLUE,
    GREEN,
    GREY,
    PERCENT,
    VERMILLION,
    count_axis,
    figure,
    note,
    round_ticks,
    share_axis,
)

LABELS = {
    "alpha": "α, the teacher's weight",
    "ess_ratio": "ESS ratio, ESS$_θ$ / ESS$_t$",
    "beta": "β = Σ min(q*, π$_θ$)",
    "kl_theta": "KL(q* ‖ π$_θ$) (nats per token)",
    "kl_t": "KL(q* ‖ π$_t$) (nats per token)",
    "neg_log_z": "−log Z (nats per token)",
}


def draw_metrics(report: dict[str, Any], path: Path) -> None:
    """One panel for each metric: its mean over a completion's tokens."""
    qstar = report["qstar"]
    subtitle = f"q*: means over the tokens of each of {qstar['completions']:,} completions"
    with figure(path, report["title"], subtitle, 9.0, 5.4) as drawn:
        panels = drawn.subplots(2, 3)
        for axes, (metric, label) in zip(panels.flat, LABELS.items(), strict=True):
            _panel(axes, metric, qstar["distributions"][metric])
            axes.set_xlabel(label)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of completions")


def _panel(axes: Axes, metric: str, distribution: dict[str, Any]) -> None:
    counts, edges = distribution["histogram"]["counts"], distribution["histogram"]["edges"]
    # A report of an earlier version left out none, and does not say so.
    beyond = distribution.get("beyond", 0)
    total = sum(counts) + beyond
    if not sum(counts):
        return note(axes, "no finite values")
    colour = {"alpha": BLUE, "ess_ratio": BLUE, "beta": GREEN}.get(metric, VERMILLION)
    axes.stairs([count / total for count in counts], edges, fill=True, color=colour, alpha=0.75)
    axes.axvline(distribution["median"], color="black", linestyle="--", linewidth=1)
    left_out = f"; {beyond / total:.2%} beyond" if beyond else ""
    axes.set_title(f"median {distribution['median']:.3g}{left_out}", fontsize=9)
    share_axis(axes)
    if metric == "ess_ratio":
        axes.set_xscale("log")
        ratio = edges[-1] / edges[0]
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 300 else (1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(round_ticks(5))
    axes.set_xlim(edges[0], edges[-1])
    return None


def draw_alpha(report: dict[str, Any], path: Path) -> None:
    """Median and quartiles of α by position, how many completions get there, and α of all tokens."""
    qstar = report["qstar"]
    along, of_tokens = qstar["alpha_along_completion"], qstar["alpha_tokens"]
    with figure(path, report["title"], "α along the completion", 7.5, 4.4) as drawn:
        if not along["median"]:
            return note(drawn.add_subplot(), "too few completions")
        grid = drawn.subplots(2, 2, sharex="col", width_ratios=(5, 1), height_ratios=(3.4, 1))
        (main, side), (reach, corner) = grid
        corner.set_axis_off()
        positions = range(1, len(along["median"]) + 1)
        main.fill_between(
            positions, along["lower_quartile"], along["upper_quartile"],
            color=BLUE, alpha=0.25, linewidth=0, label="quartiles",
        )  # fmt: skip
        # A single position has no line: it gets a mark.
        mark = "o" if len(positions) == 1 else ""
        main.plot(positions, along["median"], color=BLUE, marker=mark, linewidth=1.4, label="median")
        main.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
        main.set_ylim(-0.02, 1.02)
        main.set_ylabel("α, the teacher's weight")
        main.legend(loc="upper right", ncols=2)
        reach.plot(positions, along["reached"][: len(positions)], color=GREY, marker=mark)
        count_axis(reach, 3)
        reach.set_ylim(0, along["reached"][0] * 1.08)
        reach.set_xlim(0.5, len(positions) + 0.5)
        reach.xaxis.set_major_locator(round_ticks(8, integer=True))
        reach.set_xlabel("position in the completion (tokens)")
        reach.set_ylabel("completions")
        total = sum(of_tokens["counts"])
        shares = [count / total for count in of_tokens["counts"]]
        side.stairs(shares, of_tokens["edges"], orientation="horizontal", fill=True, color=BLUE, alpha=0.75)
        side.set_ylim(main.get_ylim())
        side.tick_params(axis="y", labelleft=False)
        side.set_xlim(left=0)
        side.xaxis.set_major_locator(round_ticks(2))
        side.xaxis.set_major_formatter(PERCENT)
        side.tick_params(axis="x", labelbottom=True)
        # In the empty corner, where it does not push the panels apart.
        corner.text(0.5, 0.85, "share of\nall tokens", ha="center", va="top", transform=corner.transAxes)
        drawn.align_ylabels([main, reach])
    return None
