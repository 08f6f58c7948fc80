"""A workspace whose jobs run on the cluster, and what the jobs saw there."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Cluster
from workspace import Workspace, kill_group

PATIENCE = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10")


def long_generation(config: dict[str, Any]) -> None:
    """One shard; small enough for a first block of plain sampling, and training, in seconds."""
    config["data"]["train"].update(num_samples=120, shards=1)
    config["generation"].update(batch_size=64)
    config["resources"] = {
        "generate": {"gpu": 1, "mem_mb": 1200, "runtime": 1, "threads": 1},
        "train": {"gpu": 1, "mem_mb": 1500, "runtime": 5, "threads": 1},
    }
    config["training"].update(max_epochs=4, train_batch_size=8, micro_train_batch_size=4)


class SlurmWorkspace(Workspace):
    """A checkout whose `start` submits to the cluster; `run` stays on this machine."""

    cluster: Cluster
    submitted: list[subprocess.Popen[str]]

    @classmethod
    def of(cls, space: Workspace, cluster: Cluster) -> SlurmWorkspace:
        """The same files, with a cluster."""
        found = cls(space.root)
        found.cluster = cluster
        found.submitted = []
        return found

    def submit(self, *arguments: str, profile: str = "slurm", **variables: str) -> subprocess.Popen[str]:
        """Start Snakemake with the profile, its words in snakemake.out."""
        command = [*self.command()[:3], "--profile", profile, *PATIENCE, *arguments]
        with (self.root / "snakemake.out").open("a") as output:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**self.environment(), **variables},
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.submitted.append(process)
        return process

    def end(self) -> None:
        """Leave nothing running, also after a test that failed."""
        for process in self.submitted:
            if process.poll() is None:
                kill_group(process)
        running = [job for job in self.cluster.jobs() if job["WorkDir"] == str(self.root)]
        for job in running:
            if job["JobState"] in ("RUNNING", "PENDING"):
                self.cluster.command("scancel", job["JobId"])

    @property
    def said(self) -> str:
        """What Snakemake has said so far."""
        return (self.root / "snakemake.out").read_text()

    def finish(self, process: subprocess.Popen[str], seconds: float = 600) -> None:
        """Wait for a good end."""
        assert process.wait(seconds) == 0, self.said[-6000:]

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """The cluster's jobs of a rule of this workspace, the oldest first."""
        mine = [
            job
            for job in self.cluster.jobs()
            if job["WorkDir"] == str(self.root)
            and job.get("Comment", "").startswith(f"rule_{rule}_wildcards")
        ]
        return sorted(mine, key=lambda job: int(job["JobId"]))

    def until(
        self, condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240
    ) -> None:
        """Poll until something has happened; fail if Snakemake ends before."""
        end = time.monotonic() + seconds
        while not condition():
            assert process.poll() is None, f"it ended before the moment came:\n{self.said[-4000:]}"
            assert time.monotonic() < end, f"the moment did not come:\n{self.said[-4000:]}"
            time.sleep(0.05)


@dataclass(frozen=True)
class Seen:
    """A program of scripts/ that ran in a job."""

    program: str
    job: str
    node: str
    devices: str


@contextmanager
def watching(root: Path) -> Iterator[set[Seen]]:
    """Collect the programs of a workspace that run in jobs, with what their environments say."""
    seen: set[Seen] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            seen.update(_running(root))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _running(root: Path) -> Iterator[Seen]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # Of any process of the machine: not all of them speak UTF-8.
            words = (entry / "cmdline").read_text(errors="replace").split("\0")
            program = _program(words)
            if program is None:
                continue
            if (entry / "cwd").resolve() != root:
                continue
            pairs = (entry / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if "SLURM_JOB_ID" in variables:
            yield Seen(
                program,
                variables["SLURM_JOB_ID"],
                variables.get("SLURMD_NODENAME", ""),
                variables.get("CUDA_VISIBLE_DEVICES", ""),
            )


def _program(words: list[str]) -> str | None:
    """The program of scripts/ that a process is, or was: training becomes its launcher within a moment."""
    if "winnow.training.sft" in words:
        return "train"
    return Path(words[1]).stem if len(words) > 1 and words[1].startswith("scripts/") else None
