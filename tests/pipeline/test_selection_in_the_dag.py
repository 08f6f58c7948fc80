"""Selection through the real DAG: another selection reruns what it touches; pairs, test sets, the trace."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from workspace import GENERATION, Workspace

ARM = "step-middle/kl_symmetry/n-4"


def pairs(config: dict[str, Any]) -> None:
    config["selection"] = {
        "strategy": "best_worst",
        "scorer": "numeric_error",
        "pair_mode": "max_random",
        "near_duplicates_across": 0.9,
        "decontaminate": {"quiz": "quiz.txt"},
        "decontaminate_heldout": True,
        "leak_phrases": ["given the answer"],
        "unhinted": True,
        "max_length_drift": 50,
    }
    for arm in config["arms"]:
        arm["train"] = False


@pytest.mark.slow
def test_pairs_clear_of_test_sets_and_leaks(space: Workspace) -> None:
    shown = [orjson.loads(line) for line in (space.results / "prompts/train/00000-of-00002.jsonl").open()]
    (space.root / "quiz.txt").write_text(shown[0]["messages"][-1]["content"] + "\n")
    space.configure(pairs)
    assert not space.plan("selected").jobs.keys() & {*GENERATION, "score"}
    space.run("selected")
    folder = space.results / "selected" / ARM
    accepted = [orjson.loads(line) for line in (folder / "accepted.jsonl").open()]
    ledger = [orjson.loads(line) for line in (folder / "ledger.jsonl").open()]
    statistics = orjson.loads((folder / "statistics.json").read_bytes())
    assert len(ledger) == statistics["completions"] == sum(statistics["outcomes"].values()) == 48
    assert [each["role"] for each in accepted] == ["chosen", "rejected"] * statistics["examples"]
    assert {e["id"] for e in ledger if e["reason"] == "prompt stands in quiz"} == {
        f"{shown[0]['id']}/{sample}" for sample in range(4)
    }
    assert statistics["leaks"]["drift"]["prompts"] == 12
    assert "leaks" not in statistics_of(space, "step-middle/policy/n-4")
    # A test set counts by its content.
    (space.root / "quiz.txt").touch()
    assert space.snakemake("selected").nothing_to_do
    (space.root / "quiz.txt").write_text("something else\n")
    assert space.plan("selected").jobs == {"select": 3, "selected": 1}
    found = space.program(
        "trace", f"{shown[0]['id']}/0", "--results", "results/small", "--alpha", "kl_symmetry"
    )
    assert found.code == 0, found.text
    assert "rejected: prompt stands in quiz" in found.text
    assert "quiz.txt, line 1" in found.text


def drift(config: dict[str, Any]) -> None:
    config["selection"] = {"unhinted": True, "max_logprob_drift": 0.02}
    config["generation"]["save_logprobs"] = True
    for arm in config["arms"]:
        arm["train"] = False


@pytest.mark.slow
def test_drift_of_log_probabilities_gates(space: Workspace) -> None:
    """Drawn with the answer in sight and without: how sure each was, as the engine tells it."""
    space.configure(drift)
    space.run("selected")
    statistics = statistics_of(space, ARM)
    told = statistics["leaks"]["drift"]
    assert told["logprob_prompts"] == told["prompts"] == 12
    assert 0 < told["entropy"] < 3
    assert 0 < told["entropy_unhinted"] < 3
    ledger = [orjson.loads(line) for line in (space.results / "selected" / ARM / "ledger.jsonl").open()]
    reasons = Counter(each["reason"] for each in ledger)
    assert 0 < reasons["leak: log-probability beyond 0.02 of the unhinted"] < len(ledger)


def statistics_of(space: Workspace, arm: str) -> dict[str, Any]:
    """What a selection counted."""
    found: dict[str, Any] = orjson.loads((space.results / "selected" / arm / "statistics.json").read_bytes())
    return found
