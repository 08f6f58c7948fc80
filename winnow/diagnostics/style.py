"""How the figures look: one style, one palette, and files that are equal when the numbers are.

matplotlib takes a second to import: import this module only where something is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from winnow import jsonl

# Okabe and Ito 2008, "Color Universal Design": told apart with any common colour blindness.
BLUE, ORANGE, GREEN, VERMILLION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"

STYLE = {
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
    "savefig.dpi": 200,
}


@contextmanager
def figure(path: Path, title: str, subtitle: str, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches under its title; written whole when the block ends."""
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        canvas = FigureCanvasAgg(drawn)
        # About eleven characters of this size go on an inch.
        heading = [*textwrap.wrap(title, int(11 * width)), subtitle]
        drawn.suptitle("\n".join(heading), fontsize=11)
        yield drawn
        with jsonl.replacing(path) as file:
            # No version of matplotlib inside: equal numbers give equal files.
            canvas.print_png(file, metadata={"Software": None})


def note(axes: Axes, text: str) -> None:
    """A sentence in place of a drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
