"""The real DAG runs what a change touches, and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
from workspace import GENERATION, Workspace

SCORING_AND_BELOW = {
    "score", "select", "export", "diagnose", "diagnose_qstar", "train", "evaluate", "summarize",
}  # fmt: skip


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1))


def test_every_stage_left_its_files(finished: Workspace) -> None:
    summary = orjson.loads((finished.results / "summary.json").read_bytes())
    arms = {(arm["step"], arm["alpha"], arm["n"]): arm for arm in summary["arms"]}
    assert set(arms) == {("middle", "policy", 4), ("middle", "kl_symmetry", 4), ("late", "policy", 4)}
    assert all(arm["completions"] == 12 * 4 and arm["seconds"] > 0 for arm in arms.values())
    assert arms["middle", "kl_symmetry", 4]["accepted"] > arms["middle", "policy", 4]["accepted"]
    assert 0 < arms["middle", "kl_symmetry", 4]["alpha_mean"] < 1
    assert arms["middle", "policy", 4]["accuracy_after"] is not None
    assert arms["late", "policy", 4]["accuracy_after"] is None
    ledger = (finished.results / "selected/step-middle/policy/n-4/ledger.jsonl").read_bytes().splitlines()
    assert len({orjson.loads(line)["id"] for line in ledger}) == 12 * 4
    assert not list(finished.results.rglob("*.partial"))


def test_a_touch_or_a_comment_reruns_nothing(space: Workspace) -> None:
    assert space.plan().nothing_to_do
    touched = [
        file
        for folder in ("scripts", "winnow", "models", "rules", "examples/arithmetic/data")
        for file in (space.root / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert len(touched) > 80
    for file in touched:
        file.touch()
    replace(space.root / "config.yaml", "run: small", "run: small   # a comment")
    replace(space.root / "winnow/qstar/alpha.py", "import torch\n", "import torch  # a comment\n")
    assert space.plan().nothing_to_do


def test_raising_n_draws_only_the_missing_blocks(space: Workspace) -> None:
    def n(value: int) -> Any:
        def change(config: dict[str, Any]) -> None:
            config["arms"] = [{"step": "middle", "alpha": ["policy"], "n": [value]}]

        return change

    before = space.texts("completions")
    for value, blocks in ((8, 1), (16, 2)):
        space.configure(n(value))
        outcome = space.run("selected")
        assert outcome.jobs["generate"] == blocks * 2, outcome.text
        assert outcome.jobs["generate_qstar"] == 0
    after = space.texts("completions")
    assert before.items() <= after.items()
    assert sum("step-middle/policy:" in key for key in after) == 12 * 16
    space.configure(n(4))
    assert not GENERATION & set(space.plan("selected").jobs)


def test_another_scorer_version_scores_again_and_draws_nothing_for_training(space: Workspace) -> None:
    path = space.root / "winnow/scoring/exact_answer.py"
    version = re.compile(r"(?<=version: ClassVar\[int\] = )\d+")
    raised, count = version.subn(lambda found: str(int(found[0]) + 1), path.read_text())
    assert count == 1
    path.write_text(raised)
    jobs = space.plan().jobs
    assert jobs["score"] == 2 * 3
    assert jobs["select"] == 3
    assert jobs["train"] == 1
    assert jobs["generate"] == jobs["generate_qstar"] == 0
    # What training gives is new, and is measured anew; the untrained checkpoints are not drawn again.
    assert jobs["generate_heldout"] == 1


def test_a_deleted_shard_is_made_again_with_what_is_below(space: Workspace) -> None:
    before = space.texts("completions")
    (space.results / "completions/train/step-late/policy/00001-of-00002.block-0.jsonl").unlink()
    outcome = space.run()
    assert outcome.jobs["generate"] == 1
    assert outcome.jobs["score"] == 1
    assert outcome.jobs["select"] == outcome.jobs["diagnose"] == outcome.jobs["summarize"] == 1
    assert outcome.jobs["train"] == outcome.jobs["generate_heldout"] == 0
    assert space.texts("completions") == before


def test_another_temperature_draws_again(space: Workspace) -> None:
    space.configure(lambda config: config["generation"].update(temperature=0.7))
    outcome = space.plan()
    assert outcome.jobs["generate"] == 4
    assert outcome.jobs["generate_qstar"] == 2
    assert outcome.jobs["prompts_train"] == outcome.jobs["describe_model"] == 0
    assert set(outcome.jobs) >= SCORING_AND_BELOW


def test_other_weights_under_the_same_path(space: Workspace) -> None:
    shutil.copy(space.root / "models/middle/model.safetensors", space.root / "models/late/model.safetensors")
    jobs = space.plan().jobs
    assert jobs["describe_model"] == 1
    assert jobs["generate"] == 2
    assert jobs["generate_heldout"] == 1
    assert jobs["generate_qstar"] == jobs["train"] == jobs["prompts_train"] == 0
    assert jobs["select"] == 1


def test_batch_size_and_cores_rerun_nothing(space: Workspace) -> None:
    space.configure(lambda config: config["generation"].update(batch_size=5))
    assert space.plan("--cores", "1").nothing_to_do


def test_a_failing_stage_leaves_the_rest_to_finish(space: Workspace) -> None:
    """--keep-going finishes what does not depend on the failure; the next run does what is missing."""
    shutil.rmtree(space.results / "checkpoints")
    (space.results / "selected/step-late/policy/n-4/statistics.json").unlink()
    config = space.root / "envs/accelerate/one-device.yaml"
    good = config.read_text()
    config.unlink()
    outcome = space.snakemake("--keep-going")
    assert outcome.code != 0
    assert "no such file" in outcome.text
    assert "Traceback" not in outcome.text
    assert (space.results / "selected/step-late/policy/n-4/statistics.json").exists()
    config.write_text(good)
    jobs = space.plan().jobs
    assert jobs["train"] == 1
    assert jobs["select"] == jobs["generate"] == jobs["generate_qstar"] == 0
