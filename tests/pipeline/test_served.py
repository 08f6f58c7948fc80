"""generation.backend vllm in the DAG: policy and teacher are served, q* is not; speed reruns nothing."""

from __future__ import annotations

from typing import Any

import pytest
from workspace import ROOT, Workspace

STAND_IN = ROOT / "tests/unit/stand_in"
BLOCKS = "results/small/completions/train"
TARGETS = [
    f"{BLOCKS}/step-middle/{alpha}/00000-of-00002.block-0.jsonl"
    for alpha in ("policy", "teacher", "kl_symmetry")
]


def served(config: dict[str, Any]) -> None:
    config["generation"].update(backend="vllm", dtype="float32")
    config["arms"][0]["alpha"] = ["policy", "teacher"]


def faster(config: dict[str, Any]) -> None:
    served(config)
    config["serving"] = {"concurrency": 2, "arguments": "--enforce-eager", "max_failed_fraction": 0.5}


@pytest.mark.slow
def test_the_dag_with_servers(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    space.configure(served)
    space.run(*TARGETS)
    texts = space.texts("completions")
    of_teacher = [text for key, text in texts.items() if "step-middle/teacher:" in key]
    # The stand-in says what it was asked: the teacher sees the answer, the student does not.
    assert len(of_teacher) == 6 * 4
    assert all("The answer is" in text for text in of_teacher)
    asked = [text for key, text in texts.items() if "step-middle/policy:" in key and "#" in text]
    assert len(asked) == 6 * 4
    assert not any("The answer is" in text for text in asked)
    assert not any("#" in text for key, text in texts.items() if "kl_symmetry" in key)
    logs = list((space.results / "logs").rglob("*.vllm.log"))
    assert len(logs) == 2
    space.configure(faster)
    assert space.plan(*TARGETS).nothing_to_do
    space.configure(lambda config: config["arms"][0].update(alpha=["policy", "teacher"]))
    assert space.plan(*TARGETS[:1]).jobs["generate"] == 1
