"""SLURM's own output, as the doctor reads it."""

from __future__ import annotations

import pytest
import slurm_output

from winnow.doctor.cluster import (
    Cluster,
    parse_accounts,
    parse_gres,
    parse_minutes,
    parse_nodes,
    parse_settings,
)
from winnow.doctor.finding import FAIL, HINT, OK
from winnow.doctor.slurm import check, duration


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:h100:8", {"h100": 8}),
        ("gpu:h100:8(S:0-1)", {"h100": 8}),
        ("gpu:h100:8(S:0,1)", {"h100": 8}),
        ("gpu:a100:4(IDX:0-3),gpu:v100:2(IDX:4-5),nvme:1", {"a100": 4, "v100": 2}),
        ("gpu:tesla_v100-sxm2-32gb:4(S:0-1)", {"tesla_v100-sxm2-32gb": 4}),
        ("gpu:1g.10gb:7", {"1g.10gb": 7}),
        ("gpu:a100:no_consume:2,shard:a100:8", {"a100": 2}),
        ("craynetwork:4,gpu:a100:1", {"a100": 1}),
    ],
)
def test_gpus_of_a_node(text, gpus):
    assert parse_gres(text) == gpus


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("infinite", None),
        ("n/a", None),
        ("UNLIMITED", None),
        ("30:00", 30),
        ("45", 45),
        ("1:00:00", 60),
        ("2-00:00:00", 2880),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:59", 2190),
    ],
)
def test_time_limits(text, minutes):
    assert parse_minutes(text) == minutes


def test_partitions_of_the_recorded_cluster():
    partitions = parse_nodes(slurm_output.SINFO)
    assert list(partitions) == ["main", "closed", "long", "short"], "the default one comes first"
    cluster = Cluster(partitions)
    assert cluster.default is partitions["main"]
    assert partitions["main"].limit_min == 2880 and partitions["long"].limit_min is None
    assert [node.up for node in partitions["main"].nodes] == [True, False]
    assert not partitions["closed"].up and partitions["closed"].models == {"h200"}
    assert len(cluster.nodes) == 5
    old = next(node for node in partitions["short"].nodes if node.name == "old1")
    assert (old.cpus, old.memory_mb, old.gpus, old.host) == (2, 4000, {"a100": 2}, "vm")


def test_partitions_of_a_large_cluster():
    partitions = parse_nodes(slurm_output.LARGE)
    up = {node.name for partition in partitions.values() for node in partition.nodes if node.up}
    assert up == {"g001", "g002", "g004", "m001", "t001"}
    assert partitions["hopper"].nodes[3].cpus == 64, "64+ is at least 64"
    assert [node.all_gpus for node in partitions["mig"].nodes] == [10, 4]
    assert partitions["mig"].models == {"1g.10gb", "2g.20gb"}


def test_no_nodes_and_noise():
    assert parse_nodes("") == {}
    assert parse_nodes("sinfo: warning: something\n" + slurm_output.SINFO).keys() == {
        "main", "closed", "long", "short",
    }  # fmt: skip


def test_settings():
    settings = parse_settings(slurm_output.CONFIG)
    assert settings["SLURM_VERSION"] == "22.05.8" and settings["LaunchParameters"] == "(null)"
    none = Cluster({}, settings)
    assert none.min_job_age_s == 300 and not none.needs_account
    accounts = Cluster({}, parse_settings(slurm_output.CONFIG_WITH_ACCOUNTS))
    assert accounts.min_job_age_s == 60 and accounts.needs_account
    assert Cluster({}).min_job_age_s is None


def test_accounts():
    assert parse_accounts(slurm_output.ACCOUNTS) == (["vision", "language"], "vision")
    assert parse_accounts("") == ([], "")
    assert parse_accounts("sacctmgr: error\n|\n") == ([], "")


def test_findings_of_a_cluster():
    cluster = Cluster(parse_nodes(slurm_output.SINFO), parse_settings(slurm_output.CONFIG))
    found = {finding.found.split(":")[0]: finding for finding in check(cluster, "", False)}
    assert found["22.05.8, cluster dev"].found.endswith("3 of 5 nodes take jobs")
    main = found["main (default)"]
    assert main.level == OK
    assert main.found == (
        "main (default): 1 of 2 nodes up, GPUs h100 4 a node (8), 2 CPUs and 8 GB a node, limit 2 days"
    )
    assert found["short"].found.endswith("GPUs a100 2 a node (2), 2 CPUs and 4–8 GB a node, limit 1 h")
    assert found["closed"].level == HINT and "it is closed" in found["closed"].found
    assert "has to be squeue" in found["there is none"].found


def test_findings_without_a_cluster():
    assert [finding.level for finding in check(None, "there is no program sinfo", True)] == [OK]
    silent = list(check(None, "`sinfo` failed: Unable to contact slurm controller", False))
    assert [finding.level for finding in silent] == [FAIL]
    assert "Unable to contact" in silent[0].found and silent[0].mend
    dead = parse_nodes("a|a|p*|up|down*|1:00|2|100|(null)\n")
    assert next(iter(check(Cluster(dead), "", False))).level == FAIL


def test_a_job_is_no_place_to_run_snakemake(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    cluster = Cluster(parse_nodes(slurm_output.SINFO))
    assert "this is a job itself (17)" in [finding.found for finding in check(cluster, "", False)]


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (None, "none"),
        (0, "0 min"),
        (90, "1 h 30 min"),
        (1440, "1 day"),
        (2880, "2 days"),
        (1500, "1 day 1 h"),
    ],
)
def test_durations(minutes, text):
    assert duration(minutes) == text
