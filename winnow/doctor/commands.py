"""Outside programs, asked with a time limit: one that is missing, hangs or fails is an answer too."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a program said.

    Attributes:
        output: its standard output.
        complaint: its standard error.
        problem: why there is no good answer, in a few words; empty where there is one.
        missing: there is no such program.
    """

    output: str
    complaint: str = ""
    problem: str = ""
    missing: bool = False


def ask(
    command: Sequence[str], timeout_s: float = 15, environment: Mapping[str, str] | None = None
) -> Answer:
    """Run a program to its end, or to its time limit; never raises for what the program does."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        return Answer("", problem=f"there is no program {command[0]}", missing=True)
    except OSError as error:
        return Answer("", problem=f"{command[0]} does not start: {error.strerror}")
    try:
        output, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        # The whole group: a child that outlives its parent would hold the pipes open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer("", problem=f"`{shown(command)}` gave no answer in {timeout_s:g} s")
    if process.returncode == 0:
        return Answer(output, complaint)
    told = (complaint.strip() or output.strip()).splitlines()
    reason = told[-1] if told else f"exit status {process.returncode}"
    return Answer(output, complaint, f"`{shown(command)}` failed: {reason}")


def user_name() -> str:
    """The user's name, or number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def shown(command: Sequence[str], most: int = 60) -> str:
    """A command as one would type it, cut where it is long."""
    text = shlex.join(command)
    return text if len(text) <= most else f"{text[: most - 2]} …"
