"""The DAG through servers; server, job and Snakemake are killed at random. Nothing is lost or left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from marked import Marked
from test_served import BLOCKS, STAND_IN, served
from workspace import ROOT, Workspace, kill_group

pytestmark = pytest.mark.slow

TARGETS = [
    f"{BLOCKS}/step-middle/{alpha}/{shard}-of-00002.block-0.jsonl"
    for alpha in ("policy", "teacher")
    for shard in ("00000", "00001")
]
PROMPTS = 60
REAL = "WINNOW_CHAOS"
"""Set in the environment: the servers that are killed are vLLM's own. It starts some fifteen of them."""


def test_ten_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PYTHONPATH", str(STAND_IN)), ("STAND_IN", "slow")):
        monkeypatch.setenv(name, value)
    space = killed_ten_times(tmp_path, monkeypatch, PROMPTS, until_killed=(0.0, 0.6), seconds=400)
    assert all(row["text"].endswith(f"#{row['seed']}") for row in drawn(space))


@pytest.mark.skipif(not os.environ.get(REAL), reason=f"takes half an hour; {REAL}=1 and make vllm for it")
def test_ten_kills_of_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = ROOT / ".venv-vllm" / "bin" / "python"
    assert python.exists(), "make vllm"
    monkeypatch.setenv("WINNOW_VLLM_PYTHON", str(python))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    # A start takes 30 to 60 s: some are killed in it, some while they answer.
    space = killed_ten_times(tmp_path, monkeypatch, 6 * PROMPTS, until_killed=(0.0, 75.0), seconds=2400)
    assert {row["finish_reason"] for row in drawn(space)} <= {"stop", "length"}


def killed_ten_times(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    prompts: int,
    until_killed: tuple[float, float],
    seconds: float,
) -> Workspace:
    """Run the DAG to its end through ten kills; nothing may be lost, doubled or left behind.

    Args:
        prompts: that are asked.
        until_killed: seconds that each victim gets at least and at most.
        seconds: for all.
    """
    marked, source = Marked(), random.Random(7)
    monkeypatch.setenv("MARK", marked.mark)
    space = Workspace.fresh(folder)
    space.configure(lambda config: slowly_served(config, prompts))
    victims = ["server"] * 4 + ["job"] * 3 + ["snakemake"] * 3
    source.shuffle(victims)
    run: subprocess.Popen[str] | None = None
    end = time.monotonic() + seconds
    while victims:
        assert time.monotonic() < end, f"still to be killed: {victims}"
        if run is None or run.poll() is not None:
            run = start(space)
        server = wait_for(marked, run)
        time.sleep(source.uniform(*until_killed))
        assert not finished(space), f"all was drawn before these were killed: {victims}"
        if victims[-1] == "snakemake":
            kill_group(run)
            run = None
        elif not killed(server if victims[-1] == "server" else job_of(marked)):
            # It ended meanwhile; the next one is met.
            continue
        victims.pop()
    if run is not None and run.poll() is None:
        run.communicate(timeout=seconds)
    space.snakemake("--unlock")
    space.run("--rerun-incomplete", *TARGETS, timeout=seconds)
    for target in TARGETS:
        counts = Counter(row["prompt_id"] for row in rows(space, target))
        assert len(counts) == prompts // 2
        assert set(counts.values()) == {4}
    assert marked.gone()
    return space


def rows(space: Workspace, target: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (space.root / target).read_bytes().splitlines()]


def drawn(space: Workspace) -> list[dict[str, Any]]:
    return [row for target in TARGETS for row in rows(space, target)]


def slowly_served(config: dict[str, Any], prompts: int) -> None:
    served(config)
    config["serving"] = {"concurrency": 1}
    config["data"]["train"]["num_samples"] = prompts


def start(space: Workspace) -> subprocess.Popen[str]:
    space.snakemake("--unlock")
    return space.start("--rerun-incomplete", "--retries", "2", *TARGETS)


def finished(space: Workspace) -> bool:
    return all((space.root / target).exists() for target in TARGETS)


def killed(pid: int | None) -> bool:
    """Kill a process; whether there was one. Never 0: that is everybody here."""
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for(marked: Marked, run: subprocess.Popen[str]) -> int | None:
    """A server that runs; None when the run has ended before there was one."""
    end = time.monotonic() + 120
    while time.monotonic() < end and run.poll() is None:
        with suppress(AssertionError, OSError):
            return marked.server()
        time.sleep(0.02)
    return None


def job_of(marked: Marked) -> int | None:
    """A generate job, if one runs."""
    for pid in marked.alive():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if len(command) > 1 and command[1].endswith(b"scripts/generate.py"):
                return pid
    return None
