"""examples/optimal_sampling: what its two files make together, and its small size with fewer prompts yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from snakemake.utils import update_config
from workspace import ROOT, Workspace

from winnow import config as winnow_config

FOLDER = "examples/optimal_sampling"
ARM = "step-0/kl_symmetry/n-8"
PROMPTS = 24


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def merged(*names: str) -> dict[str, Any]:
    """The config that Snakemake makes of several files."""
    config: dict[str, Any] = {}
    for name in names:
        update_config(config, yaml.safe_load((ROOT / FOLDER / name).read_text()))
    winnow_config.check(config)
    return config


def test_at_full_size_held_out_rows_are_not_trained_on() -> None:
    data = merged("config.yaml")["data"]
    assert data["train"]["path"] == data["heldout"]["path"]
    assert data["heldout"]["start_idx"] + data["heldout"]["num_samples"] <= data["train"]["start_idx"]


def test_both_files_show_the_teacher_alone_the_answer_and_nothing_is_left_to_download() -> None:
    full, small = merged("config.yaml"), merged("config.yaml", "small.yaml")
    for config in (full, small):
        assert "{{ reference }}" in config["prompt"]["teacher"]
        assert "reference" not in config["prompt"]["student"]
    named = [small["data"][split]["path"] for split in ("train", "heldout")]
    named += [*small["models"]["policy"].values(), small["models"]["teacher"]]
    assert all((ROOT / path).exists() for path in named)
    assert small["run"] != full["run"]
    assert (small["arms"], small["rounds"]) == (full["arms"], full["rounds"])


@pytest.mark.slow
def test_two_rounds_at_small_size(tmp_path: Path) -> None:
    space = Workspace.fresh(tmp_path)
    smaller = {
        "data": {"train": {"num_samples": PROMPTS}, "heldout": {"num_samples": 8}},
        "arms": [
            {"step": "0", "alpha": ["policy"], "n": [8]},
            {"step": "0", "alpha": ["kl_symmetry"], "n": [8], "train": True},
        ],
        "selection": {"num_examples": 32},
        "training": {"max_epochs": 1},
    }
    (space.root / "smaller.yaml").write_text(yaml.safe_dump(smaller))
    files = (f"{FOLDER}/config.yaml", f"{FOLDER}/small.yaml", "smaller.yaml")
    outcome = space.snakemake("--configfile", *files, timeout=500)
    assert outcome.code == 0, outcome.text[-6000:]
    results = space.root / "results/optimal_sampling-small"
    for prompt in rows(results / "prompts/train/00000-of-00001.jsonl"):
        assert prompt["metadata"]["answer"] == prompt["reference"]
        assert prompt["reference"] in prompt["teacher_messages"][0]["content"]
        assert "answer" not in prompt["messages"][0]["content"]
    for step in ("0", "round-1"):
        blocks = results / f"completions/train/step-{step}/kl_symmetry"
        told = rows(blocks / "00000-of-00001.block-0.diagnostics.jsonl")
        assert len(told) == PROMPTS * 8
        assert {"alpha_mean", "alpha_std", "ess_ratio_mean", "kl_theta_mean", "kl_t_mean"} <= told[0].keys()
        assert 0.2 < sum(row["alpha_mean"] for row in told) / len(told) < 0.8
    for row in rows(results / f"training_data/{ARM}/messages.jsonl"):
        # The student learns from its own prompt, without the answer that led the reasoning.
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert "answer" not in row["messages"][0]["content"]
    written = rows(results / f"training_data/{ARM}/vespo.jsonl")
    diagnostics = rows(results / f"training_data/{ARM}/vespo.diagnostics.jsonl")
    assert [row["sample_idx"] for row in written] == [row["sample_idx"] for row in diagnostics]
    assert all({"messages", "problem", "answer"} <= row.keys() for row in written)
    assert all(0 < row["alpha_mean"] < 1 for row in diagnostics)
    summary = orjson.loads((results / "summary.json").read_bytes())
    arms = {(arm["step"], arm["alpha"]): arm for arm in summary["arms"]}
    assert arms.keys() == {("0", "policy"), ("0", "kl_symmetry"), ("round-1", "kl_symmetry")}
    # Led by the answer, more of what is drawn is right.
    assert arms["0", "kl_symmetry"]["pass_rate"] > arms["0", "policy"]["pass_rate"]
