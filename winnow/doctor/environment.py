"""Python, and the installed packages against the lock."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from winnow.doctor.commands import ask
from winnow.doctor.finding import FAIL, OK, WARN, Finding, listing

OLDEST = (3, 11)
PIN = re.compile(r"(?:\s*- )?([a-z0-9-]+)==([^\s;+]+)")
DRIVER = re.compile(r"snakemake")

# Runs in whatever Python the jobs run on, of which nothing is known but that it is a Python.
LIST_PACKAGES = """
import importlib.metadata as m, json, re, sys
found, damaged = {}, []
for d in m.distributions():
    name = re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower()
    if name in found:
        continue
    found[name] = d.version
    tops = [f for f in d.files or () if len(f.parts) == 2 and f.name == "__init__.py"]
    if any(not d.locate_file(f).exists() for f in tops):
        damaged.append(name)
print(json.dumps({"version": sys.version.split()[0], "packages": found, "damaged": damaged}))
"""


@dataclass(frozen=True)
class Installed:
    """What a Python has: its own version, package versions by name, packages whose files are gone."""

    python: str
    version: str
    packages: Mapping[str, str]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Lock:
    """The lock that an environment is of: its files, their pins, and how it is known to be that one."""

    files: tuple[Path, ...]
    pins: Mapping[str, str]
    why: str

    @property
    def name(self) -> str:
        """The lock's path and the reason, for a sentence."""
        return f"envs/{self.files[0].name} ({self.why})"


def check(checkout: Path, environment: str | None = None) -> Iterator[Finding]:
    """The Python that drives, the one that works if another is named, and their packages.

    Args:
        checkout: the folder with ``envs/`` and, after ``make setup``, ``.venv/``.
        environment: ``cpu`` or ``cuda``; found out where it is None.
    """
    yield driving_python(checkout)
    worker = os.environ.get("WINNOW_PYTHON")
    if not worker:
        yield from packages(checkout, sys.executable, environment, "packages")
        return
    # The driver needs what the Snakefile imports, and the profile's check imports it.
    installed = list_packages(sys.executable)
    count = len(installed.packages) if isinstance(installed, Installed) else 0
    yield Finding(OK, "packages", f"{count}; this Python drives, jobs run on WINNOW_PYTHON")
    yield from packages(checkout, worker, environment, "WINNOW_PYTHON")


def driving_python(checkout: Path) -> Finding:
    """The Python that runs the doctor, which is the one that runs Snakemake."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        found = f"{version} at {sys.executable}, 3.11 or newer is needed"
        return Finding(FAIL, "Python", found, "make setup PYTHON=/path/to/python3.11")
    venv = checkout / ".venv"
    if not in_venv(checkout) and (venv / "bin" / "python").exists():
        found = f"{version} at {sys.executable}, not the .venv that make setup made"
        return Finding(WARN, "Python", found, f"source {shown_path(venv)}/bin/activate, if you want that one")
    return Finding(OK, "Python", f"{version} at {shown_path(Path(sys.executable))}")


def in_venv(checkout: Path) -> bool:
    """Whether this Python is the one of the checkout's .venv."""
    return Path(sys.prefix).resolve() == (checkout / ".venv").resolve()


def packages(checkout: Path, python: str, environment: str | None, check: str) -> Iterator[Finding]:
    """One Python's packages against the lock: what is missing, damaged, or of another version."""
    installed = list_packages(python)
    if isinstance(installed, str):
        mend = (
            "correct WINNOW_PYTHON, or unset it" if check == "WINNOW_PYTHON" else "rm -r .venv && make setup"
        )
        yield Finding(FAIL, check, f"{python}: {installed}", mend)
        return
    lock = find_lock(checkout, installed, environment)
    if isinstance(lock, str):
        yield Finding(FAIL, check, lock, "rm -r .venv && make setup ENV=cpu, or ENV=cuda")
        return
    where = lock.name
    if check == "WINNOW_PYTHON":
        where = f"{where}, Python {installed.version} at {python}"
    differences = list(compare(checkout, installed, lock, where))
    for level, found, mend in differences:
        yield Finding(level, check, found, mend)
    if not differences:
        yield Finding(OK, check, f"all {len(lock.pins)} as in {where}")


def compare(checkout: Path, installed: Installed, lock: Lock, where: str) -> Iterator[tuple[str, str, str]]:
    """What differs from the lock: level, finding, mend. More packages than the lock has are fine."""
    pins, there = lock.pins, installed.packages
    needed = read_pins([checkout / "envs" / "winnow.yaml"])
    mend = install_command(checkout, installed.python, lock.files)
    missing = [name for name in pins if name not in there]
    for names, level, use in (
        ([name for name in missing if name in needed or DRIVER.match(name)], FAIL, ""),
        (
            [name for name in missing if name not in needed and not DRIVER.match(name)],
            WARN,
            ", no job needs them",
        ),
    ):
        if names:
            told = listing(f"{name} {pins[name]}" for name in names)
            yield level, f"{len(names)} missing of {where}{use}: {told}", mend
    damaged = [f"{name}=={pins[name]}" for name in installed.damaged if name in pins]
    if damaged:
        again = f"{shown_path(Path(installed.python))} -m pip install --force-reinstall --no-deps"
        yield (
            FAIL,
            f"{len(damaged)} damaged, files are gone: {listing(damaged)}",
            f"{again} {' '.join(damaged)}",
        )
    # A build such as 2.13.0+cpu is the version that it is a build of.
    other = [name for name in pins if name in there and there[name].partition("+")[0] != pins[name]]
    if other:
        told = listing(f"{name} {there[name]} for {pins[name]}" for name in other)
        yield WARN, f"{len(other)} of another version than in {where}: {told}", mend


def list_packages(python: str) -> Installed | str:
    """What a Python has installed, or why it does not say."""
    answer = ask([python, "-c", LIST_PACKAGES], timeout_s=60)
    try:
        told = json.loads(answer.output)
    except ValueError:
        return answer.problem or "it gives no answer"
    return Installed(python, told["version"], told["packages"], tuple(told["damaged"]))


def find_lock(checkout: Path, installed: Installed, asked: str | None) -> Lock | str:
    """The lock that an environment is of, or why there is none."""
    remembered = checkout / ".venv" / "environment"
    if asked:
        name, why = asked, "asked for"
    elif in_venv(checkout) and installed.python == sys.executable and remembered.is_file():
        name, why = remembered.read_text(encoding="utf-8").strip(), "what make setup installed"
    else:
        name, why = ("cuda", "it has vllm") if "vllm" in installed.packages else ("cpu", "it has no vllm")
    envs = checkout / "envs"
    files = [envs / f"requirements-{name}.lock", envs / f"requirements-{name}-slurm.lock"]
    there = tuple(file for file in files if file.is_file())
    if files[0] not in there:
        return f"there is no envs/{files[0].name} ({why})"
    return Lock(there, read_pins(there), why)


def read_pins(files: list[Path] | tuple[Path, ...]) -> dict[str, str]:
    """Name to version, of all lines ``name==version`` of locks or of a conda environment file."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return {match[1]: match[2] for line in text.splitlines() if (match := PIN.match(line))}


def install_command(checkout: Path, python: str, locks: tuple[Path, ...]) -> str:
    """What brings an environment to its lock."""
    if (
        python == sys.executable
        and not in_venv(checkout)
        and not (checkout / ".venv" / "bin" / "python").exists()
    ):
        return "make setup, then source .venv/bin/activate; or install the lock here, as its header says"
    pip = f"{shown_path(Path(python))} -m pip install"
    steps = [f"{pip} -r {shown_path(locks[0])}"]
    steps += [f"{pip} --no-deps -r {shown_path(lock)}" for lock in locks[1:]]
    return " && ".join(steps)


def shown_path(path: Path) -> str:
    """Relative to the working directory where it lies in it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
