"""examples/tulu: best and worst of n by two reward models that vote, to open-instruct's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from workspace import GENERATION, Workspace

FOLDER = "examples/tulu"
PROMPTS, N = 40, 8
MODELS = ("reward_model/first", "reward_model/second")


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.slow
def test_best_and_worst_by_reward_models_that_vote(tmp_path: Path) -> None:
    space = Workspace.fresh(tmp_path)
    smaller = {"data": {"train": {"num_samples": PROMPTS}}}
    (space.root / "smaller.yaml").write_text(yaml.safe_dump(smaller))
    files = (f"{FOLDER}/config.yaml", f"{FOLDER}/small.yaml", "smaller.yaml")
    space.run("--configfile", *files, timeout=500)
    results, place = space.root / "results/tulu-small", "step-sft/policy/n-8"
    scored = [row for path in sorted((results / "scored").rglob("*.jsonl")) for row in rows(path)]
    assert len(scored) == PROMPTS * N
    values = {row["id"]: [row["scores"][name]["value"] for name in MODELS] for row in scored}
    assert all(None not in pair and pair[0] != pair[1] for pair in values.values())
    accepted = rows(results / f"selected/{place}/accepted.jsonl")
    chosen, rejected = accepted[::2], accepted[1::2]
    for best, worst in zip(chosen, rejected, strict=True):
        assert (best["role"], worst["role"]) == ("chosen", "rejected")
        assert best["prompt_id"] == worst["prompt_id"]
        group = [values[f"{best['prompt_id']}/{sample}"] for sample in range(N)]
        # One model's vote at least: with two that differ, the mean rank decides.
        assert any(values[best["id"]][m] == max(v[m] for v in group) for m in range(2))
        assert any(values[worst["id"]][m] == min(v[m] for v in group) for m in range(2))
    prompts = {row["id"]: row for path in (results / "prompts/train").iterdir() for row in rows(path)}
    folder = results / f"training_data/{place}"
    written = rows(folder / "rejected_sampling_completions.jsonl")
    assert len(written) == len(chosen) > PROMPTS / 2
    for row, best, worst in zip(written, chosen, rejected, strict=True):
        assert list(row) == [
            "chosen", "rejected", "reference_completion", "reference_completion_score", "chosen_score",
            "rejected_score",
        ]  # fmt: skip
        assert row["chosen"][-1] == {"role": "assistant", "content": best["text"]}
        assert row["rejected"][-1] == {"role": "assistant", "content": worst["text"]}
        assert [row["chosen_score"][name] for name in MODELS] == values[best["id"]]
        assert row["reference_completion"] == prompts[best["prompt_id"]]["reference"]
        assert all(isinstance(row["reference_completion_score"][name], float) for name in MODELS)
    assert len(rows(folder / "completions.jsonl")) == len(rows(folder / "completion_scores.jsonl")) == 320
    assert len(rows(folder / "preference.jsonl")) == len(written)
    a_reference_and_one_completion_are_a_pair(space, files, prompts)


def a_reference_and_one_completion_are_a_pair(
    space: Workspace, files: tuple[str, ...], prompts: dict[str, Any]
) -> None:
    """The same run with another selection: nothing is drawn or scored again."""
    arm = {"step": "sft", "alpha": ["policy"], "n": [1], "export": True}
    included = {"arms": [arm], "selection": {"include_reference": True}}
    (space.root / "included.yaml").write_text(yaml.safe_dump(included))
    done = space.run("--configfile", *files, "included.yaml", timeout=500)
    assert not done.jobs.keys() & {*GENERATION, "score"}
    results, place = space.root / "results/tulu-small", "step-sft/policy/n-1"
    statistics = orjson.loads((results / f"selected/{place}/statistics.json").read_bytes())
    told = statistics["references"]
    assert (statistics["completions"], told["candidates"]) == (PROMPTS, PROMPTS)
    assert told["accepted"] == statistics["accepted"] == statistics["examples"] > PROMPTS / 2
    assert {f"accepted: best_worst, {role}" for role in ("chosen", "rejected")} <= told["outcomes"].keys()
    accepted = rows(results / f"selected/{place}/accepted.jsonl")
    pairs = rows(results / f"training_data/{place}/preference.jsonl")
    for pair, chosen, rejected in zip(pairs, accepted[::2], accepted[1::2], strict=True):
        assert [chosen.get("is_reference"), rejected.get("is_reference")].count(True) == 1
        role, kept = ("chosen", chosen) if chosen.get("is_reference") else ("rejected", rejected)
        assert pair[role][-1]["content"] == kept["text"] == prompts[kept["prompt_id"]]["reference"]
