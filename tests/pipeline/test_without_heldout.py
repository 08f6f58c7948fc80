"""A run without held-out prompts, or without errors to measure: nothing is evaluated, the rest is made."""

from __future__ import annotations

from typing import Any

import orjson
from workspace import Workspace


def measured_by_nobody(config: dict[str, Any]) -> None:
    del config["data"]["heldout"]
    for arm in config["arms"]:
        arm["train"] = False


def without_errors(config: dict[str, Any]) -> None:
    measured_by_nobody(config)
    del config["scoring"]["numeric_error"]


def test_arms_are_summed_up_without_accuracy(space: Workspace) -> None:
    space.configure(measured_by_nobody)
    planned = space.plan().jobs
    assert not {"evaluate", "generate_heldout", "prompts_heldout", "train"} & planned.keys()
    space.run()
    found = orjson.loads((space.results / "summary.json").read_bytes())
    assert found["steps"] == []
    assert [(arm["accuracy_before"], arm["accuracy_after"]) for arm in found["arms"]] == [(None, None)] * 3
    assert all(arm["pass_rate"] is not None for arm in found["arms"])
    assert "Checkpoints" not in (space.results / "summary.md").read_text()
    rollouts = space.results / "diagnostics/step-middle/policy/n-4/reject_sampling_results.json"
    assert len(orjson.loads(rollouts.read_bytes())) == 12
    rollouts.unlink()
    assert set(space.plan().jobs) >= {"diagnose"}
    space.configure(without_errors)
    assert "reject_sampling_results" not in space.plan().text
