"""The doctor's own manners: its lines, its table, the programs that it asks, what it needs itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from winnow.doctor import commands
from winnow.doctor.examination import Examination, attempt
from winnow.doctor.finding import FAIL, OK, WARN, Finding, lines, listing, verdict
from winnow.doctor.profile import Profile, Rule, refusal, table

ROOT = Path(__file__).parents[2]


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_lines():
    findings = [Finding(OK, "Python", "3.11"), Finding(FAIL, "hub", "no", "yes")]
    assert lines(findings) == [
        "ok    Python  3.11",
        "FAIL  hub     no",
        "              to mend: yes",
    ]
    assert lines([]) == []
    assert verdict(findings) == "1 to mend" and verdict(findings[:1]) == "all is well"
    assert verdict([Finding(WARN, "x", "y"), Finding(WARN, "x", "y"), findings[1]]) == "1 to mend, 2 warnings"
    assert listing("abcd") == "a, b, c, d" and listing("abcde") == "a, b, c and 2 more"


def test_nothing_but_the_standard_library():
    code = (
        "import sys; sys.path.insert(0, '.'); sys.argv[0] = 'scripts/doctor.py'\n"
        "import winnow.doctor.examination, winnow.command_line\n"
        "print(*sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == ["__main__", "winnow"] or told.split() == ["winnow"]


def test_a_check_that_breaks_is_a_finding():
    found = Examination()

    def breaks():
        yield Finding(OK, "disk", "fine so far")
        raise KeyError("unheard of")

    attempt(found, "disk", breaks)
    assert [finding.level for finding in found.findings] == [OK, FAIL] and found.failed
    assert "KeyError: 'unheard of' (test_doctor_report.py:" in found.findings[1].found


def test_snakemake_refuses():
    config = (
        "Using profile slurm for setting default command line arguments.\n"
        'WorkflowError in file "common.smk", line 21:\n'
        "config, key (top): unknown key 'bogus'\n"
        "  expected: one of run, results\n"
        "  to mend:  correct the config\n"
        '  File "common.smk", line 21, in <module>\n'
    )
    finding = refusal(config)
    assert (
        finding.found
        == "WorkflowError in file \"common.smk\", line 21: config, key (top): unknown key 'bogus'"
    )
    assert finding.mend == "correct the config (expected: one of run, results)"
    jobs = "Using profile x for setting\nError: the number of jobs\nhas to be given (use --jobs)\n"
    assert refusal(jobs).found == "the number of jobs has to be given (use --jobs)"
    usage = "usage: profile.py [-h]\n      [targets ...]\nprofile.py: error: unrecognized arguments: --jobz\n"
    assert refusal(usage).found == "unrecognized arguments: --jobz"
    trace = "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'yte'\n"
    assert refusal(trace).found == "not looked at: the package yte is missing"
    inner = "ModuleNotFoundError in file \"common.smk\", line 11:\nNo module named 'orjson'\n"
    assert refusal(inner).found == "not looked at: the package orjson is missing"
    assert refusal(trace.replace("ModuleNotFound", "Type")).found.startswith("Snakemake stops with TypeError")


def test_table():
    def rule(name, *attempts, local=False):
        return Rule(name, local, attempts, {}, "", "")

    first = {"threads": 8, "mem_mb": 2000, "runtime": 60, "gpu": 2, "gpu_model": "h100", "nodes": 2}
    rules = (
        rule("describe_model", {"threads": 1, "mem_mb": 2000, "runtime": 60}, local=True),
        rule("train", first, {**first, "mem_mb": 4000, "runtime": 120}),
        rule("score", {"threads": 1, "mem_mb": None, "runtime": 60, "gres": "gpu:1"}),
    )
    assert table(Profile((), (), "slurm", 1, 1, {}, {}, (), rules, "results")) == [
        "rule                    CPUs  memory       time       GPUs        more",
        "describe_model (local)  1     2 GB         1 h",
        "train                   8     2 GB … 4 GB  1 h … 2 h  2 h100      nodes=2",
        "score                   1     per job      1 h        gres gpu:1",
    ]


def test_commands(tmp_path):
    assert commands.ask(["no-such-program-at-all"]).missing
    program(tmp_path / "asked", "echo out; echo 'first' >&2; echo 'last' >&2; exit 3")
    answer = commands.ask([str(tmp_path / "asked")])
    assert answer.problem.endswith("failed: last") and answer.output == "out\n"
    (tmp_path / "plain").write_text("not a program")
    assert "does not start" in commands.ask([str(tmp_path / "plain")]).problem


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    program(tmp_path / "asked", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    answer = commands.ask([str(tmp_path / "asked")], timeout_s=1)
    assert "gave no answer in 1 s" in answer.problem
    status = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/status")
    deadline = time.monotonic() + 5
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)
