"""The doctor on Python and the packages, and the locks against each other."""

from __future__ import annotations

import sys
from pathlib import Path

from winnow.doctor import environment
from winnow.doctor.environment import Installed, Lock
from winnow.doctor.finding import FAIL, OK, WARN

ROOT = Path(__file__).parents[2]
LOCK = Lock(
    (ROOT / "envs/requirements-cpu.lock",), {"numpy": "2.4.6", "ruff": "0.17.5", "torch": "2.13.0"}, "why"
)


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def differences(packages, damaged=(), python=sys.executable):
    return list(
        environment.compare(ROOT, Installed(python, "3.11.7", packages, tuple(damaged)), LOCK, "the lock")
    )


def test_packages_as_locked():
    assert differences({"numpy": "2.4.6", "ruff": "0.17.5", "torch": "2.13.0+cpu", "more": "1"}) == []


def test_a_package_that_jobs_need_is_missing():
    [(level, found, mend)] = differences({"ruff": "0.17.5", "torch": "2.13.0"})
    assert (level, found) == (FAIL, "1 missing of the lock: numpy 2.4.6")
    assert mend


def test_a_development_tool_is_missing():
    [(level, found, _)] = differences({"numpy": "2.4.6", "torch": "2.13.0"})
    assert (level, found) == (WARN, "1 missing of the lock, no job needs them: ruff 0.17.5")


def test_another_version_and_damage():
    found = differences(
        {"numpy": "2.4.60", "ruff": "0.17.5", "torch": "2.13.0"}, damaged=["torch", "unlocked"]
    )
    assert [(level, text) for level, text, _ in found] == [
        (FAIL, "1 damaged, files are gone: torch==2.13.0"),
        (WARN, "1 of another version than in the lock: numpy 2.4.60 for 2.4.6"),
    ]
    assert found[0][2].endswith("-m pip install --force-reinstall --no-deps torch==2.13.0")


def test_every_package_of_the_locks_is_read():
    for name in ("cpu", "cuda"):
        lock = ROOT / f"envs/requirements-{name}.lock"
        plain = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
        assert len(environment.read_pins([lock])) == len(plain) > 100


def test_the_conda_environment_is_of_the_lock():
    pins = environment.read_pins([ROOT / "envs/requirements-cpu.lock"])
    conda = environment.read_pins([ROOT / "envs/winnow.yaml"])
    assert conda.items() <= pins.items()
    running = (ROOT / "envs/requirements-cpu.in").read_text().split("# Development")[0]
    asked = {line.split("#")[0].split("==")[0].strip() for line in running.splitlines()} - {""}
    assert {name for name in asked if not name.startswith("snakemake")} <= conda.keys()
    assert not any(name.startswith("snakemake") for name in conda)


def test_the_plugin_is_the_same_in_both_environments():
    plugin = environment.read_pins([ROOT / "envs/requirements-cuda-slurm.lock"])
    assert plugin and plugin.items() <= environment.read_pins([ROOT / "envs/requirements-cpu.lock"]).items()


def test_lock_of_an_environment(tmp_path):
    (tmp_path / "envs").mkdir()
    for name in ("cpu", "cuda", "cuda-slurm"):
        (tmp_path / f"envs/requirements-{name}.lock").write_text(f"{name}==1\n")
    there = Installed("python", "3.11.7", {"vllm": "1"}, ())
    lock = environment.find_lock(tmp_path, there, None)
    assert lock.pins == {"cuda": "1", "cuda-slurm": "1"} and "it has vllm" in lock.name
    assert environment.find_lock(tmp_path, Installed("python", "3", {}, ()), None).pins == {"cpu": "1"}
    assert environment.find_lock(tmp_path, there, "cpu").pins == {"cpu": "1"}
    assert (
        environment.find_lock(tmp_path, there, "gpu") == "there is no envs/requirements-gpu.lock (asked for)"
    )


def test_what_make_setup_remembers(tmp_path, monkeypatch):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/requirements-cuda.lock").write_text("torch==1\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/environment").write_text("cuda\n")
    here = Installed(sys.executable, "3.11.7", {}, ())
    assert isinstance(environment.find_lock(tmp_path, here, None), str), "this Python is not of that .venv"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert environment.find_lock(tmp_path, here, None).why == "what make setup installed"
    (tmp_path / ".venv/environment").write_text("gpu\n")
    assert "requirements-gpu.lock" in environment.find_lock(tmp_path, here, None)


def test_packages_of_a_real_environment(tmp_path):
    """A package whose files were removed, and one that was never there, in an environment of its own."""
    site = tmp_path / "site"
    info = site / "orjson-3.13.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Or.json\nVersion: 3.13.0\n")
    (info / "RECORD").write_text("orjson/__init__.py,,\norjson-3.13.0.dist-info/METADATA,,\n")
    python = program(tmp_path, "python", f'PYTHONPATH={site} exec {sys.executable} -S "$@"')
    installed = environment.list_packages(python)
    assert installed.packages == {"or-json": "3.13.0"} and installed.damaged == ("or-json",)
    (site / "orjson").mkdir()
    (site / "orjson/__init__.py").touch()
    assert environment.list_packages(python).damaged == ()


def test_a_python_that_is_none(tmp_path):
    assert "there is no program" in environment.list_packages(str(tmp_path / "python"))
    broken = program(tmp_path, "python", "echo cannot load libpython >&2; exit 127")
    [finding] = environment.packages(ROOT, broken, None, "WINNOW_PYTHON")
    assert finding.level == FAIL and "cannot load libpython" in finding.found
    assert finding.mend == "correct WINNOW_PYTHON, or unset it"


def test_another_python_for_the_jobs(monkeypatch):
    monkeypatch.setenv("WINNOW_PYTHON", "/nowhere/python")
    findings = {finding.check: finding for finding in environment.check(ROOT)}
    assert findings["WINNOW_PYTHON"].level == FAIL
    assert findings["packages"].level == OK and "jobs run on WINNOW_PYTHON" in findings["packages"].found
