"""examples/optimal_sampling through Snakemake, with fewer prompts; and its file for a cluster."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import orjson
import pytest
import yaml
from snakemake.utils import update_config
from workspace import ROOT, Workspace

from winnow import config as winnow_config

EXAMPLE = ROOT / "examples" / "optimal_sampling"
PROMPTS = 24
ARM = "step-0/kl_symmetry/n-8"


def rows(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_clusters_file_goes_on_top_of_the_config() -> None:
    config = yaml.safe_load((EXAMPLE / "config.yaml").read_text())
    small = copy.deepcopy(config)
    update_config(config, yaml.safe_load((EXAMPLE / "cluster.yaml").read_text()))
    winnow_config.check(config)
    assert config["run"] != small["run"]
    for split in ("train", "heldout"):
        assert config["data"][split]["path"] == "agentica-org/DeepScaleR-Preview-Dataset"
    assert config["data"]["heldout"]["num_samples"] <= config["data"]["train"]["start_idx"], "not disjoint"
    assert config["models"]["policy"].keys() == small["models"]["policy"].keys(), "a shipped model is left"
    assert "{{ reference }}" in config["prompt"]["teacher"]
    assert "reference" not in config["prompt"]["student"]
    told = (EXAMPLE / "config.yaml").read_text()
    assert re.search(r"^#   snakemake .*examples/optimal_sampling/cluster\.yaml$", told, re.MULTILINE)


@pytest.mark.slow
def test_two_rounds_at_small_size(tmp_path: Path) -> None:
    space = Workspace.fresh(tmp_path)
    config = yaml.safe_load((space.root / "examples/optimal_sampling/config.yaml").read_text())
    config["data"]["train"]["num_samples"] = PROMPTS
    config["data"]["heldout"]["num_samples"] = 8
    config["selection"]["num_examples"] = 32
    config["arms"] = [
        {"step": "0", "alpha": ["policy"], "n": [8]},
        {"step": "0", "alpha": ["kl_symmetry"], "n": [8], "train": True},
    ]
    config["training"]["max_epochs"] = 1
    (space.root / "small.yaml").write_text(yaml.safe_dump(config))
    outcome = space.snakemake("--configfile", "small.yaml", timeout=300)
    assert outcome.code == 0, outcome.text[-6000:]
    results = space.root / "results/optimal_sampling"
    asked = rows(results / "prompts/train/00000-of-00001.jsonl")
    for prompt in asked:
        assert "answer" in prompt["teacher_messages"][0]["content"]
        assert "answer" not in prompt["messages"][0]["content"]
    for step in ("0", "round-1"):
        told = rows(
            results / f"completions/train/step-{step}/kl_symmetry/00000-of-00001.block-0.diagnostics.jsonl"
        )
        assert len(told) == PROMPTS * 8
        assert {"alpha_mean", "alpha_std", "ess_ratio_mean", "kl_theta_mean", "kl_t_mean"} <= told[0].keys()
        mean = sum(row["alpha_mean"] for row in told) / len(told)
        assert 0.2 < mean < 0.8
    for row in rows(results / f"training_data/{ARM}/messages.jsonl"):
        # The student learns from its own prompt, without the answer that led the reasoning.
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert "answer" not in row["messages"][0]["content"]
    arms = {
        (arm["step"], arm["alpha"]): arm
        for arm in orjson.loads((results / "summary.json").read_bytes())["arms"]
    }
    assert arms.keys() == {("0", "policy"), ("0", "kl_symmetry"), ("round-1", "kl_symmetry")}
    # Led by the answer, more of what is drawn is right.
    assert arms["0", "kl_symmetry"]["yield"] > arms["0", "policy"]["yield"]
