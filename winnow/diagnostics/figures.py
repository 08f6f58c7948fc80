"""Figures of a report's pass@k, pass rates, errors and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from winnow.diagnostics.report import bin_label
from winnow.diagnostics.style import BLUE, GREEN, GREY, ORANGE, VERMILLION, figure, note


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
    with figure(path, report["title"], f"pass@k by {report['scorer']}", 5.0, 3.6) as drawn:
        axes = drawn.add_subplot()
        if not points:
            return note(axes, "no completions were generated")
        ks = [point["k"] for point in points]
        estimates = [point["estimate"] for point in points]
        below = [point["estimate"] - point["low"] for point in points]
        above = [point["high"] - point["estimate"] for point in points]
        axes.errorbar(ks, estimates, [below, above], color=BLUE, marker="o", capsize=3)
        for point in points:
            # Where the label would leave the axes, it goes below the interval instead.
            under = point["high"] > 0.88
            axes.annotate(
                f"{point['estimate']:.1%}",
                (point["k"], point["low"] if under else point["high"]),
                xytext=(0, -6 if under else 5),
                textcoords="offset points",
                ha="center",
                va="top" if under else "bottom",
                fontsize=9,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_xlim(ks[0] / 1.4, ks[-1] * 1.4)
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("k, completions tried")
        axes.set_ylabel(f"prompts solved (mean of {points[0]['prompts']:,})")
    return None


def draw_pass_rate(report: dict[str, Any], path: Path) -> None:
    """How many prompts have so many completions that passed."""
    rate, n = report["pass_rate"], report["n"]
    with figure(path, report["title"], f"pass rate by {report['scorer']}", 5.0, 3.6) as drawn:
        axes = drawn.add_subplot()
        if not rate["prompts"]:
            return note(axes, "no completions were generated")
        counts = [row["passed"] for row in rate["histogram"]]
        heights = [row["share"] for row in rate["histogram"]]
        colours = [VERMILLION, *[BLUE] * (n - 1), GREEN]
        bars = axes.bar(counts, heights, width=0.85, color=colours)
        mean = axes.axvline(rate["rate"] * n, color="black", linestyle="--", linewidth=1)
        axes.legend(
            [bars[0], bars[-1], mean],
            [
                f"no completion passed: {heights[0]:.1%}",
                f"all {n} passed: {heights[-1]:.1%}",
                f"mean pass rate: {rate['rate']:.1%}",
            ],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=3,
            columnspacing=1.2,
            handlelength=1.4,
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
        axes.set_xlim(-0.6, n + 0.6)
        axes.set_ylim(0, max(heights) * 1.08)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(f"completions that passed, of {n}")
        axes.set_ylabel(f"share of {rate['prompts']:,} prompts")
    return None


def draw_errors(report: dict[str, Any], path: Path) -> None:
    """The share of each error bin, and the whole distribution as a cumulative curve."""
    errors = report["errors"]
    subtitle = f"error by {errors['scorer']}" if errors else "error distribution"
    with figure(path, report["title"], subtitle, 9.0, 4.0) as drawn:
        if not errors or not errors["all"]["count"]:
            missing = "no completion states a number" if errors else "no numeric errors in these scores"
            return note(drawn.add_subplot(), missing)
        populations = [
            (f"all completions ({errors['all']['count']:,})", errors["all"], BLUE, "-"),
            (f"best of {report['n']} per prompt ({errors['min_of_n']['count']:,})", errors["min_of_n"], ORANGE, "--"),
        ]  # fmt: skip
        if errors["min_of_n_permuted"]:
            label = f"best of {report['n']}, references permuted"
            populations.append((label, errors["min_of_n_permuted"], GREY, ":"))
        binned, cumulative = drawn.subplots(1, 2)
        _error_bins(binned, populations)
        _error_curve(cumulative, populations)
        drawn.legend(*binned.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        failures = errors["parse_failure_share"]
        cumulative.set_title(
            f"{errors['parse_failures']:,} parse failures ({failures:.1%}) are not shown",
            color=GREY,
            fontsize=9,
        )
    return None


def _error_bins(axes: Axes, populations: list[tuple[str, dict[str, Any], str, str]]) -> None:
    width = 0.86 / len(populations)
    for index, (label, population, colour, _) in enumerate(populations):
        places = [place + (index - (len(populations) - 1) / 2) * width for place in range(9)]
        axes.bar(places, [row["share"] for row in population["bins"]], width, color=colour, label=label)
    labels = [bin_label(row) for row in populations[0][1]["bins"]]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("error |prediction − reference|")
    axes.set_ylabel("share")


def _error_curve(axes: Axes, populations: list[tuple[str, dict[str, Any], str, str]]) -> None:
    shares = [percent / 100 for percent in range(101)]
    largest = 0.0
    for _, population, colour, line in populations:
        percentiles = population["percentiles"]
        # To the left of the lowest error the share is zero, to the right of the largest it is one.
        axes.plot([percentiles[0], *percentiles], [0.0, *shares], color=colour, linestyle=line)
        largest = max(largest, percentiles[-1])
    for _, population, colour, line in populations:
        axes.plot([population["max"], largest], [1.0, 1.0], color=colour, linestyle=line)
    # Linear up to 1 and logarithmic beyond: a few wild numbers must not squeeze the rest.
    axes.set_xscale("symlog", linthresh=1.0, linscale=1.0)
    axes.set_xlim(0, max(largest, 1.0) * 1.05)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("error (linear up to 1, then logarithmic)")
    axes.set_ylabel("share at or below")


def draw_lengths(report: dict[str, Any], path: Path) -> None:
    """Completion tokens of those that passed and those that failed."""
    lengths = report["lengths"]
    with figure(path, report["title"], "completion length", 5.0, 3.6) as drawn:
        axes = drawn.add_subplot()
        if not lengths["all"]["count"]:
            return note(axes, "no completions were generated")
        for name, colour, line in (("passed", GREEN, "-"), ("failed", VERMILLION, "--")):
            group = lengths[name]
            if not group["count"]:
                axes.plot([], [], color=colour, linestyle=line, label=f"{name}: none")
                continue
            counts, edges = group["histogram"]["counts"], group["histogram"]["edges"]
            label = f"{name}: {group['count']:,}, median {group['median']:,.0f} tokens"
            axes.stairs(counts, edges, fill=True, color=colour, alpha=0.25)
            axes.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.4, label=label)
        axes.plot([], [], " ", label=f"cut at the limit: {lengths['cut_share']:.1%}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=1)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("completion length (tokens)")
        axes.set_ylabel("completions")
    return None
