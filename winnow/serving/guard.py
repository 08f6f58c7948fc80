"""A small process between a job and its server: when the job ends, however it ends, the server ends.

Started by its path, with the standard library alone, so that it is there before the server is. It holds one
end of a pipe whose other end only the job has: the kernel closes that when the job dies, by SIGKILL too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
POLL_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Run a command until it ends or the job does; its exit code.

    Args:
        arguments: the pipe's file descriptor, the seconds that the command gets to end by itself once it is
            told to, and the command.
    """
    pipe, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: told.append(number))
    # Processes that the server leaves behind become this one's children, and are found.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    with subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_the_guard) as server:
        while server.poll() is None and not told and not _closed(pipe):
            pass
        ended_itself = server.poll() is not None
        _end(server, grace)
        # As shells tell a signal; a server that was told to stop has done what it should.
        return (server.returncode % 256 if server.returncode >= 0 else 128 - server.returncode) * ended_itself


def _closed(pipe: int) -> bool:
    try:
        readable, _, _ = select.select([pipe], [], [], POLL_SECONDS)
    except InterruptedError:
        return False
    return bool(readable)


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    """Stop the server's whole group, and whatever left it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    # Its workers may outlive the one that was waited for.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    """Of this process, the adopted ones too; empty where /proc does not tell."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name, which may hold anything, ends with the last parenthesis.
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[1]) == os.getpid():
                found.append(int(folder.name))
    return found


def _die_with_the_guard() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    # Linux alone has it; elsewhere the pipe has to suffice.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
