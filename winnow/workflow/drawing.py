"""Graphs as SVG, drawn by Graphviz."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from winnow import jsonl
from winnow.errors import UserError
from winnow.workflow.graphs import Box, Graph
from winnow.workflow.snapshot import DONE, MISSING, STALE, STATES, UNNEEDED

# Told apart by people who see no red or green, and in grey.
FILLS = {DONE: "#bfe3f5", STALE: "#f5b041", MISSING: "#ffffff", UNNEEDED: "#e5e5e5"}
MEANINGS = {
    DONE: "done",
    STALE: "stale: there, to be made again",
    MISSING: "missing: to be made",
    UNNEEDED: "not needed",
}
GPU, CPU = "#ffe0b2", "#eef3f7"
INK = "#33475b"
FONT = "Helvetica,Arial,sans-serif"

FRAME = 'style="rounded,dashed"; color="#9aa9b8"'
ACROSS = 'color="#b4c1ce", arrowsize=0.5'
"""An arrow from one arm's frame to another's, or from what all share."""
RETURN = "style=dashed, dir=back"
"""An arrow to an earlier stage: given from its head to its tail, it is laid out like the others."""

HEAD = f"""digraph {{
  graph [bgcolor="white", fontname="{FONT}", fontsize=11, fontcolor="{INK}", pad=0.15, nodesep=0.22,
         newrank=true, labelloc=b]
  node [shape=box, style="rounded,filled", fontname="{FONT}", fontsize=12, fontcolor="#1b2733",
        color="{INK}", penwidth=0.9, margin="0.13,0.06", height=0.3]
  edge [color="{INK}", arrowsize=0.6, penwidth=0.8, fontname="{FONT}", fontsize=9, fontcolor="{INK}"]
"""


def rule_graph_dot(graph: Graph) -> str:
    """The rule graph in the DOT language: stages by what they need, those of one file in a frame."""
    boxes = {
        box.name: f'[label={_label(box.title, box.text)}, fillcolor="{GPU if box.gpu else CPU}"]'
        for box in graph.boxes
    }
    arrows = [f"  {_quoted(a)} -> {_quoted(b)}" for a, b in graph.arrows]
    arrows += [f"  {_quoted(b)} -> {_quoted(a)} [{RETURN}]" for a, b in graph.returns]
    layout = "rankdir=TB; ranksep=0.26; nodesep=0.3"
    legend = {"asks for a GPU": GPU, "runs on CPUs": CPU}
    # Where no arrow comes in.
    frames = _grouped(graph, boxes, "rules/{}.smk", "labelloc=b; labeljust=l")
    return _document(layout, _legend(legend, bool(graph.returns)), frames, arrows)


def job_graph_dot(graph: Graph) -> str:
    """The job graph in the DOT language: a lane for each arm, boxes filled by their jobs' states."""
    boxes = {
        box.name: f"[label={_label(box.title, box.text, counts(box.states))}, {_fill(box)}]"
        for box in graph.boxes
    }
    groups = {box.name: box.group for box in graph.boxes}
    arrows = []
    for a, b in graph.arrows:
        within = groups[a] == groups[b]
        arrows.append(f"  {_quoted(a)} -> {_quoted(b)} [{'weight=8' if within else ACROSS}]")
    arrows += [f"  {_quoted(b)} -> {_quoted(a)} [{RETURN}]" for a, b in graph.returns]
    columns: dict[int, list[str]] = {}
    for box in graph.boxes:
        columns.setdefault(box.column, []).append(_quoted(box.name))
    aligned = [f"  {{ rank=same; {'; '.join(names)} }}" for names in columns.values()]
    present = [state for state in STATES if any(state in box.states for box in graph.boxes)]
    legend = {MEANINGS[state]: FILLS[state] for state in present}
    layout = "rankdir=LR; ranksep=0.4; nodesep=0.12"
    frames = _grouped(graph, boxes, "{}", "labelloc=t; labeljust=l")
    return _document(layout, _legend(legend, bool(graph.returns)), frames, aligned + arrows)


def counts(states: Mapping[str, int]) -> str:
    """``12 done · 1 stale · 3 missing``; the state alone of a single job."""
    if sum(states.values()) == 1:
        return next(iter(states))
    return " · ".join(f"{count:,} {state}" for state, count in states.items())


def draw(dot: str, path: Path) -> None:
    """Lay a graph out and write it as SVG.

    Raises:
        UserError: Graphviz is not installed.
    """
    try:
        done = subprocess.run(["dot", "-Tsvg"], input=dot, text=True, capture_output=True, check=True)
    except FileNotFoundError:
        raise UserError(
            "dot",
            "Graphviz is not installed",
            "its program dot on the path",
            "apt-get install graphviz, or conda install -c conda-forge graphviz",
        ) from None
    jsonl.write_text(path, done.stdout)


def _document(layout: str, legend: str, boxes: Sequence[str], arrows: Sequence[str]) -> str:
    return "\n".join([HEAD, f"  {layout}", f"  label={legend}", *boxes, *arrows, "}", ""])


def _grouped(graph: Graph, boxes: Mapping[str, str], heading: str, where: str) -> list[str]:
    """The boxes as DOT, each group in a frame of its own."""
    groups: dict[str, list[str]] = {}
    for box in graph.boxes:
        groups.setdefault(box.group, []).append(f"    {_quoted(box.name)} {boxes[box.name]}")
    lines: list[str] = []
    for group, members in groups.items():
        if group:
            lines.append(f"  subgraph {_quoted('cluster_' + group)} {{")
            lines.append(f"    label={_quoted(heading.format(group))}; {where}; {FRAME}")
        lines += members + ["  }"] * bool(group)
    return lines


def _fill(box: Box) -> str:
    """One colour, or stripes as wide as each state has jobs; a dashed frame where all are missing."""
    if len(box.states) == 1:
        state = next(iter(box.states))
        style = "rounded,filled,dashed" if state in (MISSING, UNNEEDED) else "rounded,filled"
        return f'style="{style}", fillcolor="{FILLS[state]}"'
    total = sum(box.states.values())
    # Too narrow a stripe would not be seen.
    shares = {state: max(count / total, 0.05) for state, count in box.states.items()}
    stripes = ":".join(
        f"{FILLS[state]};{share / sum(shares.values()):.3f}" for state, share in shares.items()
    )
    return f'style="striped", fillcolor="{stripes}"'


def _label(title: str, *texts: str) -> str:
    rows = [f"<b>{escape(title)}</b>"]
    rows += [f'<font point-size="10">{escape(text)}</font>' for text in texts if text]
    return f"<{'<br/>'.join(rows)}>"


def _legend(colours: Mapping[str, str], returns: bool) -> str:
    cells = [
        f'<td border="1" bgcolor="{colour}" width="16"> </td><td align="left">{escape(text)}   </td>'
        for text, colour in colours.items()
    ]
    cells += ["<td>- - →</td><td>to the next round</td>"] * returns
    return f'<<table border="0" cellborder="0" cellspacing="4"><tr>{"".join(cells)}</tr></table>>'


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
