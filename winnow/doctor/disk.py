"""Where results and models lie: room, quota, files, and whether the file system does what jobs need."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from winnow.doctor.commands import ask, user_name
from winnow.doctor.finding import FAIL, OK, WARN, Finding

GB = 10**9
LEAST_GB = 1.0
FEWEST_FILES = 20_000
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"}
"""File systems that other nodes of a cluster do not see, as a rule."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system: its device, where it hangs, and its type."""

    device: str
    point: str
    kind: str


@dataclass(frozen=True)
class Quota:
    """What a user has used of a file system, and may use; bytes, files, None for no limit."""

    used: int
    limit: int | None
    files: int
    file_limit: int | None


def check(results: Path, cache: Path, need_gb: float) -> Iterator[Finding]:
    """The folder of the results and the hub's cache.

    Args:
        results: where results will lie; it need not be there yet.
        cache: where models and data sets from the hub are kept.
        need_gb: room (GB) below which it may get tight.
    """
    yield from folder(results, "results", need_gb)
    if standing(cache).stat().st_dev != standing(results).stat().st_dev:
        yield from folder(cache, "hub cache", need_gb)


def folder(path: Path, name: str, need_gb: float) -> Iterator[Finding]:
    """All that can be said about a folder's file system."""
    here = standing(path)
    mount = mount_of(here, read_mounts())
    yield space(path, here, mount, name, need_gb)
    quota = quota_of(mount)
    if quota is not None:
        yield within_quota(quota, mount, name, need_gb)
    yield writable(path, here, name)


def standing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.expanduser().absolute()
    while not path.is_dir():
        path = path.parent
    return path


def space(path: Path, here: Path, mount: Mount, name: str, need_gb: float) -> Finding:
    """Free room and free inodes."""
    status = os.statvfs(here)
    free_gb = status.f_bavail * status.f_frsize / GB
    found = f"{free_gb:,.0f} GB free at {path} ({mount.kind})"
    mend = "clear up, or keep results elsewhere: `results: /path` in the config, HF_HOME for models"
    # Some file systems have no fixed number of inodes and say 0.
    if status.f_files and status.f_favail < FEWEST_FILES:
        return Finding(FAIL, name, f"{found}, and room for {status.f_favail:,} files only", mend)
    if free_gb < LEAST_GB:
        return Finding(FAIL, name, found, mend)
    if free_gb < need_gb:
        return Finding(WARN, name, f"{found}; {need_gb:g} GB would be safe", mend)
    return Finding(OK, name, found)


def within_quota(quota: Quota, mount: Mount, name: str, need_gb: float) -> Finding:
    """The user's own limits, which the free room does not show."""
    mend = "clear up, ask for more, or keep results elsewhere"
    told, level = [], OK
    for used, limit, unit, need, least in (
        (quota.used / GB, quota.limit and quota.limit / GB, "GB", need_gb, LEAST_GB),
        (quota.files, quota.file_limit, "files", FEWEST_FILES, FEWEST_FILES),
    ):
        if limit:
            told.append(f"{used:,.0f} of {limit:,.0f} {unit}")
            left = limit - used
            level = FAIL if left < least else WARN if left < need and level == OK else level
    if not told:
        return Finding(OK, f"{name} quota", f"none on {mount.point}")
    found = f"used {' and '.join(told)} on {mount.point}"
    return Finding(level, f"{name} quota", found, "" if level == OK else mend)


def writable(path: Path, here: Path, name: str) -> Finding:
    """Whether files can be made there, renamed, and locked against each other."""
    check = f"{name} folder"
    mend = "write to a folder of your own: `results: /path` in the config, HF_HOME for models"
    try:
        with (
            tempfile.NamedTemporaryFile(dir=here, prefix=".winnow-doctor-") as one,
            Path(one.name).open("rb") as two,
        ):
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Finding(OK, check, f"{here} can be written to, and file locks hold")
            found = f"{here}: a second lock on a locked file was granted"
    except PermissionError:
        return Finding(FAIL, check, f"{here} cannot be written to by {user_name()}", mend)
    except OSError as error:
        found = f"{here}: {error.strerror}"
    return Finding(
        FAIL,
        check,
        found,
        "file locks are needed: mount it with flock (Lustre) or lockd (NFS), or use another",
    )


def read_mounts(table: str = "/proc/mounts") -> list[Mount]:
    """The kernel's list of mounts; empty where there is none to read."""
    try:
        text = Path(table).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = [line.split() for line in text.splitlines()]
    return [Mount(row[0], row[1].replace("\\040", " "), row[2]) for row in rows if len(row) > 2]


def mount_of(path: Path, mounts: list[Mount]) -> Mount:
    """The mount that a folder lies on: the longest that leads to it, the last of equals."""
    resolved = path.resolve()
    holds = [mount for mount in mounts if resolved.is_relative_to(mount.point)]
    return max(reversed(holds), key=lambda mount: len(mount.point), default=Mount("", "/", "unknown"))


def is_local(path: Path) -> bool:
    """Whether other nodes of a cluster cannot see a folder, by its file system's type."""
    return mount_of(standing(path), read_mounts()).kind in LOCAL


def quota_of(mount: Mount) -> Quota | None:
    """What the file system says of this user's quota; None where it says nothing."""
    user = user_name()
    if mount.kind == "lustre":
        answer = ask(["lfs", "quota", "-q", "-u", user, mount.point])
        return parse_quota(answer.output, mount.point)
    answer = ask(["quota", "-w", "-p", "-u", user])
    # It exits with 1 where a quota is exceeded, which is what we want to hear of.
    return parse_quota(answer.output, mount.device)


def parse_quota(output: str, file_system: str) -> Quota | None:
    """The line of a file system in the answer of ``quota -w -p`` or ``lfs quota -q``.

    Both give the file system, 1 KiB blocks used, quota, limit, grace, and the same four of files; a
    star marks what is exceeded, and 0 is no limit.
    """
    for line in output.splitlines():
        parts = line.split()
        if len(parts) == 9 and parts[0] == file_system:
            used, soft, hard, _, files, soft_files, hard_files, _ = (
                int(part.rstrip("*")) if part.rstrip("*").isdigit() else 0 for part in parts[1:]
            )
            limit, file_limit = (hard or soft), (hard_files or soft_files)
            return Quota(used * 1024, limit * 1024 or None, files, file_limit or None)
    return None
