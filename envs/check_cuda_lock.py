#!/usr/bin/env python3
"""Check that the CUDA lock resolves strictly, without installing anything.

Usage: python envs/check_cuda_lock.py [LOCK]

Every line of the lock has to be ``name==version``. Then uv resolves requirements-cuda.in under the
lock's pins, for Linux x86-64 and Python 3.11 whatever machine this runs on; the outcome has to be
the lock itself, so that a conflicting, missing or left-over pin shows. Needs uv (it is in the CPU
environment) and a package index, which uv finds by its own settings.

Exit status: 0 the lock is good, 1 it is not, 2 it could not be checked (uv or a file is missing,
or the index cannot be reached).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "requirements-cuda.in"
PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([0-9]+(?:\.[0-9a-z]+)*)")
TARGET = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_31"]
WHEELS = ["--only-binary", ":all:", "--no-binary", "connection-pool"]  # this one has no wheel
# Either could put a CPU build of torch in place of the CUDA one.
UNWANTED = ("UV_TORCH_BACKEND", "UV_FIND_LINKS")
TIMEOUT_S = 170


def read_pins(text: str) -> tuple[dict[str, str], list[str]]:
    """The pins in the text of a lock, and what is wrong with its lines."""
    pins: dict[str, str] = {}
    errors = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = PIN.fullmatch(line)
        if match is None:
            errors.append(f"line {number} is not a plain name==version pin: {line}")
        elif match[1] in pins:
            errors.append(f"line {number} pins {match[1]} a second time")
        else:
            pins[match[1]] = match[2]
    if not pins and not errors:
        errors.append("the lock has no pins")
    if not errors and list(pins) != sorted(pins):
        errors.append("the lines are not sorted by name")
    return pins, errors


def compare(locked: dict[str, str], resolved: dict[str, str]) -> list[str]:
    """What the lock lacks or has too much of, against what uv resolved."""
    errors = []
    for name in sorted(locked.keys() | resolved.keys()):
        if name not in locked:
            errors.append(f"{name} is needed ({name}=={resolved[name]}) but not pinned")
        elif name not in resolved:
            errors.append(f"{name}=={locked[name]} is pinned but nothing needs it")
        elif locked[name] != resolved[name]:
            errors.append(f"{name} is pinned to {locked[name]} but resolves to {resolved[name]}")
    return errors


def find_uv() -> list[str] | None:
    """How to call uv: the one of this Python first, then the one on the path."""
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


def report(lock: Path, verdict: str, lines: list[str]) -> None:
    print(f"{lock}: {verdict}", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    if len(arguments) > 1:
        print("usage: check_cuda_lock.py [LOCK]", file=sys.stderr)
        return 2
    lock = Path(arguments[0]) if arguments else HERE / "requirements-cuda.lock"
    for path in (lock, SOURCE):
        if not path.is_file():
            report(path, "not checked", ["there is no such file"])
            return 2
    locked, errors = read_pins(lock.read_text(encoding="utf-8"))
    if errors:
        report(lock, "not a full lock", errors)
        return 1

    uv = find_uv()
    if uv is None:
        report(lock, "not checked", ["uv is missing: pip install uv"])
        return 2
    command = [*uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-progress"]
    command += [*TARGET, *WHEELS, "--python", sys.executable, "--constraints", str(lock)]
    environment = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    try:
        done = subprocess.run(
            [*command, str(SOURCE)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        report(lock, "not checked", [f"uv took more than {TIMEOUT_S} s"])
        return 2
    if done.returncode != 0:
        # uv itself exits with 1 when there is no solution, and with 2 when something else failed.
        unsolved = done.returncode == 1
        report(lock, "does not resolve" if unsolved else "not checked", done.stderr.splitlines())
        return 1 if unsolved else 2

    resolved, errors = read_pins(done.stdout)
    errors += compare(locked, resolved)
    if errors:
        report(lock, "does not match what requirements-cuda.in resolves to", errors)
        return 1
    print(f"{lock}: {len(locked)} pins, and they resolve strictly")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
