"""scripts/plan.py on the real DAG: what it says, and that it only looks."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from workspace import Workspace

SCORED = "results/small/scored/train/step-middle/policy/00000-of-00002.block-0.jsonl"


def plan(space: Workspace, *arguments: str) -> dict[str, Any]:
    """The plan as JSON."""
    outcome = space.program("plan", "--json", "plan.json", "--cores", "2", *arguments)
    assert outcome.code == 0, outcome.text
    return orjson.loads((space.root / "plan.json").read_bytes())


def plans(space: Workspace, *lines: str) -> list[dict[str, Any]]:
    """The plans of several command lines, from one process."""
    program = (
        "import json, sys\n"
        "from winnow.workflow.dry_run import take_snapshot\n"
        "from winnow.workflow.plan import make_plan\n"
        "lines = [line.split() for line in sys.argv[1:]]\n"
        "print(json.dumps([make_plan(take_snapshot(line)).to_json() for line in lines]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *lines],
        cwd=space.root,
        env=space.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return orjson.loads(done.stdout)


def reasons(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Stage → reason → jobs, without those that only follow."""
    return {
        stage["stage"]: why
        for stage in found["stages"]
        if (why := {one["words"]: one["jobs"] for one in stage["why"] if not one["follows"]})
    }


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of a checkout with its size and time stamp, caches left out."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and not {"__pycache__", ".cache"} & set(path.parts) and path.name != "plan.json"
    }


def test_a_plan_says_what_changed_and_leaves_no_trace(space: Workspace) -> None:
    before = state(space.root)
    nothing = plan(space)
    assert (nothing["jobs"], nothing["seconds"]) == (0, 0)
    # 3 arms of 4 samples on 12 prompts, and 2 on 6 held-out ones for 2 steps and 1 checkpoint.
    assert nothing["reused_completions"] == 3 * 12 * 4 + 3 * 6 * 2
    assert nothing["reused_jobs"] == sum(sum(stage["states"].values()) for stage in nothing["stages"])
    assert state(space.root) == before

    def colder_and_longer(config: dict[str, Any]) -> None:
        config["generation"].update(temperature=0.8, max_new_tokens=32)
        config["selection"] = {"scorer": "exact_answer", "max_per_prompt": 2}

    space.configure(colder_and_longer)
    before = state(space.root)
    found = plan(space)
    why = reasons(found)
    assert why["generate"] == {
        "temperature changed from 1.0 to 0.8": 6,
        "max_new_tokens changed from 48 to 32": 6,
    }
    assert why["generate_heldout"] == {"max_new_tokens changed from 48 to 32": 3}
    assert list(why["select"]) == ["max_per_prompt set to 2"]
    dry_run = space.plan().jobs
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert stages["generate"]["jobs"] == dry_run["generate"] + dry_run["generate_qstar"]
    assert found["jobs"] == sum(dry_run.values())
    assert stages["generate"]["states"] == {"stale": 6}
    assert found["total"]["completions"] == 3 * 12 * 4 + 3 * 6 * 2
    assert found["total"]["unknown_seconds"] == found["total"]["unknown_tokens"] == 0
    assert 0 < found["total"]["tokens"] < found["total"]["completions"] * 49
    after = state(space.root)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= {
        # Snakemake's own dry run, above, leaves what it found.
        ".snakemake/iocache/latest.pkl"
    }


def test_arguments_are_those_of_snakemake(space: Workspace) -> None:
    forced, other_run, again = plans(space, "--forcerun train", "--config run=another", "--forceall")
    assert reasons(forced) == {"train": {"forced by --forcerun": 1}}
    assert [stage["stage"] for stage in forced["stages"] if stage["jobs"]] == [
        "train", "generate_heldout", "score_heldout", "evaluate", "summarize",
    ]  # fmt: skip
    assert {source for stage in other_run["stages"] for source in stage["sources"]} == {"run small"}
    # The same work has been done there, so it is expected to take the same time.
    assert other_run["total"]["seconds"] == pytest.approx(again["total"]["seconds"], rel=0.3)
    assert (other_run["reused_jobs"], again["reused_jobs"]) == (0, 0)
    shutil.rmtree(space.results / "completions/train/step-late")
    block = "results/small/completions/train/step-late/policy/00000-of-00002.block-0.jsonl"
    deleted, until, omit, target = plans(space, "", "--until select", "--omit-from score", block)
    assert reasons(deleted) == {"generate": {"completions deleted": 2}}
    assert (until["jobs"], omit["jobs"], target["jobs"]) == (2 + 2 + 1, 2, 1)


def test_an_interrupted_job_and_its_journal(space: Workspace) -> None:
    output = space.results / "completions/train/step-late/policy/00000-of-00002.block-0.jsonl"
    lines = output.read_bytes().splitlines(keepends=True)
    output.with_name(output.name + ".partial").write_bytes(b"{}\n" + b"".join(lines[:9]))
    output.unlink()
    found = plan(space)
    assert found["resumed_completions"] == 9
    assert found["total"]["completions"] == len(lines) - 9 == 15

    # So Snakemake marks an output that it began.
    marker = space.root / ".snakemake/incomplete" / base64.urlsafe_b64encode(SCORED.encode()).decode()
    marker.write_text('{"external_jobid": null}')
    found = plan(space)
    assert found["interrupted"] == 1
    assert reasons(found)["score"] == {"an earlier run was interrupted while it wrote, or still runs": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--delete-all-output"], "give it to snakemake: snakemake --delete-all-output"),
        (["--config", "nonsense=1"], "unknown key 'nonsense'"),
        (["nowhere"], "No rule to produce nowhere"),
    ],
)
def test_what_is_no_run_is_refused_and_changes_nothing(
    finished: Workspace, arguments: list[str], message: str
) -> None:
    before = state(finished.root)
    outcome = finished.program("plan", *arguments)
    assert outcome.code != 0
    assert outcome.text.count(message) == 1, outcome.text
    assert state(finished.root) == before
