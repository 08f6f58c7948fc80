"""Faults of a profile on a cluster: each one is found, and a sound profile has none."""

from __future__ import annotations

import dataclasses
import os

import pytest
import slurm_output

from winnow.doctor.cluster import Cluster, parse_nodes, parse_settings
from winnow.doctor.faults import check
from winnow.doctor.finding import FAIL, HINT, OK, WARN
from winnow.doctor.profile import Profile, Rule

CLUSTER = Cluster(parse_nodes(slurm_output.SINFO), parse_settings(slurm_output.CONFIG))
LARGE = Cluster(parse_nodes(slurm_output.LARGE), parse_settings(slurm_output.CONFIG))
WITH_ACCOUNTS = dataclasses.replace(
    CLUSTER,
    settings=parse_settings(slurm_output.CONFIG_WITH_ACCOUNTS),
    accounts=frozenset({"vision", "language"}),
    accounting=True,
)
SOUND = {"threads": 1, "mem_mb": 2000, "runtime": 60}


def rule(name="generate", *attempts, local=False, refused="", capped=None, **asked):
    first = {**SOUND, **asked}
    command = "" if local or refused else "sbatch --parsable --comment rule_x -t 60"
    return Rule(
        name, local, (first, *({**first, **more} for more in attempts)), capped or {}, command, refused
    )


def profile(*rules, **changed):
    base = Profile(
        files=("slurm/config.yaml",),
        lost=(),
        executor="slurm",
        jobs=100,
        retries=0,
        limits={"gpu": 16},
        settings={"status_command": "squeue", "init_seconds_before_status_checks": 40},
        unknown_rules=(),
        rules=rules,
        results="results",
    )
    return dataclasses.replace(base, **changed)


@pytest.fixture(autouse=True)
def _sbatch(tmp_path, monkeypatch):
    """An sbatch that takes everything; what it was called with lies in a file."""
    sbatch(
        tmp_path, f"printf '%s\\n' \"$*\" >> {tmp_path}/calls; echo '{slurm_output.TEST_ONLY.strip()}' >&2"
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def sbatch(folder, script):
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def found(settings, cluster=CLUSTER, variables=None):
    return [(f.level, f.found) for f in check(settings, cluster, variables or {}) if f.level != OK]


def only(settings, cluster=CLUSTER, variables=None):
    """The one finding that is not ok."""
    findings = [f for f in check(settings, cluster, variables or {}) if f.level != OK]
    assert len(findings) == 1, findings
    assert findings[0].mend
    return findings[0].level, findings[0].found


def test_a_sound_profile_has_none(tmp_path):
    settings = profile(rule(gpu=4, gpu_model="h100"), rule("train", gpu=4))
    assert found(settings) == []
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1, "the same command is asked once"
    assert calls[0].startswith("--test-only ") and calls[0].endswith("--wrap=true")


def test_what_sbatch_refuses(tmp_path):
    sbatch(tmp_path, f"echo '{slurm_output.REFUSED.strip()}' >&2; exit 1")
    level, text = only(profile(rule(), rule("score")))
    assert level == FAIL
    reason = "allocation failure: Requested node configuration is not available"
    assert text == f"generate, score: sbatch refuses it: {reason}"


@pytest.mark.parametrize(
    ("asked", "level", "told"),
    [
        ({"slurm_partition": "$PART"}, FAIL, "slurm_partition is the literal text '$PART'"),
        ({"constraint": "${KIND}"}, FAIL, "constraint is the literal text '${KIND}'"),
        ({"slurm_account": "$ACCOUNT"}, FAIL, "slurm_account is the literal text '$ACCOUNT'"),
        ({"gpu": 1, "gres": "gpu:h100:1"}, FAIL, "asks for GPUs twice"),
        ({"gpu_model": "h100"}, WARN, "asks for one GPU, by gpu_model=h100 without gpu"),
        ({"slurm_partition": "mian"}, FAIL, "the partition mian does not exist (did you mean 'main'?)"),
        ({"slurm_partition": "main,nope"}, FAIL, "the partition nope does not exist"),
        ({"slurm_partition": "closed"}, FAIL, "the partition closed is closed"),
        ({"gpu": 1, "gpu_model": "h200"}, FAIL, "asks for h200, and no node of main has any"),
        ({"gres": "gpu:h200:1"}, FAIL, "asks for h200, and no node of main has any"),
        ({"gpu": 8}, FAIL, "asks for 8 GPUs on a node, nodes of main have up to 4"),
        (
            {"gpu": 3, "slurm_partition": "short"},
            FAIL,
            "asks for 3 GPUs on a node, nodes of short have up to 2",
        ),
        ({"gres": "gpu:5"}, FAIL, "asks for 5 GPUs on a node, nodes of main have up to 4"),
        ({"mem_mb": 8001}, FAIL, "asks for 8,001 MB, nodes of main that fit have up to 8,000 MB"),
        (
            {"mem_mb": 5000, "gpu": 1, "slurm_partition": "short"},
            FAIL,
            "asks for 5,000 MB, nodes of short that fit have up to 4,000 MB",
        ),
        ({"threads": 3}, FAIL, "asks for 3 CPUs, nodes of main that fit have up to 2"),
        ({"runtime": 2881}, FAIL, "asks for 2 days 1 min, the limit of main is 2 days"),
        (
            {"gpu": 1, "gpu_model": "h200", "slurm_partition": "long"},
            WARN,
            "too few nodes of long that fit are up now",
        ),
        ({"gpu": 8, "nodes": 2}, WARN, "too few nodes of main that fit are up now"),
        ({"gpu": 12, "nodes": 3}, FAIL, "asks for 3 nodes, and main has 2 that fit"),
        ({"mem_mb": 7000, "nodes": 2, "slurm_partition": "short"}, FAIL, "asks for 2 nodes, and short has 1"),
    ],
)
def test_faults_of_a_rule(asked, level, told):
    got_level, text = only(profile(rule(**asked)))
    assert got_level == level
    assert text.startswith(f"generate: {told}")


@pytest.mark.parametrize(
    "asked",
    [
        {"gpu": 4, "nodes": 2, "slurm_partition": "long"},
        {"gpu": 4, "gpu_model": "H100"},
        {"gres": "gpu:h100:4"},
        {"gres": "nvme:1"},
        {"mem_mb": 8000, "threads": 2, "runtime": 2880},
        {"runtime": 100_000, "slurm_partition": "long"},
        {"runtime": 120, "slurm_partition": "short,main"},
        {"mem_mb": None},
        {"slurm_partition": None},
    ],
)
def test_what_fits(asked):
    assert found(profile(rule(**asked))) == []


def test_retries_that_outgrow_the_cluster():
    settings = profile(rule("train", {"runtime": 120}, {"runtime": 180}, runtime=60, slurm_partition="short"))
    level, text = only(settings)
    assert level == WARN
    assert text.startswith("train: asks for 2 h at attempt 2, the limit of short is 1 h")


def test_rules_with_the_same_fault_share_a_line():
    rules = [rule(f"r{number}", slurm_partition="nope") for number in range(6)]
    assert only(profile(*rules))[1].startswith("r0, r1, r2 and 3 more: the partition nope")


def test_local_rules_ask_nothing_of_the_cluster():
    assert found(profile(rule(local=True, slurm_partition="nope"))) == []


def test_a_cluster_without_default_partition():
    none = Cluster({name: p for name, p in CLUSTER.partitions.items() if not p.is_default}, CLUSTER.settings)
    assert only(profile(rule()), none)[1].startswith("generate: names no partition")


def test_large_cluster():
    assert found(profile(rule(gpu=16, nodes=2, gpu_model="h100", mem_mb=1_500_000)), LARGE) == []
    assert only(profile(rule(gpu=8, slurm_partition="mig", gpu_model="1g.10gb")), LARGE)[0] == FAIL


def test_refused_by_the_executor():
    assert only(profile(rule(refused="Invalid GPU model format: h-100.")))[1].endswith("format: h-100.")


def test_limits_that_take_from_a_rule():
    settings = profile(rule(gpu=2, capped={"gpu": 8}), limits={"gpu": 2})
    assert only(settings) == (WARN, "generate: asks for gpu=8, and gets 2: more may not be in flight")


def test_settings():
    settings = profile(
        rule(),
        unknown_rules=("generat",),
        lost=(
            ("default-resources", "gpu_request", "slurm-gres/config.yaml", "profiles/default/config.yaml"),
        ),
        settings={"status_command": "squeue", "logdir": "$LOGS/slurm"},
    )
    assert found(settings) == [
        (WARN, "set-resources or set-threads names 'generat', which is no rule (did you mean 'generate'?)"),
        (WARN, "gpu_request of slurm-gres/config.yaml is lost"),
        (FAIL, "slurm-logdir is the literal text '$LOGS/slurm': the variable is not set"),
    ]


def test_no_slurm_here():
    assert only(profile(rule()), None)[1] == "its executor is slurm, and no SLURM answers here"
    assert found(profile(rule(slurm_partition="$PART"), executor="local"), None) == []


def test_how_the_end_of_a_job_is_learnt():
    sacct = {"status_command": "sacct"}
    assert only(profile(rule(), settings=sacct))[1].startswith("it asks sacct how jobs ended")
    assert found(profile(rule(), settings=sacct), WITH_ACCOUNTS, {"SBATCH_ACCOUNT": "vision"}) == []
    level, text = only(profile(rule()), WITH_ACCOUNTS, {"SBATCH_ACCOUNT": "vision"})
    assert (level, text) == (WARN, "squeue forgets a job 60 s after its end, and is first asked after 40 s")
    patient = {"status_command": "squeue", "init_seconds_before_status_checks": 20}
    assert found(profile(rule(), settings=patient), WITH_ACCOUNTS, {"SBATCH_ACCOUNT": "vision"}) == []


def test_accounts():
    sacct = {"status_command": "sacct"}

    def account(given, cluster=WITH_ACCOUNTS, variables=None):
        asked = {"slurm_account": given} if given else {}
        return found(profile(rule(**asked), settings=sacct), cluster, variables)

    assert account(None) == [(FAIL, "generate: no account is named, and this cluster wants one")]
    assert account(None, variables={"SBATCH_ACCOUNT": "vision"}) == []
    assert account(None, dataclasses.replace(WITH_ACCOUNTS, default_account="vision")) == []
    assert account("Language") == []
    assert account("vision, astronomy") == [(FAIL, "generate: the account astronomy is not one of yours")]


def test_the_partition_of_the_environment():
    variables = {"SBATCH_PARTITION": "short"}
    assert found(profile(rule(slurm_partition="short")), variables=variables) == []
    level, text = only(profile(rule()), variables=variables)
    assert level == WARN and text.startswith("SBATCH_PARTITION=short does not count for generate")
    assert found(profile(rule(slurm_partition="main")), variables=variables)[0][0] == HINT
