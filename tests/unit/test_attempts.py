"""An attempt is accounted for however it ends."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from winnow import attempts
from winnow.attempts import COMPLETION_FIGURES, Attempt, counting, read
from winnow.errors import UserError
from winnow.journal import Journal

ROOT = Path(__file__).parents[2]
KILLED = """
import sys, time
from winnow import attempts
attempts.BEAT_SECONDS = 0.02
with attempts.Attempt(sys.argv[1], "completions").holding(4) as attempt:
    while True:
        attempt.add(completions=1)
        time.sleep(0.01)
"""


def entry(prompt: str, sample: int, prompt_tokens: int, completion_tokens: int):
    completion = {
        "prompt_id": prompt, "sample": sample, "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
    }  # fmt: skip
    return f"{prompt}/{sample}", {"completion": completion}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "done"), (ValueError, "failed"), (KeyboardInterrupt, "stopped"), (SystemExit, "stopped")],
)
def test_it_tells_how_it_ended(tmp_path, error, outcome, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    path = tmp_path / "logs" / "job.attempts"
    try:
        with Attempt(path, "completions", "total").holding(2) as attempt:
            attempt.find(completions=5)
            attempt.add(completions=2, total=9)
            time.sleep(0.05)
            if error:
                raise error
    except BaseException as raised:
        assert type(raised) is error
    (record,) = read(path)
    assert (record.outcome, record.gpus, record.cores) == (outcome, 2, 3)
    assert record.figures == {"completions": 7, "total": 9}
    assert record.found == {"completions": 5, "total": 0}
    assert 0.05 <= record.seconds < 5
    assert abs(record.started - time.time()) < 5


def test_killed_it_counts_up_to_its_last_sign_of_life(tmp_path):
    path = tmp_path / "job.attempts"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=ROOT)
    end = time.monotonic() + 60
    while not (read(path) and read(path)[-1].seconds > 0.3):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.wait()
    with Attempt(path, "completions") as attempt:
        attempt.add(completions=1)
    killed, after = read(path)
    assert (killed.outcome, killed.gpus, after.outcome) == ("running", 4, "done")
    assert killed.seconds > 0.3
    assert killed.figures["completions"] > 10
    assert after.figures == {"completions": 1}


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_killed_while_it_wrote_its_first_line_it_harms_no_other(tmp_path, cut):
    path = tmp_path / "job.attempts"
    for _ in range(2):
        with Attempt(path, "completions"):
            pass
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])
    for _ in range(2):
        with Attempt(path, "completions") as attempt:
            attempt.add(completions=3)
    assert [record.figures["completions"] for record in read(path)] == [0, 0, 3, 3]
    assert path.read_bytes().startswith(whole)


def test_two_at_once_keep_to_their_own_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "BEAT_SECONDS", 0.01)
    path = tmp_path / "job.attempts"
    with Attempt(path, "completions", "total") as orphan:
        orphan.find(completions=10**17)
        with Attempt(path, "completions") as second:
            second.add(completions=1)
            orphan.add(completions=10**18, total=10**18)
            time.sleep(0.1)
    first, last = read(path)
    assert first.figures == {"completions": 10**18 + 10**17, "total": 10**18}
    assert last.figures == {"completions": 1}
    assert path.read_bytes().count(b"\n") == 2


def test_without_a_file_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Attempt(None, "completions") as attempt:
        attempt.add(completions=1)
    assert not list(tmp_path.iterdir())
    assert read(tmp_path / "none") == []


def test_a_full_disk_does_not_end_the_job(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(attempts, "BEAT_SECONDS", 0.01)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with caplog.at_level(logging.WARNING), Attempt(tmp_path / "job.attempts"):
        monkeypatch.setattr(attempts.os, "pwrite", full)
        time.sleep(0.2)
    assert "may not be counted" in caplog.text
    # Once while it lived, and once at its end.
    assert caplog.text.count("No space left") == 2


def test_a_journal_tells_what_it_found_and_what_is_new(tmp_path):
    rows = [entry("a", 0, 7, 10), entry("a", 1, 7, 20), entry("b", 0, 9, 5), entry("a", 2, 7, 1)]
    path = tmp_path / "job.attempts"
    for begin, end in ((0, 2), (2, 4)):
        attempt = Attempt(path, *COMPLETION_FIGURES)
        attempt.add(total=4)
        with Journal(tmp_path / "out.jsonl", {"seed": 1}, counting(attempt)) as journal, attempt:
            for item, row in rows[begin:end]:
                journal.append(item, row)
    first, second = read(path)
    assert first.figures == {"completions": 2, "total": 4, "prompt_tokens": 7, "completion_tokens": 30}
    assert first.found["completions"] == 0
    assert second.figures == {"completions": 4, "total": 4, "prompt_tokens": 16, "completion_tokens": 36}
    assert second.found == {"completions": 2, "total": 0, "prompt_tokens": 7, "completion_tokens": 30}


def test_another_file_by_that_name_is_an_error(tmp_path):
    path = tmp_path / "job.attempts"
    path.write_text('{"a": 1}\n')
    with pytest.raises(UserError, match="not an attempt"):
        read(path)
