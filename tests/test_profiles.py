"""What sbatch would be told under the shipped profiles; no cluster is needed for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GPU_RULES = {"generate", "generate_qstar", "generate_heldout", "train"}
PROFILES = ("slurm", "slurm-gres")
GPU_WORDS = ("--gpus", "--gres")


@cache
def resolved(*arguments: str, **variables: str) -> dict:
    """The rules as `snakemake ARGUMENTS` would run them."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("SBATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "winnow.workflow.profile", *arguments],
        cwd=ROOT,
        env={**free, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rules"]


def gpu_words(rule: dict) -> list[str]:
    return [word for word in rule["submit"].split() if word.startswith(GPU_WORDS)]


@pytest.mark.parametrize(("profile", "asked"), [("slurm", "--gpus=1"), ("slurm-gres", "--gres=gpu:1")])
def test_gpu_rules_ask_in_the_profiles_own_words_and_cpu_rules_for_none(profile: str, asked: str) -> None:
    rules = resolved("--profile", profile)
    assert set(rules) > GPU_RULES
    for name, rule in rules.items():
        assert not rule["refused"], name
        assert gpu_words(rule) == ([asked] if name in GPU_RULES else []), name


@pytest.mark.parametrize(
    ("profile", "asked"), [("slurm", "--gpus-per-node=h100:4"), ("slurm-gres", "--gres=gpu:h100:4")]
)
def test_several_nodes_of_one_model(profile: str, asked: str, tmp_path: Path) -> None:
    config = tmp_path / "nodes.json"
    config.write_text(json.dumps({"resources": {"train": {"gpu": 4, "gpu_model": "h100", "nodes": 2}}}))
    train = resolved("--profile", profile, "--configfile", "config.yaml", str(config))["train"]
    words = train["submit"].split()
    assert {asked, "--nodes=2", "--ntasks=2"} <= set(words), words
    assert "--ntasks-per-gpu" not in train["submit"]
    limited = {"slurm": "gpu", "slurm-gres": "gpus_in_flight"}[profile]
    assert train["attempts"][0][limited] == 8


@pytest.mark.parametrize("profile", PROFILES)
def test_retries_get_more_time_and_memory(profile: str) -> None:
    attempts = resolved("--profile", profile)["generate"]["attempts"]
    assert len(attempts) == 4
    for name in ("runtime", "mem_mb"):
        assert [each[name] for each in attempts] == [attempts[0][name] * k for k in (1, 2, 3, 4)]


@pytest.mark.parametrize("profile", PROFILES)
def test_account_and_partition_come_from_the_environment_or_not_at_all(profile: str) -> None:
    given = resolved("--profile", profile, SBATCH_ACCOUNT="grant7", SBATCH_PARTITION="gpu")["train"]
    left = resolved("--profile", profile)["train"]
    for name, value in {"slurm_account": "grant7", "slurm_partition": "gpu"}.items():
        assert given["attempts"][0][name] == value
        assert left["attempts"][0].get(name) is None
    assert "$" not in given["submit"] + left["submit"]


def test_a_resource_that_no_job_could_have_is_told_before() -> None:
    """One that asks for wildcards is not: only a job has them."""
    rules = resolved(
        "--profile", "slurm", "--set-resources", "score:runtime=60 * atempt", "select:runtime=wildcards.n"
    )
    assert "'60 * atempt' could not be parsed" in rules["score"]["refused"]
    assert not rules["select"]["refused"] and rules["select"]["attempts"][0]["runtime"] is None
