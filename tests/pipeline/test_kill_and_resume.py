"""SIGKILL of a generating job, of training and of Snakemake, at three moments each: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from workspace import Workspace, kill_group

pytestmark = pytest.mark.slow

JOURNAL = "completions/train/step-middle/kl_symmetry/00000-of-00002.block-0.jsonl.partial"


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Poll until something has happened; fail if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended before the moment came:\n{process.communicate()[0][-4000:]}"
        assert time.monotonic() < end, "the moment did not come"
        time.sleep(0.002)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def programs(space: Workspace, text: str) -> list[int]:
    """Processes of this workspace's own tests whose command line holds `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                folder = str((entry / "cwd").readlink())
            except OSError:
                continue
            if (
                text in command
                and folder == str(space.root)
                and command.startswith((sys.executable, "python"))
            ):
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def undisturbed(finished: Workspace) -> dict[str, dict[str, str]]:
    return {folder: finished.texts(folder) for folder in ("completions", "evaluation")}


def assert_same(space: Workspace, undisturbed: dict[str, dict[str, str]]) -> None:
    for folder, texts in undisturbed.items():
        assert space.texts(folder) == texts
    assert not list(space.results.rglob("*.partial"))
    assert not list(space.results.rglob("unfinished"))


@pytest.mark.parametrize("moment", [1, 17, 24])
def test_kill_of_a_generating_job(
    tmp_path: Path, finished: Workspace, undisturbed: dict[str, dict[str, str]], moment: int
) -> None:
    """Killed with 0, 16 and 23 of 24 completions in the journal (its first line is the header)."""
    space = finished.copy(tmp_path)
    target = space.results / JOURNAL.removesuffix(".partial")
    target.unlink()
    # One row at a time, so that the journal grows slowly enough to be hit in the middle.
    space.configure(lambda config: config["generation"].update(batch_size=1))
    process = space.start(str(target.relative_to(space.root)))
    wait_until(lambda: lines(space.results / JOURNAL) >= moment, process)
    for pid in programs(space, "generate.py"):
        os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    assert not target.exists()
    kept = lines(space.results / JOURNAL) - 1
    assert kept >= moment - 1
    outcome = space.run()
    assert_same(space, undisturbed)
    if kept:
        log = space.results / "logs/completions/train/step-middle/kl_symmetry/00000-of-00002.block-0.log"
        assert f"resumed {kept} of 24 completions" in log.read_text()
    assert outcome.jobs["generate_qstar"] == 1


@pytest.mark.parametrize("moment", ["loading", "first checkpoint", "last checkpoint"])
def test_kill_of_training(
    tmp_path: Path, finished: Workspace, undisturbed: dict[str, dict[str, str]], moment: str
) -> None:
    space = finished.copy(tmp_path)
    checkpoint = space.results / "checkpoints/step-middle/policy/n-4"
    (checkpoint / "manifest.json").unlink()
    reference = orjson.loads(
        (finished.results / "checkpoints/step-middle/policy/n-4/manifest.json").read_bytes()
    )
    marks: Callable[[], list[Path]] = lambda: sorted(checkpoint.glob("unfinished/checkpoint-*/whole"))  # noqa: E731
    conditions: dict[str, Callable[[], bool]] = {
        "loading": lambda: (
            bool(programs(space, "winnow.training.sft")) and (checkpoint / "unfinished").exists()
        ),
        "first checkpoint": lambda: len(marks()) >= 1,
        "last checkpoint": lambda: (checkpoint / "model.partial").exists() or len(marks()) >= 2,
    }
    process = space.start(str(checkpoint.relative_to(space.root) / "manifest.json"))
    wait_until(conditions[moment], process)
    for pid in programs(space, "winnow.training.sft"):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (checkpoint / "manifest.json").exists()
    whole = bool(marks())
    space.run()
    manifest = orjson.loads((checkpoint / "manifest.json").read_bytes())
    assert manifest["files"]["model.safetensors"] == reference["files"]["model.safetensors"]
    assert_same(space, undisturbed)
    if whole:
        log = space.results / "logs/checkpoints/step-middle/policy/n-4.log"
        assert "resumed from checkpoint-" in log.read_text()


@pytest.mark.parametrize("moment", ["generating", "training", "evaluating"])
def test_kill_of_snakemake_and_all_its_jobs(
    tmp_path: Path, finished: Workspace, undisturbed: dict[str, dict[str, str]], moment: str
) -> None:
    space = finished.copy(tmp_path)
    subprocess.run(["rm", "-r", "results"], cwd=space.root, check=True)
    conditions: dict[str, Callable[[], bool]] = {
        "generating": lambda: any(
            lines(p) > 3 for p in space.results.rglob("completions/train/**/*.partial")
        ),
        "training": lambda: bool(list(space.results.rglob("unfinished/checkpoint-*"))),
        "evaluating": lambda: any(
            lines(p) > 1 for p in space.results.glob("evaluation/step-middle/policy/**/*.partial")
        ),
    }
    process = space.start()
    wait_until(conditions[moment], process, seconds=400)
    kill_group(process)
    assert not programs(space, "winnow.training.sft")
    done = {path for path in space.results.rglob("*.block-0.jsonl") if ".diagnostics." not in path.name}
    stamps = {path: path.stat().st_mtime_ns for path in done}
    assert space.snakemake("--unlock").code == 0
    space.run("--rerun-incomplete")
    assert_same(space, undisturbed)
    again = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    # Only what Snakemake had not yet recorded as finished may be made again.
    assert len(again) <= 2, again


def test_only_snakemake_is_killed_and_its_job_goes_on(
    tmp_path: Path, finished: Workspace, undisturbed: dict[str, dict[str, str]]
) -> None:
    """An orphan still writes when the pipeline starts again: the two never write one journal together."""
    space = finished.copy(tmp_path)
    target = space.results / JOURNAL.removesuffix(".partial")
    target.unlink()
    space.configure(lambda config: config["generation"].update(batch_size=1))
    process = space.start(str(target.relative_to(space.root)))
    wait_until(lambda: lines(space.results / JOURNAL) >= 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert programs(space, "generate.py"), "the job has ended with its controller"
    assert space.snakemake("--unlock").code == 0
    space.run("--rerun-incomplete")
    assert_same(space, undisturbed)
