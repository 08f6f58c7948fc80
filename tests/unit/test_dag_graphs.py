"""The pictures of the DAG: what is one box, which arrows are drawn, and in which colours."""

from __future__ import annotations

import itertools
import re
import shutil
from collections import Counter

import pytest
from dag_samples import FORCED, drawing_job, job, prompts_job, snapshot
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.workflow.drawing import FILLS, counts, draw, job_graph_dot, rule_graph_dot
from winnow.workflow.graphs import job_graph, rule_graph, without_shortcuts
from winnow.workflow.snapshot import DONE, MISSING, STALE, UNNEEDED, Cause, Snapshot

GONE = Cause(missing=("x",))


def run_of_two_rounds(directory) -> Snapshot:
    """Three blocks of each of two arms, one of them trained, and a second round that draws from it."""
    jobs = [prompts_job()]
    for alpha, causes in (("policy", [None, None, GONE]), ("entropy", [FORCED, None, GONE])):
        for block, cause in enumerate(causes):
            jobs.append(drawing_job(len(jobs), alpha, block, cause=cause))
    for block in range(3):
        wildcards = {"step": "1", "alpha": "policy", "shard": "0", "block": str(block)}
        jobs.append(job(len(jobs), "score", f"scored/{block}", [0, block + 1], wildcards=wildcards))
    arm = {"step": "1", "alpha": "policy", "n": "16"}
    jobs.append(job(10, "select", "selected/a", [0, 7, 8, 9], wildcards=arm))
    jobs.append(job(11, "select", "selected/b", [0, 7], wildcards={**arm, "n": "8"}))
    jobs.append(job(12, "train", "checkpoints/a", [10], wildcards=arm, resources={"gpu": 2, "threads": 1}))
    second = {"step": "round-1", "alpha": "policy", "shard": "0", "block": "0"}
    jobs.append(job(13, "generate", "completions/r", [0, 12], wildcards=second))
    jobs.append(
        job(
            14,
            "generate_heldout",
            "evaluation/x",
            [12],
            wildcards={"checkpoint": "step-1/policy/n-16", "shard": "0", "block": "0"},
            state=UNNEEDED,
        )
    )
    jobs.append(
        job(15, "evaluate", "evaluation/y", [14], wildcards={"checkpoint": "step-1/policy/n-16"}, cause=GONE)
    )
    jobs.append(
        job(16, "evaluate", "evaluation/z", [], wildcards={"checkpoint": "step-1/untrained"}, cause=GONE)
    )
    jobs.append(job(17, "summarize", "summary.json", [10, 11, 13, 15, 16], cause=FORCED))
    return snapshot(directory, jobs)


def test_the_rule_graph_has_a_box_a_stage_and_no_shortcuts(tmp_path):
    graph = rule_graph(run_of_two_rounds(tmp_path))
    assert [(box.title, box.text, box.group, box.gpu) for box in graph.boxes] == [
        ("prompts_train", "prompts", "", False),
        ("generate", "completions", "", True),
        ("score", "scores", "", False),
        ("select", "selection", "", False),
        ("train", "checkpoint", "", True),
        ("generate_heldout", "output", "evaluate", False),
        ("evaluate", "output", "evaluate", False),
        ("summarize", "summary", "", False),
    ]
    assert graph.arrows == (
        ("evaluate", "summarize"),
        ("generate", "score"),
        ("generate_heldout", "evaluate"),
        ("prompts_train", "generate"),
        ("score", "select"),
        ("select", "train"),
        ("train", "generate_heldout"),
    )
    assert graph.returns == (("train", "generate"),)
    assert [box.column for box in graph.boxes] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_the_job_graph_folds_shards_and_blocks_and_counts_them(tmp_path):
    graph = job_graph(run_of_two_rounds(tmp_path))
    states = {box.name: (box.group, box.text, dict(box.states)) for box in graph.boxes}
    assert states == {
        "prompts_train": ("", "", {DONE: 1}),
        "generate/step 1 · policy": ("step 1 · policy", "", {DONE: 2, MISSING: 1}),
        "generate/step 1 · entropy": ("step 1 · entropy", "", {DONE: 1, STALE: 1, MISSING: 1}),
        "generate/step round-1 · policy": ("step round-1 · policy", "", {DONE: 1}),
        "score/step 1 · policy": ("step 1 · policy", "", {DONE: 3}),
        "select/step 1 · policy/n = 8": ("step 1 · policy", "n = 8", {DONE: 1}),
        "select/step 1 · policy/n = 16": ("step 1 · policy", "n = 16", {DONE: 1}),
        "train/step 1 · policy/n = 16": ("step 1 · policy", "n = 16", {DONE: 1}),
        "generate_heldout/step 1 · policy/n = 16": ("step 1 · policy", "n = 16", {UNNEEDED: 1}),
        "evaluate/step 1 · policy/n = 16": ("step 1 · policy", "n = 16", {MISSING: 1}),
        "evaluate/step 1 · untrained": ("step 1 · untrained", "", {MISSING: 1}),
        "summarize": ("", "", {STALE: 1}),
    }
    names = [box.name for box in graph.boxes]
    assert names.index("select/step 1 · policy/n = 8") < names.index("select/step 1 · policy/n = 16")
    assert graph.returns == ()
    assert ("train/step 1 · policy/n = 16", "generate/step round-1 · policy") in graph.arrows
    assert ("prompts_train", "score/step 1 · policy") not in graph.arrows


@pytest.mark.parametrize(
    ("most", "boxes", "generate"),
    [
        (12, 12, {"generate/step 1 · policy", "generate/step 1 · entropy", "generate/step round-1 · policy"}),
        (11, 11, {"generate/step 1 · policy", "generate/step 1 · entropy", "generate/step round-1 · policy"}),
        (10, 9, {"generate/step 1", "generate/step round-1"}),
        (8, 8, {"generate"}),
        (1, 8, {"generate"}),
    ],
)
def test_too_many_boxes_are_folded_further_and_no_job_is_lost(tmp_path, most, boxes, generate):
    found = run_of_two_rounds(tmp_path)
    graph = job_graph(found, most)
    assert len(graph.boxes) == boxes
    assert {box.name for box in graph.boxes if box.title == "generate"} == generate
    total = sum((Counter(box.states) for box in graph.boxes), Counter())
    assert total == Counter(one.state for one in found.jobs)
    assert graph.returns == ((("train", "generate"),) if boxes == 8 else ())


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_no_arrow_that_others_imply_and_none_that_is_needed_is_lost(pairs):
    edges = {(str(a), str(b)) for a, b in pairs if a < b}
    kept = without_shortcuts(edges)
    assert kept <= edges
    assert closure(kept) == closure(edges)
    assert all(closure(kept - {edge}) != closure(edges) for edge in kept)


def closure(edges):
    found = set(edges)
    while more := {(a, d) for (a, b), (c, d) in itertools.product(found, found) if b == c} - found:
        found |= more
    return found


def test_counts_say_the_state_in_words():
    assert counts({DONE: 1200, STALE: 1, MISSING: 3}) == "1,200 done · 1 stale · 3 missing"
    assert counts({DONE: 1}) == "done"
    assert counts({MISSING: 2}) == "2 missing"


def test_boxes_are_filled_in_proportion(tmp_path):
    dot = job_graph_dot(job_graph(run_of_two_rounds(tmp_path)))
    line = next(line for line in dot.splitlines() if '"generate/step 1 · entropy" [' in line)
    thirds = ":".join(f"{FILLS[state]};0.333" for state in (DONE, STALE, MISSING))
    assert f'style="striped", fillcolor="{thirds}"' in line
    line = next(line for line in dot.splitlines() if '"evaluate/step 1 · untrained" [' in line)
    assert f'style="rounded,filled,dashed", fillcolor="{FILLS[MISSING]}"' in line
    assert "<b>evaluate</b>" in line
    assert ">missing<" in line


@pytest.mark.parametrize(
    ("done", "missing", "widths"), [(3, 1, ("0.750", "0.250")), (999, 1, ("0.952", "0.048"))]
)
def test_few_jobs_are_a_narrow_stripe_that_is_still_seen(tmp_path, done, missing, widths):
    jobs = [drawing_job(block, "policy", block, parents=()) for block in range(done)]
    jobs += [
        drawing_job(done + block, "policy", done + block, parents=(), cause=GONE) for block in range(missing)
    ]
    dot = job_graph_dot(job_graph(snapshot(tmp_path, jobs)))
    assert f"{FILLS[DONE]};{widths[0]}:{FILLS[MISSING]};{widths[1]}" in dot


def test_colours_differ_in_brightness_so_that_nobody_needs_the_hue():
    def brightness(colour: str) -> float:
        red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    shades = sorted(brightness(FILLS[state]) for state in (DONE, STALE, MISSING))
    assert min(b - a for a, b in itertools.pairwise(shades)) > 25


def test_the_legend_names_what_is_there(tmp_path):
    found = run_of_two_rounds(tmp_path)
    text = job_graph_dot(job_graph(found))
    assert all(words in text for words in ("done", "stale: there, to be made again", "missing: to be made"))
    assert "next round" not in text
    assert "to the next round" in rule_graph_dot(rule_graph(found))


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it(tmp_path):
    found = run_of_two_rounds(tmp_path)
    path = tmp_path / "pictures" / "jobs.svg"
    draw(job_graph_dot(job_graph(found)), path)
    svg = path.read_text()
    assert len(re.findall(r'class="node"', svg)) == 12
    assert "step 1 · policy" in svg


def test_without_graphviz_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install graphviz"):
        draw("digraph {}", tmp_path / "x.svg")
