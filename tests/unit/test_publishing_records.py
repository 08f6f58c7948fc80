"""Where publish.py finds Snakemake's records of a run's jobs, and what it says of those that it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import finished_run
import pytest

from winnow import jsonl, working_directory
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.publishing.card import card
from winnow.publishing.job_records import JobRecords, record_name
from winnow.publishing.recipe import unrecorded
from winnow.publishing.run_files import read_run

ROOT = Path(__file__).parents[2]
ARM = Arm("460", "policy", 4)
ALL = ["prompts", *(f"{stage} {ARM.path}" for stage in ("generate", "score", "select", "export"))]
SCORING_ONLY = [f"score {ARM.path}"]
"""The one stage of which the finished run has no block."""


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> finished_run.FinishedRun:
    """A run whose results are an absolute path, far from where Snakemake ran and from here."""
    run = finished_run.FinishedRun(tmp_path / "work", results=tmp_path / "scratch" / "results")
    run.add_arm(ARM)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run


def lacking(results: Path, workdir: Path | None = None) -> list[str]:
    return unrecorded(read_run(results, [ARM], (), workdir))


def test_results_that_lie_elsewhere(apart: finished_run.FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(apart.results) == ALL
    assert lacking(apart.results, apart.root) == SCORING_ONLY
    found = read_run(apart.results, [ARM], (), apart.root)
    text = card(found, "someone/small", "main", None)
    assert "--seed 17" in text and "scripts/select.py" in text
    assert "Of these stages there is no record: score step-460/policy/n-4." in text
    monkeypatch.chdir(apart.root)
    assert lacking(apart.results) == SCORING_ONLY, "the current folder has them"
    assert lacking(Path(os.path.relpath(apart.results))) == SCORING_ONLY


def test_the_run_itself_tells(apart: finished_run.FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(apart.root)
    working_directory.note(str(apart.results))
    monkeypatch.chdir("/")
    assert lacking(apart.results) == SCORING_ONLY
    shutil.rmtree(apart.root)
    assert lacking(apart.results) == ALL, "it is gone"


def test_the_files_of_what_was_selected_are_still_compared(apart: finished_run.FinishedRun) -> None:
    """Their checksums are in the records: found again, they are held against the files."""
    path = apart.results / "selected" / ARM.path / "accepted.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(UserError, match="it was made of another"):
        read_run(apart.results, [ARM], (), apart.root)


def test_results_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``results`` of the working directory is a link to a larger disk."""
    work, disk = tmp_path / "work", tmp_path / "disk"
    run = finished_run.FinishedRun(work)
    run.add_arm(ARM)
    shutil.move(work / "results", disk)
    (work / "results").symlink_to(disk)
    monkeypatch.chdir("/")
    assert lacking(run.results) == SCORING_ONLY, "by the link"
    assert lacking(disk / "small") == ALL
    assert lacking(disk / "small", work) == ALL, "nothing says by which name the link has it"
    monkeypatch.chdir(work)
    working_directory.note("results/small")
    monkeypatch.chdir("/")
    assert lacking(disk / "small") == SCORING_ONLY
    assert lacking(disk / "small", work) == SCORING_ONLY


def test_the_number_of_shards_was_changed(tmp_path: Path) -> None:
    """What was made of other shards lies beside what was published, and sorts before it."""
    run = finished_run.FinishedRun(tmp_path)
    run.add_arm(ARM)
    run.record(
        run.results / "selected" / ARM.path / "accepted.jsonl", "select", "select.py", "--num_shards=2"
    )
    for folder, program, flags in (
        ("prompts/train/00000-of-00002", "prompts.py", "--dataset=new.jsonl"),
        (f"completions/train/step-{ARM.step}/{ARM.alpha}/00000-of-00002.block-0", "generate.py", "--seed=18"),
    ):
        path = run.results / f"{folder}.jsonl"
        jsonl.write_text(path, "")
        run.record(path, program.partition(".")[0], program, flags)
    found = read_run(run.results, [ARM], ())
    assert found.prompts is not None and found.prompts.first("dataset") == "new.jsonl"
    assert found.arms[0].records["generate"].first("seed") == "18"


def test_what_was_killed_in_one_folder_and_finished_in_another(
    apart: finished_run.FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = apart.results / "selected" / ARM.path / "statistics.json"
    killed = tmp_path / "killed"
    mark = killed / ".snakemake/incomplete" / record_name(str(statistics))
    mark.parent.mkdir(parents=True)
    mark.touch()
    for folder in (apart.root, killed):
        monkeypatch.chdir(folder)
        working_directory.note(str(apart.results))
    with pytest.raises(UserError, match="its job runs, or was killed"):
        lacking(apart.results)
    # Finished from the first folder, which has a record of it and was the last to run.
    monkeypatch.chdir(apart.root)
    working_directory.note(str(apart.results))
    apart.record(statistics, "select", "select.py", "--strategy=correct")
    monkeypatch.chdir("/")
    assert lacking(apart.results) == SCORING_ONLY
    # Where it runs again, it is being written.
    again = apart.root / ".snakemake/incomplete" / record_name(str(statistics))
    again.parent.mkdir(parents=True)
    again.touch()
    with pytest.raises(UserError, match="its job runs, or was killed"):
        lacking(apart.results)


def test_a_folder_without_records(apart: finished_run.FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--workdir .*here: no \.snakemake/metadata in it"):
        lacking(apart.results, tmp_path / "here")


def test_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results" / "x"
    assert working_directory.noted(results) == []
    for name in ("a", "b", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        working_directory.note(str(results))
    assert [each.folder.name for each in working_directory.noted(results)] == ["a", "b"], "the last one first"
    for spoilt in ([1], [{"folder": "x"}], [{"folder": None, "results": "x"}]):
        jsonl.write_json(results / working_directory.NOTE, spoilt)
        with pytest.raises(UserError, match=r"snakemake\.json: no note"):
            working_directory.noted(results)


@pytest.mark.slow
def test_where_snakemake_puts_them(tmp_path: Path) -> None:
    """The records of a workflow with absolute results, as the installed Snakemake writes them."""
    (tmp_path / "work").mkdir()
    results = tmp_path / "scratch" / "x"
    (tmp_path / "work" / "Snakefile").write_text(f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from winnow.working_directory import note

rule all:
    output: "{results}/selected/accepted.jsonl",
    shell: "true scripts/select.py --seed 3 && touch {{output}}"

onstart:
    note({str(results)!r})
""")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
    subprocess.run(command, cwd=tmp_path / "work", check=True, capture_output=True, timeout=80)
    record = JobRecords(results).of(results / "selected" / "accepted.jsonl")
    assert record is not None
    assert (record.program, record.options) == ("select.py", {"seed": ("3",)})
