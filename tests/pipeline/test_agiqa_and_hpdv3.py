"""Systems A and B with images, as one command each: examples/agiqa and examples/hpdv3, at small size."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from PIL import Image
from workspace import Workspace


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def run(space: Workspace, name: str, change: Callable[[dict[str, Any]], None], *over: str) -> None:
    """An example's own config, made smaller."""
    config = yaml.safe_load((space.root / f"examples/{name}/config.yaml").read_text())
    change(config)
    (space.root / f"{name}.yaml").write_text(yaml.safe_dump(config))
    space.run("--configfile", f"{name}.yaml", *over, timeout=580)


@pytest.mark.slow
def test_ratings_over_three_checkpoints(tmp_path: Path) -> None:
    """Errors, figures and the filter at 0.75; a picture that is broken costs its own ratings."""
    steps, prompts, n = ("110", "150", "210"), 60, 8
    space = Workspace.fresh(tmp_path)
    broken = space.root / "examples/agiqa/data/images/train-007.png"
    broken.write_bytes(broken.read_bytes()[:200])

    def smaller(config: dict[str, Any]) -> None:
        config["data"]["train"]["num_samples"] = prompts
        config["serving"] = {"max_failed_fraction": 0.02}
        del config["data"]["heldout"]
        for arm in config["arms"]:
            arm["n"] = [n]
            arm["export"] = arm.pop("train", False)

    run(space, "agiqa", smaller)
    truth = {row["id"]: float(row["answer"]) for row in rows(space.root / "examples/agiqa/data/train.jsonl")}
    means = []
    for step in steps:
        place = f"step-{step}/policy/n-{n}"
        folder = space.root / f"results/agiqa/diagnostics/{place}"
        found = orjson.loads((folder / "reject_sampling_results.json").read_bytes())
        errors = [error for row in found for error in row["all_errors"]]
        assert len(found) >= prompts - 1 and len(errors) > 0.8 * n * prompts
        for row in found:
            assert row["ground_truth"] == truth[row["id"]]
        means.append(sum(errors) / len(errors))
        with Image.open(folder / "error_distribution.png") as figure:
            assert min(figure.size) > 300
        text = (folder / "statistics.txt").read_text()
        assert re.search(r"^  count", text, re.MULTILINE)
        kept = rows(space.root / f"results/agiqa/selected/{place}/accepted.jsonl")
        best = {row["id"]: row["min_error"] for row in found if row["all_errors"]}
        assert [row["prompt_id"] for row in kept] == [key for key, error in best.items() if error <= 0.75]
        ledger = rows(space.root / f"results/agiqa/selected/{place}/ledger.jsonl")
        assert len(ledger) == prompts * n
        lost = [row for row in ledger if row["id"].startswith("train-007/")]
        assert [row["outcome"] for row in lost] == ["not_generated"] * n
        assert all("train-007.png cannot be read" in row["detail"] for row in lost), lost[:1]
        if step == steps[-1]:
            filtered = rows(space.root / f"results/agiqa/training_data/{place}/filtered_dataset.jsonl")
            assert [row["images"] for row in filtered] == [[f"images/{r['prompt_id']}.png"] for r in kept]
            assert all(row.keys() == {"problem", "answer", "images"} for row in filtered)
    # The later a checkpoint, the nearer its ratings.
    assert means[0] > means[1] + 0.1 > means[2] + 0.2, means


@pytest.mark.slow
def test_comparisons_get_better_when_trained_on_what_was_right(tmp_path: Path) -> None:
    """The images stand in one order from the prompt to the training row, and accuracy rises."""
    space = Workspace.fresh(tmp_path)

    def smaller(config: dict[str, Any]) -> None:
        config["data"]["train"]["num_samples"] = 120
        config["data"]["heldout"]["num_samples"] = 80
        config["evaluation"]["n"] = 2

    run(space, "hpdv3", smaller)
    results, place = space.root / "results/hpdv3", "step-cold_start/policy/n-8"
    pairs = orjson.loads((space.root / "examples/hpdv3/data/train.json").read_bytes())
    preferred = {(pair["path1"], pair["path2"]): pair["path1"] for pair in pairs}
    prompts = {row["id"]: row for row in rows(results / "prompts/train/00000-of-00001.jsonl")}
    accepted = rows(results / f"selected/{place}/accepted.jsonl")
    exported = rows(results / f"training_data/{place}/prompt_completion.jsonl")
    shared = orjson.loads((results / f"training_data/{place}/sharegpt.json").read_bytes())
    assert 100 < len(accepted) == len(exported) == len(shared)
    for kept, one, other in zip(accepted, exported, shared, strict=True):
        assert one["images"] == other["images"] == prompts[kept["prompt_id"]]["images"]
        assert one["completion"][0]["content"] == other["conversations"][-1]["value"] == kept["text"]
        assert one["prompt"][0]["content"].count("<image>") == 2
        named = re.search(r"<answer>image ([12]) is better</answer>", kept["text"].lower())
        assert named is not None
        first, second = one["images"]
        best = preferred.get((first, second)) or preferred[(second, first)]
        assert one["images"][int(named[1]) - 1] == best
    assert {row["reference"] for row in prompts.values()} == {"Image 1 is better", "Image 2 is better"}
    # LightRFT's own files, the order of the images among them.
    folder = results / f"training_data/{place}"
    samples = orjson.loads((folder / "filtered_samples.json").read_bytes())
    conversations = orjson.loads((folder / "rejection_sampling_train.json").read_bytes())
    assert "accuracy" in (folder / "filtered_samples_stats.txt").read_text().lower()
    for kept, sample, row in zip(accepted, samples, conversations, strict=True):
        shown = prompts[kept["prompt_id"]]["images"]
        assert row["images"] == shown
        assert sample["generated_text"] == kept["text"]
        assert sample["preference"] == ("A" if shown[0] == sample["path1"] else "B")
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
        told = re.fullmatch(
            r"<think>\n.+\n</think>\n<answer>Image [12] is better</answer>", row["conversations"][1]["value"]
        )
        assert told, row
    trained = orjson.loads((results / f"checkpoints/{place}/examples.json").read_bytes())
    assert trained == {"examples": len(exported), "prompt_too_long": 0, "too_long": 0}
    (arm,) = orjson.loads((results / "summary.json").read_bytes())["arms"]
    assert 0.6 < arm["accuracy_before"] < 0.8
    assert arm["accuracy_after"] > arm["accuracy_before"] + 0.08, arm


@pytest.mark.slow
def test_comparisons_without_thinking(tmp_path: Path) -> None:
    """The same question, answered at once: no reasoning is asked for, drawn, or made up in the files."""
    space = Workspace.fresh(tmp_path)

    def smaller(config: dict[str, Any]) -> None:
        config["data"]["train"]["num_samples"] = 40
        del config["data"]["heldout"]
        config["arms"] = [{"step": "cold_start", "alpha": ["policy"], "n": [4], "export": True}]
        config["generation"]["block_size"] = 4

    run(space, "hpdv3", smaller, "examples/hpdv3/without-thinking.yaml")
    results, place = space.root / "results/hpdv3-without-thinking", "step-cold_start/policy/n-4"
    prompts = {row["id"]: row for row in rows(results / "prompts/train/00000-of-00001.jsonl")}
    assert not any("Think" in prompt["messages"][0]["content"] for prompt in prompts.values())
    accepted = rows(results / f"selected/{place}/accepted.jsonl")
    folder = results / f"training_data/{place}"
    samples = orjson.loads((folder / "filtered_samples.json").read_bytes())
    conversations = orjson.loads((folder / "rejection_sampling_train.json").read_bytes())
    assert 20 < len(accepted) == len(samples) == len(conversations)
    for kept, sample, row in zip(accepted, samples, conversations, strict=True):
        images = prompts[kept["prompt_id"]]["images"]
        assert row["images"] == images
        assert sample["reasoning"] is None
        said = row["conversations"][-1]["value"]
        assert re.fullmatch(r"<answer>Image [12] is better</answer>", said), said
        assert images[int(said[len("<answer>Image ")]) - 1] == sample["path1"]
