#!/usr/bin/env python3
"""Check that the CUDA locks resolve, without installing anything.

Usage: python envs/check_cuda_lock.py [LOCK]

Every line of a lock has to be ``name==version``. Then uv resolves requirements-cuda.in under the
lock's pins, for Linux x86-64 and Python 3.11 whatever machine this runs on; the outcome has to be
the lock itself, so that a conflicting, missing or left-over pin shows. The SLURM plugin's lock is
resolved on top of it, all strictly but for the one pin that requirements-cuda-slurm.lock tells
of: numpy's. Needs uv (it is in the CPU environment) and a package index, which uv finds by its own
settings.

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
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "requirements-cuda.in"
SLURM_LOCK = HERE / "requirements-cuda-slurm.lock"
OVERRIDDEN = "numpy"  # the plugin asks for a newer one than vllm allows
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


def resolve(uv: list[str], lock: Path, sources: list[Path], override: str = "") -> tuple[int, str]:
    """Resolve the sources under a lock's pins.

    Returns:
        Exit status (see above) and uv's output; its error output where the status is not 0.
    """
    command = [*uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-progress"]
    command += [*TARGET, *WHEELS, "--python", sys.executable, "--constraints", str(lock)]
    environment = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.write(override)
        overrides.flush()
        try:
            done = subprocess.run(
                [*command, "--override", overrides.name, *map(str, sources)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 2, f"uv took more than {TIMEOUT_S} s"
    if done.returncode == 0:
        return 0, done.stdout
    # uv itself exits with 1 when there is no solution, and with 2 when something else failed.
    return (1 if done.returncode == 1 else 2), done.stderr


def check(
    uv: list[str], lock: Path, expected: dict[str, str], sources: list[Path], override: str = ""
) -> int:
    """Resolve, compare with what is expected, tell, and return the exit status."""
    what = " with ".join(path.name for path in sources)
    status, output = resolve(uv, lock, sources, override)
    if status != 0:
        verdict = f"{what} does not resolve" if status == 1 else f"{what} was not checked"
        report(lock, verdict, output.splitlines())
        return status
    resolved, errors = read_pins(output)
    errors += compare(expected, resolved)
    if errors:
        report(lock, f"does not match what {what} resolves to", errors)
        return 1
    how = f"but for {override}" if override else "strictly"
    print(f"{lock}: {what}: {len(expected)} pins, and they resolve {how}")
    return 0


def main(arguments: list[str]) -> int:
    if len(arguments) > 1:
        print("usage: check_cuda_lock.py [LOCK]", file=sys.stderr)
        return 2
    lock = Path(arguments[0]) if arguments else HERE / "requirements-cuda.lock"
    pins = {}
    for path in (lock, SLURM_LOCK):
        if not path.is_file():
            report(path, "not checked", ["there is no such file"])
            return 2
        pins[path], errors = read_pins(path.read_text(encoding="utf-8"))
        if errors:
            report(path, "not a full lock", errors)
            return 1
    if not SOURCE.is_file():
        report(SOURCE, "not checked", ["there is no such file"])
        return 2
    uv = find_uv()
    if uv is None:
        report(lock, "not checked", ["uv is missing: pip install uv"])
        return 2

    status = check(uv, lock, pins[lock], [SOURCE])
    if status != 0:
        return status
    both = {**pins[lock], **pins[SLURM_LOCK]}
    override = f"{OVERRIDDEN}=={pins[lock][OVERRIDDEN]}"
    return check(uv, lock, both, [SOURCE, SLURM_LOCK], override)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
