"""Tables in Markdown that read well as plain text, too."""

from __future__ import annotations

TEXT = {"step", "alpha", "checkpoint", "stage"}
"""Columns that are aligned to the left."""


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """The lines of a table; every cell is padded to its column's width."""
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    head = "| " + " | ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)) + " |"
    rule = (
        "|"
        + "|".join(
            "-" * (w + 2) if c in TEXT else "-" * (w + 1) + ":" for c, w in zip(columns, widths, strict=True)
        )
        + "|"
    )
    body = [
        "| "
        + " | ".join(
            cell.ljust(w) if c in TEXT else cell.rjust(w)
            for cell, w, c in zip(row, widths, columns, strict=True)
        )
        + " |"
        for row in rows
    ]
    return [head, rule, *body]
