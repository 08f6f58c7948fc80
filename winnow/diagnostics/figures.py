"""Figures of a report's pass@k, pass rates, errors and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from winnow.diagnostics.report import bin_label
from winnow.diagnostics.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    count_axis,
    figure,
    note,
    round_ticks,
    share_axis,
)

LARGEST_SHOWN = 1e9
"""Where the axis of errors ends at the latest: someone answers 10³⁰⁰."""


def draw(report: dict[str, Any], folder: Path) -> None:
    """pass_at_k.png, pass_rate.png, error_distribution.png and lengths.png; for q* two more."""
    draw_pass_at_k(report, folder / "pass_at_k.png")
    draw_pass_rate(report, folder / "pass_rate.png")
    draw_errors(report, folder / "error_distribution.png")
    draw_lengths(report, folder / "lengths.png")
    if report["qstar"] is not None:
        from winnow.diagnostics import qstar_figures

        qstar_figures.draw_metrics(report, folder / "qstar.png")
        qstar_figures.draw_alpha(report, folder / "alpha_along_completion.png")


def draw_pass_at_k(report: dict[str, Any], path: Path) -> None:
    """pass@k over k with its interval."""
    points = [point for point in report["pass_at_k"]["points"] if point["estimate"] is not None]
    subtitle = f"pass@k by {report['scorer']}, with 95 % intervals over prompts"
    with figure(path, report["title"], subtitle, 5.0, 3.6) as drawn:
        axes = drawn.add_subplot()
        if not points:
            return note(axes, "no completions were generated")
        ks = [point["k"] for point in points]
        estimates = [point["estimate"] for point in points]
        below = [point["estimate"] - point["low"] for point in points]
        above = [point["high"] - point["estimate"] for point in points]
        axes.errorbar(ks, estimates, [below, above], color=BLUE, marker="o", capsize=3, clip_on=False)
        for point in points:
            # pass@k never falls with k, so the place to the lower right of a point is free.
            low = point["estimate"] < 0.1
            axes.annotate(
                f"{point['estimate']:.1%}", (point["k"], point["estimate"]),
                xytext=(-6, 4) if low else (6, -4), textcoords="offset points",
                ha="right" if low else "left", va="bottom" if low else "top", fontsize=9,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_xlim(ks[0] / 1.5, ks[-1] * 1.7)
        share_axis(axes)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("k, completions drawn")
        axes.set_ylabel(f"pass@k of {_prompts(points[0]['prompts'])}")
    return None


def draw_pass_rate(report: dict[str, Any], path: Path) -> None:
    """How many prompts have so many completions that passed."""
    rate, n = report["pass_rate"], report["n"]
    with figure(path, report["title"], f"pass rate by {report['scorer']}", 5.0, 4.0) as drawn:
        axes = drawn.add_subplot()
        if not rate["prompts"]:
            return note(axes, "no completions were generated")
        counts = [row["passed"] for row in rate["histogram"]]
        heights = [row["share"] for row in rate["histogram"]]
        colours = [VERMILLION, *[BLUE] * (n - 1), GREEN]
        bars = axes.bar(counts, heights, width=0.85, color=colours)
        mean = axes.axvline(rate["rate"] * n, color="black", linestyle="--", linewidth=1)
        drawn.legend(
            [bars[0], bars[-1], mean],
            [
                f"no completion passed: {heights[0]:.1%}",
                f"all {n} passed: {heights[-1]:.1%}",
                f"pass rate of all completions: {rate['rate']:.1%}",
            ],
            loc="outside lower center",
        )
        axes.xaxis.set_major_locator(round_ticks(9, integer=True))
        axes.set_xlim(-0.6, n + 0.6)
        share_axis(axes)
        axes.set_ylim(0, max(heights) * 1.08)
        axes.set_xlabel(f"completions that passed, of {n}")
        axes.set_ylabel(f"share of {_prompts(rate['prompts'])}")
    return None


def draw_errors(report: dict[str, Any], path: Path) -> None:
    """The share of each error bin, and the whole distribution as a cumulative curve."""
    errors = report["errors"]
    subtitle = "error distribution"
    if errors and errors["generated"]:
        left_out = (
            f"parse failures, left out: {errors['parse_failures']:,} ({errors['parse_failure_share']:.1%})"
        )
        subtitle = f"error by {errors['scorer']}; {left_out}"
    with figure(path, report["title"], subtitle, 9.0, 4.0) as drawn:
        if not errors or not errors["all"]["count"]:
            missing = "no completion states a number" if errors else "no numeric errors in these scores"
            return note(drawn.add_subplot(), missing)
        everything, best = errors["all"], errors["min_of_n"]
        populations = [
            (f"all completions ({everything['count']:,})", everything, BLUE, "-"),
            (f"best of {report['n']} per prompt ({best['count']:,})", best, ORANGE, "--"),
        ]
        if errors["min_of_n_permuted"]:
            label = f"best of {report['n']}, references permuted"
            populations.append((label, errors["min_of_n_permuted"], GREY, ":"))
        binned, cumulative = drawn.subplots(1, 2)
        _error_bins(binned, populations)
        _error_curve(cumulative, populations)
        drawn.legend(*binned.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return None


def _error_bins(axes: Axes, populations: list[tuple[str, dict[str, Any], str, str]]) -> None:
    width = 0.86 / len(populations)
    for index, (label, population, colour, _) in enumerate(populations):
        places = [place + (index - (len(populations) - 1) / 2) * width for place in range(9)]
        axes.bar(places, [row["share"] for row in population["bins"]], width, color=colour, label=label)
    labels = [bin_label(row) for row in populations[0][1]["bins"]]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    share_axis(axes)
    axes.set_xlabel("error, |prediction − reference|")
    axes.set_ylabel("share")


def _error_curve(axes: Axes, populations: list[tuple[str, dict[str, Any], str, str]]) -> None:
    shares = [percent / 100 for percent in range(101)]
    largest = min(max(population["max"] for _, population, _, _ in populations), LARGEST_SHOWN)
    for _, population, colour, line in populations:
        percentiles = [min(percentile, 10 * LARGEST_SHOWN) for percentile in population["percentiles"]]
        # To the left of the lowest error the share is zero, to the right of the largest it is one.
        axes.plot(
            [percentiles[0], *percentiles, max(largest, percentiles[-1])], [0.0, *shares, 1.0],
            color=colour, linestyle=line, drawstyle="steps-post",
        )  # fmt: skip
    label = "error, |prediction − reference|"
    if largest > 10:
        # A few wild numbers must not squeeze the rest.
        axes.set_xscale("symlog", linthresh=1.0, linscale=1.0)
        label += "; logarithmic above 1"
        if largest < 1e5:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(0, largest * 1.05 or 1.0)
    share_axis(axes)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(label)
    axes.set_ylabel("share at or below")


def draw_lengths(report: dict[str, Any], path: Path) -> None:
    """Completion tokens of those that passed and those that failed."""
    lengths = report["lengths"]
    with figure(path, report["title"], "completion length", 5.0, 4.0) as drawn:
        axes = drawn.add_subplot()
        if not lengths["all"]["count"]:
            return note(axes, "no completions were generated")
        edges = lengths["passed"]["histogram"]["edges"]
        for name, colour, line in (("passed", GREEN, "-"), ("failed", VERMILLION, "--")):
            group = lengths[name]
            if not group["count"]:
                axes.plot([], [], color=colour, linestyle=line, label=f"{name}: none")
                continue
            counts = group["histogram"]["counts"]
            label = f"{name}: {group['count']:,}, median {group['median']:,.0f} tokens"
            axes.stairs(counts, edges, fill=True, color=colour, alpha=0.25)
            axes.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.4, label=label)
        axes.plot([], [], " ", label=f"cut at the limit: {lengths['cut_share']:.1%}")
        drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
        # At least ten tokens wide: completions of one length make a bar, not a wall.
        middle, width = (edges[0] + edges[-1]) / 2, max(edges[-1] - edges[0], 10.0) * 1.04
        axes.set_xlim(middle - width / 2, middle + width / 2)
        axes.xaxis.set_major_locator(round_ticks(8, integer=True))
        count_axis(axes)
        axes.set_xlabel("completion length (tokens)")
        axes.set_ylabel("completions")
    return None


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count:,} prompts"
