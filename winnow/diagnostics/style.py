"""How the figures look: one style, one palette, and files that are equal when the numbers are.

matplotlib takes a second to import: import this module only where something is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from winnow import jsonl

# Okabe and Ito 2008, "Color Universal Design": told apart with any common colour blindness.
BLUE, ORANGE, GREEN, VERMILLION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}%")

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.dpi": 200,
}


@contextmanager
def figure(path: Path, title: str, subtitle: str, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches under its title; written whole when the block ends."""
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        canvas: Any = FigureCanvasAgg(drawn)
        # About eleven characters of this size go on an inch.
        heading = [line for text in (title, subtitle) for line in textwrap.wrap(text, int(11 * width))]
        drawn.suptitle("\n".join(heading), fontsize=11)
        yield drawn
        with jsonl.replacing(path) as file:
            # Not savefig, which draws twice. Without matplotlib's version, so that equal numbers
            # give equal files.
            canvas.print_png(file, metadata={"Software": None})


def round_ticks(most: int = 6, integer: bool = False) -> MaxNLocator:
    """At most so many ticks, at multiples of 1, 2 or 5."""
    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer)


def share_axis(axes: Axes) -> None:
    """A y axis of shares from zero, in per cent."""
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_formatter(PERCENT)


def count_axis(axes: Axes, most: int = 6) -> None:
    """A y axis of counts from zero."""
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(round_ticks(most, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def note(axes: Axes, text: str) -> None:
    """A sentence in place of a drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
