"""What `make demo` left: every arm, equal training sets, and a lift that is there. Run `make demo` first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "arithmetic"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    assert (RESULTS / "summary.json").exists(), "run `make demo` first"
    found: dict[str, Any] = orjson.loads((RESULTS / "summary.json").read_bytes())
    return found


def test_every_arm_of_the_config_is_there(summary: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    wanted = {(e["step"], alpha, n) for e in config["arms"] for alpha in e["alpha"] for n in e["n"]}
    rounds = config["rounds"]
    wanted.add(("round-1", rounds["alpha"], rounds["n"]))
    assert {(arm["step"], arm["alpha"], arm["n"]) for arm in summary["arms"]} == wanted
    assert [entry["step"] for entry in summary["steps"]][-2:] == ["round-1", "round-2"]


def test_arms_are_compared_on_equally_many_examples(summary: dict[str, Any]) -> None:
    trained = [arm for arm in summary["arms"] if arm["train_examples"] is not None]
    assert len({arm["train_examples"] for arm in trained}) == 1
    assert summary["warnings"] == []
    for arm in trained:
        rows = (
            RESULTS / f"training_data/step-{arm['step']}/{arm['alpha']}/n-{arm['n']}/prompt_completion.jsonl"
        )
        assert rows.read_bytes().count(b"\n") == arm["train_examples"]


def test_one_round_of_rejection_sampling_lifts_the_middle_step_by_15_points(summary: dict[str, Any]) -> None:
    arms = {(arm["step"], arm["alpha"], arm["n"]): arm for arm in summary["arms"]}
    arm = arms["460", "policy", 8]
    assert arm["lift"] >= 0.15, arm
    assert arm["lift_ci"][0] > 0.10, arm
    low, high = arm["accuracy_ci"]
    assert low < arm["accuracy_after"] < high


def test_the_mixture_reports_itself(summary: dict[str, Any]) -> None:
    for arm in summary["arms"]:
        mixed = arm["alpha"] not in ("policy", "teacher")
        assert (arm["beta_mean"] is not None) == mixed
        assert 0 <= arm["alpha_mean"] <= 1
        assert arm["completion_tokens"] > 0
        assert arm["seconds"] > 0
