"""scripts/dag.py on the real DAG, and the rule graph that the README shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from workspace import ROOT, Workspace

SHOWN = ROOT / "docs" / "images" / "rulegraph.svg"
OUT_OF_DATE = f"to mend: scripts/dag.py --rulegraph {SHOWN.relative_to(ROOT)}"
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def drawn(path: Path) -> tuple[dict[str, list[str]], set[tuple[str, str]]]:
    """A picture's boxes with their lines of text, and its arrows: what any Graphviz writes."""
    boxes: dict[str, list[str]] = {}
    arrows: set[tuple[str, str]] = set()
    svg = "{http://www.w3.org/2000/svg}"
    for group in ElementTree.parse(path).iter(f"{svg}g"):
        title = group.findtext(f"{svg}title") or ""
        if group.get("class") == "node":
            boxes[title] = [text.text or "" for text in group.iter(f"{svg}text")]
        elif group.get("class") == "edge":
            start, end = title.split("->")
            arrows.add((start, end))
    return boxes, arrows


def test_the_readme_shows_the_rule_graph_of_today(tmp_path: Path) -> None:
    space = Workspace.fresh(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    program = (
        "import dataclasses, json\n"
        "from winnow.workflow.dry_run import take_snapshot\n"
        "from winnow.workflow.graphs import rule_graph\n"
        "print(json.dumps(dataclasses.asdict(rule_graph(take_snapshot([])))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=space.environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    graph = json.loads(done.stdout)
    boxes, arrows = drawn(SHOWN)
    assert boxes == {box["name"]: [box["title"], box["text"]] for box in graph["boxes"]}, OUT_OF_DATE
    # Arrows to the next round are drawn from their heads.
    assert arrows == {*map(tuple, graph["arrows"]), *((b, a) for a, b in graph["returns"])}, OUT_OF_DATE
    assert "docs/images/rulegraph.svg" in (ROOT / "README.md").read_text()


@needs_graphviz
def test_the_job_graph_counts_and_colours_the_states(space: Workspace) -> None:
    shutil.rmtree(space.results / "scored/train/step-late/policy")
    block = space.results / "completions/train/step-middle/kl_symmetry/00001-of-00002.block-0.jsonl"
    block.unlink()
    outcome = space.program("dag", "--jobgraph", "jobs.svg", "--rulegraph", "rules.svg")
    assert outcome.code == 0, outcome.text
    assert outcome.text.split() == ["rules.svg", "jobs.svg"]
    boxes, arrows = drawn(space.root / "jobs.svg")
    assert boxes["generate/step middle · kl_symmetry"] == ["generate", "1 done · 1 missing"]
    assert boxes["score/step middle · kl_symmetry"] == ["score", "1 done · 1 stale"]
    assert boxes["score/step late · policy"] == ["score", "2 missing"]
    assert boxes["select/step late · policy/n = 4"] == ["select", "n = 4", "stale"]
    assert boxes["train/step middle · policy/n = 4"] == ["train", "n = 4", "done"]
    assert ("score/step late · policy", "select/step late · policy/n = 4") in arrows
    text = (space.root / "jobs.svg").read_text()
    assert all(words in text for words in ("stale: there, to be made again", "missing: to be made"))
    assert drawn(space.root / "rules.svg")[0].keys() == {re.split("/", name)[0] for name in boxes}


def test_neither_picture_is_an_error(finished: Workspace) -> None:
    outcome = finished.program("dag")
    assert outcome.code == 2
    assert "--rulegraph, --jobgraph: neither is given" in outcome.text
