"""One writer at a time, where the file system can tell."""

from __future__ import annotations

import errno
import fcntl
import logging
import multiprocessing
import time

import pytest

from winnow.locks import locked

log = logging.getLogger("generate")


def hold(path, ready) -> None:
    with path.open("w") as file:
        locked(file, "other", log)
        ready.set()
        time.sleep(0.5)


def test_it_waits_for_another_process_and_says_so(tmp_path, caplog):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "lock", ready))
    other.start()
    assert ready.wait(30)
    with caplog.at_level(logging.INFO), (tmp_path / "lock").open("w") as file:
        assert locked(file, "here: another process is at it", log)
    other.join()
    assert "here: another process is at it; waiting for its end" in caplog.text


def test_alone_it_waits_for_nobody(tmp_path, caplog):
    with (tmp_path / "lock").open("w") as file:
        assert not locked(file, "here", log)
    assert not caplog.text


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_without_locks_it_warns_and_goes_on(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("w") as file:
        assert not locked(file, "here", log)
    assert "has no locks; start no second job on it" in caplog.text


def test_another_trouble_is_not_hidden(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match="broken"):
        locked(file, "here", log)
