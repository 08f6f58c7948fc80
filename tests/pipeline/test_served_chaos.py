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
from workspace import Workspace, kill_group

pytestmark = pytest.mark.slow

TARGETS = [
    f"{BLOCKS}/step-middle/{alpha}/{shard}-of-00002.block-0.jsonl"
    for alpha in ("policy", "teacher")
    for shard in ("00000", "00001")
]
PROMPTS = 60


def test_ten_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked, source = Marked(), random.Random(7)
    for name, value in (("PYTHONPATH", str(STAND_IN)), ("STAND_IN", "slow"), ("MARK", marked.mark)):
        monkeypatch.setenv(name, value)
    space = Workspace.fresh(tmp_path)
    space.configure(slowly_served)
    victims = ["server"] * 4 + ["job"] * 3 + ["snakemake"] * 3
    source.shuffle(victims)
    run: subprocess.Popen[str] | None = None
    end = time.monotonic() + 400
    while victims:
        assert time.monotonic() < end, f"still to be killed: {victims}"
        if run is None or run.poll() is not None:
            run = start(space)
        server = wait_for(marked, run)
        time.sleep(source.uniform(0.0, 0.6))
        assert not finished(space), f"all was drawn before these were killed: {victims}"
        if victims[-1] == "snakemake":
            kill_group(run)
            run = None
        elif not killed(server if victims[-1] == "server" else job_of(marked)):
            # It ended meanwhile; the next one is met.
            continue
        victims.pop()
    if run is not None and run.poll() is None:
        run.communicate(timeout=120)
    space.snakemake("--unlock")
    space.run("--rerun-incomplete", *TARGETS)
    for target in TARGETS:
        rows = [orjson.loads(line) for line in (space.root / target).read_bytes().splitlines()]
        counts = Counter(row["prompt_id"] for row in rows)
        assert len(counts) == PROMPTS // 2
        assert set(counts.values()) == {4}
        assert all(row["text"].endswith(f"#{row['seed']}") for row in rows)
    assert marked.gone()


def slowly_served(config: dict[str, Any]) -> None:
    served(config)
    config["serving"] = {"concurrency": 1}
    config["data"]["train"]["num_samples"] = PROMPTS


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
