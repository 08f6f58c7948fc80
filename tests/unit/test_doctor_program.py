"""scripts/doctor.py as its users start it: on a cluster, without one, and where next to nothing works."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import slurm_output

ROOT = Path(__file__).parents[2]
PROFILE = """
executor: slurm
jobs: 50
retries: 1
resources: {gpu: 2}
slurm-status-command: squeue
default-resources: {slurm_partition: $WINNOW_NO_SUCH_VARIABLE}
set-resources:
  generate: {slurm_partition: main, gpu: 4, gpu_model: h100, mem_mb: 4000, runtime: 60 * attempt}
  train: {slurm_partition: nope}
  score: {slurm_partition: short, runtime: 45 * attempt, mem_mb: "max(input.size_mb, 5)"}
  export: {slurm_partition: main, runtime: 60}
  trian: {mem_mb: 1}
set-threads: {generate: 2}
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout of links, so that nothing is written to the real one."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in ("results", "profiles", "slurm", "slurm-gres"):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def programs(tmp_path):
    """A PATH with nothing on it but what Snakemake itself asks for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("which", "sh", "cat", "bash"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def fake(programs, **outputs):
    for name, output in outputs.items():
        text = output if output.startswith("exit") else f"cat <<'END'\n{output}END"
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)


def doctor(checkout, programs, *arguments, python=sys.executable):
    """Exit status, text, and findings as ``(level, check, found)``."""
    variables = {
        name: os.environ[name] for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ
    }
    done = subprocess.run(
        [python, "scripts/doctor.py", "--json", "doctor.json", *arguments],
        cwd=checkout,
        env={**variables, "PATH": str(programs), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    record = json.loads((checkout / "doctor.json").read_text())
    findings = [(finding["level"], finding["check"], finding["found"]) for finding in record["findings"]]
    assert done.returncode == any(level == "FAIL" for level, *_ in findings)
    assert all(found in done.stdout for _, _, found in findings)
    return done.stdout, findings, record


def test_a_profile_with_faults_on_a_cluster(checkout, programs):
    fake(
        programs, sinfo=slurm_output.SINFO, scontrol=slurm_output.CONFIG, sacct="exit 1", squeue="",
        sbatch='exit $(case "$*" in *--test-only*) echo 0;; *) echo 9;; esac)',
    )  # fmt: skip
    (checkout / "slurm").mkdir()
    (checkout / "slurm/config.yaml").write_text(PROFILE)
    text, findings, record = doctor(checkout, programs)
    assert ("ok", "SLURM", "22.05.8, cluster dev: 3 of 5 nodes take jobs") in findings
    profile = next(found for level, check, found in findings if check == "profile" and level == "ok")
    assert profile.startswith("slurm/config.yaml: executor slurm, at most 50 jobs at once, gpu ≤ 2, 1 retry")
    told = {(level, found) for level, check, found in findings if check in ("profile", "rules")}
    assert ("warn", "generate: asks for gpu=4, and gets 2: more may not be in flight") in told
    trian = "set-resources or set-threads names 'trian', which is no rule (did you mean 'train'?)"
    assert ("warn", trian) in told
    assert ("FAIL", "train: the partition nope does not exist") in told
    assert any(
        level == "FAIL" and "slurm_partition is the literal text '$WINNOW_NO_SUCH_VARIABLE'" in found
        for level, found in told
    )
    late = [found for level, found in told if level == "warn" and found.startswith("score: ")]
    assert late and late[0].startswith("score: asks for 1 h 30 min at attempt 2, the limit of short is 1 h")
    assert ("ok", "sbatch would take the jobs of 3 rules (asked with --test-only)") in told
    rules = {rule["name"]: rule for rule in record["profile"]["rules"]}
    generate = shlex.split(rules["generate"]["submit"])
    assert generate[generate.index("-p") + 1] == "main" and "--gpus=h100:2" in generate
    assert generate[generate.index("--mem") + 1] == "4000" and "--cpus-per-task=2" in generate
    assert [attempt["runtime"] for attempt in rules["generate"]["attempts"]] == [60, 120]
    assert rules["score"]["attempts"][0]["mem_mb"] is None
    assert rules["describe_model"]["local"] and not rules["describe_model"]["submit"]
    row = next(line for line in text.splitlines() if line.startswith("generate "))
    assert " ".join(row.split()) == "generate 2 4 GB 1 h … 2 h 2 h100 main"


def test_a_machine_without_slurm(checkout, programs):
    _, findings, record = doctor(checkout, programs, "--environment", "cpu")
    checks = {check: (level, found) for level, check, found in findings}
    assert checks["SLURM"][0] == checks["GPUs"][0] == "ok"
    assert checks["profile"] == ("ok", "no profile: executor local, 0 retries")
    assert checks["results folder"][0] == "ok"
    assert checks["dot"][0] == checks["chromium"][0] == "hint"
    assert record["cluster"] is None and len(record["profile"]["rules"]) > 10
    assert not (checkout / "results").exists() and not (checkout / "logs").exists()


@pytest.mark.slow
def test_a_slurm_profile_without_slurm_and_arguments_of_snakemake(checkout, programs):
    (checkout / "site").mkdir()
    (checkout / "site/config.yaml").write_text("executor: slurm\njobs: 1\nslurm-status-command: squeue\n")
    _, findings, _ = doctor(checkout, programs, "--profile", "site", "--", "--config", "results=elsewhere")
    assert ("FAIL", "profile", "its executor is slurm, and no SLURM answers here") in findings
    assert any(check == "results" and "elsewhere" in found for _, check, found in findings)


def test_a_python_without_any_package(checkout, programs, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    _, findings, _ = doctor(checkout, programs, python=str(tmp_path / "bare/bin/python"))
    checks = {check: (level, found) for level, check, found in findings}
    assert checks["packages"][0] == "warn" and "no job needs them" in checks["packages"][1]
    needed = [found for level, check, found in findings if check == "packages" and level == "FAIL"]
    assert needed and "missing of envs/requirements-cpu.lock" in needed[0]
    assert checks["profile"] == ("FAIL", "not looked at: the package snakemake is missing")
    assert checks["results folder"][0] == "ok", "the others go on"


def test_a_file_that_cannot_be_written(checkout, programs):
    done = subprocess.run(
        [sys.executable, "scripts/doctor.py", "--json", "no/such/folder/doctor.json"],
        cwd=checkout,
        env={"PATH": str(programs), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no/such/folder/doctor.json: its folder is not there")
