"""The checkpoint sweep of system A as one command: examples/sweep, through a real vLLM."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
import yaml
from PIL import Image
from workspace import ROOT, Workspace

STEPS, N, PROMPTS = ("250", "460", "530"), 16, 30


@pytest.mark.slow
def test_errors_over_three_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = ROOT / ".venv-vllm" / "bin" / "python"
    assert python.exists(), "make vllm"
    monkeypatch.setenv("WINNOW_VLLM_PYTHON", str(python))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    space = Workspace.fresh(tmp_path)
    config = yaml.safe_load((space.root / "examples/sweep/config.yaml").read_text())
    config["data"]["train"]["num_samples"] = PROMPTS
    (space.root / "sweep.yaml").write_text(yaml.safe_dump(config))
    outcome = space.snakemake("--configfile", "sweep.yaml", timeout=580)
    logs = "".join(path.read_text()[-2000:] for path in (space.root / "results").rglob("*.vllm.log"))
    assert outcome.code == 0, outcome.text[-4000:] + logs
    rates = []
    for step in STEPS:
        folder = space.root / f"results/sweep/diagnostics/step-{step}/policy/n-{N}"
        found = orjson.loads((folder / "reject_sampling_results.json").read_bytes())
        assert len(found) == PROMPTS
        for row in found:
            assert row["num_total_rollouts"] == N
            assert row["num_valid_rollouts"] == len(row["all_errors"])
            assert row["min_error"] == min(row["all_errors"]) == row["best_response"]["error"]
            assert abs(row["best_response"]["pred_value"] - row["ground_truth"]) == row["min_error"]
            assert row["problem"] in ask(space, row["id"])
        errors = [error for row in found for error in row["all_errors"]]
        rates.append(sum(error <= 0.75 for error in errors) / (PROMPTS * N))
        text = (folder / "statistics.txt").read_text()
        count = re.search(r"^  count +([\d,]+) +([\d,]+)", text, re.MULTILINE)
        assert count is not None
        assert [int(each.replace(",", "")) for each in count.groups()] == [len(errors), PROMPTS]
        with Image.open(folder / "error_distribution.png") as figure:
            assert min(figure.size) > 300
        kept = space.root / f"results/sweep/selected/step-{step}/policy/n-{N}/accepted.jsonl"
        near = [row["id"] for row in found if row["min_error"] <= 0.75]
        assert [orjson.loads(line)["prompt_id"] for line in kept.read_bytes().splitlines()] == near
    # The later a checkpoint, the better: the embedded policies are of one training run.
    assert rates == sorted(rates)
    log = (
        space.root / "results/sweep/logs/completions/train/step-250/policy/00000-of-00001.block-0.log"
    ).read_text()
    assert re.search(r"480 of 480 completions, [\d.]+ % passed, mean error [\d.]+, [\d,]+ tok/s", log), log


def ask(space: Workspace, prompt: str) -> str:
    lines = (space.root / "results/sweep/prompts/train/00000-of-00001.jsonl").read_bytes().splitlines()
    return next(row["messages"][-1]["content"] for row in map(orjson.loads, lines) if row["id"] == prompt)
