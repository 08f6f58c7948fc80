"""What a real run says of itself: its progress, its failures, and what it cost."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import orjson
import pytest
from workspace import Workspace

from winnow import attempts

PROGRESS = re.compile(r"^\d\d:\d\d:\d\d \d+ of \d+ jobs", re.MULTILINE)
SCORED = "scored/train/step-late/policy/00001-of-00002.block-0.jsonl"
DRAWN = "completions/train/step-middle/kl_symmetry/00000-of-00002.block-0.jsonl"


def rows(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def summary(space: Workspace) -> dict:
    return orjson.loads((space.results / "summary.json").read_bytes())


def account(space: Workspace, output: str) -> list[attempts.Record]:
    return attempts.read(space.results / f"logs/{output.removesuffix('.jsonl')}.log.attempts")


def test_the_ledger_adds_up_to_the_benchmarks_and_the_completions(finished: Workspace) -> None:
    found, results = summary(finished), finished.results
    benchmarks = [path for path in results.glob("benchmarks/**/*.jsonl") if path.stem != "summary"]
    seconds = sum(row["s"] for path in benchmarks for row in rows(path))
    drawn = [
        row
        for path in [
            *results.glob("completions/**/*.jsonl"),
            *results.glob("evaluation/**/completions/*.jsonl"),
        ]
        if ".diagnostics." not in path.name
        for row in rows(path)
    ]
    for sums in (found["ledger"], found["ledger_stages"], [found["ledger_totals"]]):
        assert sum(row["seconds"] for row in sums) == pytest.approx(seconds, abs=0.01)
        assert sum(row["jobs"] for row in sums) == len(benchmarks)
        assert sum(row["attempts"] for row in sums) == len(benchmarks)
        assert sum(row["completions"] or 0 for row in sums) == len(drawn)
        tokens = sum(row["completion_tokens"] for row in drawn)
        assert sum(row["completion_tokens"] or 0 for row in sums) == tokens
    prompts = {(row["step"], row["alpha"], row["prompt_id"]): row["prompt_tokens"] for row in drawn}
    assert found["ledger_totals"]["prompt_tokens"] == sum(prompts.values()), "each once: there is one block"
    cost = {(arm["step"], arm["alpha"]): arm["cpu_hours"] for arm in found["arms"]}
    assert cost["middle", "policy"] > cost["late", "policy"] > 0, "one was trained and evaluated, too"
    for output in (SCORED, DRAWN):
        (record,) = account(finished, output)
        assert record.outcome == "done"
        assert record.figures["completions"] == 24
    (trained,) = account(finished, "checkpoints/step-middle/policy/n-4")
    assert trained.outcome == "done"
    assert trained.figures["steps"] == trained.figures["total"] > 0


def test_progress_is_told_while_it_runs_and_from_any_shell(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = space.results / ".plan.json"
    plan.unlink()
    target = f"results/small/{SCORED}"
    (space.results / SCORED).unlink()
    monkeypatch.setenv("WINNOW_PROGRESS_SECONDS", "0.05")
    assert not PROGRESS.search(space.plan(target).text)
    assert not plan.exists()
    text = space.run(target).text
    assert re.search(r"^\d\d:\d\d:\d\d 0 of 1 jobs · score 0 of 1", text, re.MULTILINE), text
    told = space.program("progress", "--run_dir", str(space.results))
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1 of 1 jobs · \d+ % passed\n", told.text), told.text
    (space.results / SCORED).unlink()
    assert not PROGRESS.search(space.run(target, "--quiet", "progress").text)
    assert space.program("progress", "--run_dir", "results/none").code == 2


def test_a_failed_job_is_told_with_its_log_once(space: Workspace) -> None:
    (space.results / SCORED).unlink()
    completions = space.results / SCORED.replace("scored", "completions")
    completions.write_bytes(b"broken\n" + completions.read_bytes())
    target = f"results/small/{SCORED}"
    log = f"results/small/logs/{SCORED.removesuffix('.jsonl')}.log"
    quiet = space.snakemake("--quiet", "rules", "--", target)
    assert quiet.code != 0
    told = quiet.text.partition("1 job failed:\n")[2].splitlines()
    assert told[0] == "  score step=late alpha=policy shard=00001-of-00002 block=0"
    assert told[1] == f"    log: {log}"
    assert told[2].startswith("      error: results/small/completions/train/step-late/policy/")
    assert told[4].startswith("        to mend: ")
    assert (space.root / log).is_file()
    # Here Snakemake shows the log itself.
    loud = space.snakemake("--", target)
    assert loud.text.count("  to mend: ") == 1
    assert "1 job failed:\n  score step=late" in loud.text


def beat_often(space: Workspace) -> None:
    """Sign an attempt's life many times while it draws: the real interval may be longer than all of it."""
    program = space.root / "winnow" / "attempts.py"
    text = program.read_text()
    assert f"BEAT_SECONDS = {attempts.BEAT_SECONDS}" in text
    program.write_text(text.replace(f"BEAT_SECONDS = {attempts.BEAT_SECONDS}", "BEAT_SECONDS = 0.1"))


@pytest.mark.slow
def test_a_killed_attempt_is_paid_for(space: Workspace, finished: Workspace) -> None:
    (space.results / DRAWN).unlink()
    space.configure(lambda config: config["generation"].update(batch_size=1))
    beat_often(space)
    process = space.start(f"results/small/{DRAWN}")
    killed = False
    end = time.monotonic() + 240
    while not killed:
        assert process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < end
        last = account(space, DRAWN)[-1]
        if last.outcome == "running" and last.figures["completions"]:
            os.killpg(process.pid, signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    process.communicate()
    told = space.program("progress", "--run_dir", str(space.results)).text
    assert "Snakemake has ended" in told
    assert f"logs/{DRAWN.removesuffix('.jsonl')}.log" in told
    assert space.snakemake("--unlock").code == 0
    space.run("--rerun-incomplete")
    first, cut, resumed = account(space, DRAWN)
    assert (first.outcome, cut.outcome, resumed.outcome) == ("done", "running", "done")
    assert resumed.found["completions"] >= cut.figures["completions"] > 0
    rerun = rows(space.results / f"benchmarks/{DRAWN}")[0]["s"]
    (entry,) = [
        row
        for row in summary(space)["ledger"]
        if row["stage"] == "generate" and row["alpha"] == "kl_symmetry"
    ]
    other = rows(space.results / f"benchmarks/{DRAWN.replace('00000-of', '00001-of')}")[0]["s"]
    assert entry["attempts"] == 4
    # The first result was removed and is paid for as well.
    assert entry["seconds"] == pytest.approx(first.seconds + cut.seconds + rerun + other, abs=0.01)
    assert entry["earlier_cpu_hours"] > 0
    before = [row for row in summary(finished)["ledger"] if row["stage"] == "generate"]
    after = [row for row in summary(space)["ledger"] if row["stage"] == "generate"]
    for key in ("completions", "prompt_tokens", "completion_tokens"):
        assert [row[key] for row in after] == [row[key] for row in before]
