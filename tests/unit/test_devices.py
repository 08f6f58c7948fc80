"""The lease: jobs side by side never get the same GPU, and the killed give theirs back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from winnow.devices import HANDED_OUT_BY, VISIBLE, devices_a_node, held, lease, visible
from winnow.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from winnow.devices import lease
with lease(int(sys.argv[1]), Path(sys.argv[2])) as names:
    print(",".join(names), flush=True)
    time.sleep(60)
"""
BECOME = HOLD.replace("time.sleep(60)", 'import os; os.execvp("sleep", ["sleep", "60"])')


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in HANDED_OUT_BY:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(VISIBLE, "0,1,2,3")


def hold(count: int, folder: Path, program: str = HOLD) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(count), str(folder)], stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> set[str]:
    assert process.stdout is not None
    return set(process.stdout.readline().strip().split(","))


@pytest.mark.parametrize(
    ("value", "names"),
    [("0,1", ["0", "1"]), ("GPU-8a,MIG-2", ["GPU-8a", "MIG-2"]), ("", []), ("-1", []), ("NoDevFiles", [])],
)
def test_visible(value: str, names: list[str]) -> None:
    assert visible({VISIBLE: value}) == names


@pytest.mark.parametrize("device", ["auto", "cuda", "sharded"])
def test_gpus_are_leased_unless_one_is_named(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with held(device, 3) as mine, held("cuda:1", 1) as named, held("cpu", 1) as none:
        assert len(mine) == 3
        assert os.environ[VISIBLE] == ",".join(mine)
        assert (named, none) == (["cuda:1"], [])


def test_jobs_side_by_side_get_different_gpus(tmp_path: Path) -> None:
    first, second = hold(2, tmp_path), hold(1, tmp_path)
    try:
        taken = said(first), said(second)
        assert len(taken[0]) == 2 and len(taken[1]) == 1 and not taken[0] & taken[1]
        with lease(1, tmp_path) as mine:
            assert set(mine) == {"0", "1", "2", "3"} - taken[0] - taken[1]
            assert os.environ[VISIBLE] == mine[0]
        assert os.environ[VISIBLE] == "0,1,2,3"
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("program", [HOLD, BECOME])
def test_one_waits_until_the_other_is_killed(tmp_path: Path, program: str) -> None:
    """Also where another program has taken the place of the one that leased."""
    holder = hold(3, tmp_path, program)
    held = said(holder)
    waiting = hold(2, tmp_path)
    time.sleep(1.5)
    assert waiting.stdout is not None
    os.set_blocking(waiting.stdout.fileno(), False)
    assert not waiting.stdout.readline(), "it did not wait"
    os.set_blocking(waiting.stdout.fileno(), True)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    try:
        assert len(said(waiting)) == 2 and len(held) == 3
    finally:
        waiting.kill()
        waiting.communicate()


def test_a_scheduler_has_chosen_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lease(4, tmp_path) as first, lease(4, tmp_path) as second:
        assert first == second == ["0", "1", "2", "3"]
    assert not list(tmp_path.iterdir())


def test_a_machine_without_gpus_runs_on_its_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    with lease(2, tmp_path) as names:
        assert names == []


def test_more_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"5, but this machine shows 4 .*\n.*at most 4\n.*under resources"):
        lease(5, tmp_path).__enter__()


def test_the_locks_are_there_for_all_users_of_a_machine(tmp_path: Path, monkeypatch) -> None:
    """Whatever the first user's umask; the second can neither write nor own the files."""
    for name in HANDED_OUT_BY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VISIBLE, "0")
    folder = tmp_path / "locks"
    before = os.umask(0o022)
    try:
        with lease(1, folder) as names:
            assert names == ["0"]
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o777
    assert (folder / "0.lock").stat().st_mode & 0o444 == 0o444
    assert folder.joinpath("0.lock").stat().st_mode & 0o222 == 0, "a lock needs no right to write"


@pytest.mark.parametrize(
    ("devices", "gres", "nodes", "expected"),
    [(4, "", 1, 4), (8, "", 2, 4), (0, "", 1, 0), (0, "gpu:4", 1, 4), (0, "gpu:h100:4", 2, 4)],
)
def test_devices_a_node(devices: int, gres: str, nodes: int, expected: int) -> None:
    """`gpu` counts all nodes, as sbatch's --gpus; `gres` counts one, as its --gres."""
    assert devices_a_node(devices, gres, nodes) == expected


@pytest.mark.parametrize(("devices", "gres", "nodes"), [(3, "", 2), (0, "gpu:h100", 1), (0, "nic:2", 1)])
def test_devices_that_cannot_be_counted(devices: int, gres: str, nodes: int) -> None:
    with pytest.raises(UserError, match=r"--devices|--gres"):
        devices_a_node(devices, gres, nodes)
