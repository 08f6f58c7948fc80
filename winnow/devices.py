"""Which GPUs a job may use: those that a cluster gave it, or those that it leases from its own machine.

Snakemake counts GPUs but does not hand them out. On a machine of one's own, jobs side by side would
all take the first. Here each job locks a file for every GPU that it takes; the lock lives as long as
its process does, so that a killed job gives its GPUs back.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from winnow.errors import UserError

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
SHARDED = "sharded"
"""In a device's place: over all GPUs that the process sees, as transformers lays it out (device_map)."""
WAIT_SECONDS = 0.5
HANDED_OUT_BY = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
"""A scheduler that has set one of these has chosen the GPUs already."""


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there is none.

    Without that variable, all of the machine's: counted in /dev, for importing torch takes seconds.
    """
    if VISIBLE in environment:
        return [name for name in environment[VISIBLE].split(",") if name not in ("", "-1", "NoDevFiles")]
    return [str(index) for index, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def add_devices(group: argparse._ActionsContainer, what: str) -> None:
    """Add --devices, and --gres for jobs that were asked for in SLURM's other words."""
    group.add_argument("--devices", type=int, default=1, help=what)
    group.add_argument("--gres", default="", help="instead: as sbatch takes it, gpu:h100:4; on each node")


def devices_a_node(devices: int, gres: str = "", nodes: int = 1) -> int:
    """The GPUs of a job on each of its nodes, from --devices or --gres.

    Raises:
        UserError: a --gres without a count of GPUs, or GPUs that cannot be shared evenly by the nodes.
    """
    if gres:
        name, _, count = gres.rpartition(":")
        if name.split(":")[0] != "gpu" or not count.isdigit():
            raise UserError(
                "--gres", f"{gres!r}", "gpu:4 or gpu:<model>:4", "correct the job's resource gres"
            )
        return int(count)
    if devices % nodes:
        raise UserError(
            "--devices",
            f"{devices} over {nodes} nodes",
            "as many on each node",
            "make the job's resource gpu, which counts all nodes, a multiple of its nodes",
        )
    return devices // nodes


@contextmanager
def lease(count: int, folder: Path | None = None) -> Iterator[list[str]]:
    """Hold `count` GPUs, and make them the only visible ones; yields their names.

    Yields every visible GPU where a scheduler has chosen them, and none where the machine has none: the
    programs run on its CPU then. Waits until enough are free. The locks are inherited by a program that
    takes this one's place, and end with it.

    Args:
        count: how many; 0 hides all GPUs of a machine without a scheduler.
        folder: where the lock files lie; one place for all users' jobs of this machine by default.

    Raises:
        UserError: fewer than `count` are visible (but not none).
    """
    names = visible()
    if any(variable in os.environ for variable in HANDED_OUT_BY) or not names:
        _check(count, names, "the job was given")
        yield names
        return
    _check(count, names, "this machine shows")
    locks = _wait_for(count, names, folder or Path(tempfile.gettempdir()) / "winnow-devices")
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(locks)
    try:
        yield list(locks)
    finally:
        for lock in locks.values():
            os.close(lock)
        os.environ.pop(VISIBLE)
        if before is not None:
            os.environ[VISIBLE] = before


@contextmanager
def held(device: str, count: int) -> Iterator[list[str]]:
    """The GPUs to draw with; a device that is named (cpu, cuda:1) is the user's own choice.

    Args:
        device: auto, cpu, cuda, cuda:1 …, sharded.
        count: GPUs to lease for auto, cuda and sharded.

    Raises:
        UserError: fewer than `count` are visible (but not none).
    """
    if device not in ("auto", "cuda", SHARDED):
        yield [device] if device != "cpu" else []
        return
    with lease(count) as devices:
        yield devices[:count]


def _check(count: int, names: list[str], who: str) -> None:
    if names and count > len(names):
        raise UserError(
            "--devices",
            f"{count}, but {who} {len(names)} ({VISIBLE}={','.join(names)})",
            f"at most {len(names)}",
            "lower `gpu` of this stage under resources in the config, or run where there are more",
        )


def _wait_for(count: int, names: list[str], folder: Path) -> dict[str, int]:
    """Lock `count` of the named GPUs: all at once or none, so that two jobs never wait for each other."""
    _open_to_all(folder)
    told = False
    while True:
        held: dict[str, int] = {}
        for name in names:
            if len(held) == count:
                break
            lock = _try_lock(folder / f"{name.replace('/', '_')}.lock")
            if lock is not None:
                held[name] = lock
        if len(held) == count:
            return held
        for lock in held.values():
            os.close(lock)
        if not told:
            log.info("waiting for %d of the GPUs %s: other jobs hold them", count, ", ".join(names))
            told = True
        time.sleep(WAIT_SECONDS)


def _open_to_all(folder: Path) -> None:
    """Make the folder, so that other users' jobs can lock the same GPUs whatever the umask."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(0o777)


def _try_lock(path: Path) -> int | None:
    # Read only: another user's file cannot be written, and a lock needs no more.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o444)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    # A program that takes this one's place, and the workers that it starts, go on holding the GPU.
    os.set_inheritable(descriptor, True)
    return descriptor
