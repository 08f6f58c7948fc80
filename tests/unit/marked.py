"""Processes of a test, and whether any is left."""

from __future__ import annotations

import time
import uuid
from pathlib import Path


class Marked:
    """Processes that carry a mark in their environment: give it to the first of them as MARK."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex

    def alive(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # A zombie has no environment any more.
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def gone(self, seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.alive()

    def server(self) -> int:
        """The server itself: the guard's command line names it too, behind its own."""
        for pid in self.alive():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[1:3] == [b"-m", b"vllm.entrypoints.openai.api_server"]:
                return pid
        raise AssertionError("no server is running")
