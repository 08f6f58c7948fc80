"""Told of its end, a job stops: by a signal or by the clock, never inside a write."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from winnow import ending
from winnow.ending import Stopped, end_of_job, told_of_the_end, undisturbed
from winnow.errors import UserError


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name), told_of_the_end("none"):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def test_the_clock_stops() -> None:
    start = time.monotonic()
    with pytest.raises(Stopped, match="the end of its time"), told_of_the_end("0.2"):
        time.sleep(5)
    assert 0.1 < time.monotonic() - start < 3
    time.sleep(0.3)


def test_a_deadline_that_has_passed_stops_at_once() -> None:
    with pytest.raises(Stopped), told_of_the_end("2001-01-01T00:00"):
        time.sleep(5)


def test_who_acts_is_told_once_and_goes_on() -> None:
    told: list[str] = []
    with told_of_the_end("none", told.append):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    assert told == ["SIGUSR1"]


@pytest.mark.parametrize("other_thread", [False, True])
def test_a_write_is_finished_first(other_thread: bool) -> None:
    """Also where a thread of torch's takes the signal."""
    done: list[str] = []
    if other_thread:
        threading.Thread(target=time.sleep, args=(1,)).start()
    with pytest.raises(Stopped), told_of_the_end("none"):
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            done.append("written")
        done.append("too late")
    assert done == ["written"]


@pytest.mark.parametrize(("left", "margin"), [(60, 10), (3600, 180), (36_000, 300)])
def test_slurm_tells_the_end(monkeypatch: pytest.MonkeyPatch, left: float, margin: float) -> None:
    end = time.time() + left
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", f"{end:.0f}")
    assert end_of_job("auto") == pytest.approx(end - margin, abs=2)


def test_an_older_slurm_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    answers = iter(["2126-11-21T06:00:00\n", "N/A\n"])

    def squeue(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert command == ["squeue", "--noheader", "--jobs", "7", "--format", "%e"]
        return subprocess.CompletedProcess(command, 0, next(answers))

    monkeypatch.setattr(ending.subprocess, "run", squeue)
    first = end_of_job("auto")
    assert first is not None and time.strftime("%Y %H:%M", time.localtime(first)) == "2126 05:55"
    assert end_of_job("auto") is None


def test_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert end_of_job("auto") is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert end_of_job("none") is None


def test_what_is_no_deadline() -> None:
    with pytest.raises(UserError, match="'tomorrow'"):
        end_of_job("tomorrow")


def test_nothing_swallows_it(tmp_path: Path) -> None:
    assert not issubclass(Stopped, Exception)
