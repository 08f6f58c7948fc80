"""Scoring with a reward model is killed, and goes on where it was."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from reward_models import LETTERS, save

from winnow import jsonl, scoring
from winnow.scoring.streams import scored

ROOT = Path(__file__).parents[1]
PROMPTS, COMPLETIONS = 400, 8
MARK = 12345.0
"""A score that no model gives."""

pytestmark = pytest.mark.slow


def write_data(folder: Path) -> None:
    drawn = random.Random(0)
    with (
        jsonl.writer(folder / "prompts.jsonl") as prompt,
        jsonl.writer(folder / "completions.jsonl") as completion,
    ):
        for index in range(PROMPTS):
            asked = "".join(drawn.choices(LETTERS, k=30))
            messages = [{"role": "user", "content": asked}]
            prompt({"id": f"p{index}", "messages": messages, "reference": "1"})
            for sample in range(COMPLETIONS):
                text = "".join(drawn.choices(LETTERS, k=drawn.randrange(4, 20)))
                completion({"id": f"p{index}/{sample}", "prompt_id": f"p{index}", "text": text})


def command(folder: Path, output: str) -> list[str]:
    options = orjson.dumps({"model": str(folder / "model"), "device": "cpu", "batch_tokens": 2048}).decode()
    return [
        sys.executable, "scripts/score.py", "--input", str(folder / "completions.jsonl"),
        "--prompts", str(folder / "prompts.jsonl"), "--output", str(folder / output),
        "--scorers", f"reward_model/tiny={options}", "exact_answer",
    ]  # fmt: skip


def test_a_killed_job_scores_only_what_is_lacking(tmp_path):
    write_data(tmp_path)
    save(tmp_path / "model", "llama")
    journal = tmp_path / "scored.jsonl.partial"
    with (tmp_path / "first.log").open("wb") as log:
        process = subprocess.Popen(command(tmp_path, "scored.jsonl"), cwd=ROOT, stderr=log)
        while not journal.exists() or journal.read_bytes().count(b"\n") < 200:
            assert process.poll() is None, (tmp_path / "first.log").read_text()
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert not (tmp_path / "scored.jsonl").exists()
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [orjson.loads(line) for line in lines[1:] if line.endswith(b"\n")]
    assert 200 < len(lines) <= len(kept) + 2 < PROMPTS * COMPLETIONS
    marked = "reward_model/tiny p0/3"
    assert [row["id"] for row in kept if row["id"] == marked]
    journal.write_bytes(
        b"".join(
            [lines[0]]
            + [orjson.dumps({**row, "value": MARK} if row["id"] == marked else row) + b"\n" for row in kept]
        )
    )
    again = subprocess.run(command(tmp_path, "scored.jsonl"), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"resumed: {len(kept):,} scores, or parts of them, were made before" in again.stderr
    assert not journal.exists()

    scorer = scoring.build("reward_model/tiny", {"model": str(tmp_path / "model"), "device": "cpu"})
    whole = scored(tmp_path / "completions.jsonl", [tmp_path / "prompts.jsonl"], [scorer])
    expected = {row["id"]: row["scores"]["reward_model/tiny"]["value"] for row in whole}
    found = {
        row["id"]: row["scores"]["reward_model/tiny"]["value"]
        for row in jsonl.rows(tmp_path / "scored.jsonl")
    }
    assert len(found) == PROMPTS * COMPLETIONS
    # What is in the journal is not asked for again: the mark would be gone.
    assert found.pop("p0/3") == MARK
    del expected["p0/3"]
    assert found == pytest.approx(expected, abs=1e-4)


def test_another_model_is_not_mixed_with_what_a_killed_job_scored(tmp_path):
    write_data(tmp_path)
    save(tmp_path / "model", "llama")
    output = tmp_path / "scored.jsonl"
    started = subprocess.Popen(command(tmp_path, output.name), cwd=ROOT, stderr=subprocess.DEVNULL)
    journal = tmp_path / "scored.jsonl.partial"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert started.poll() is None
        time.sleep(0.005)
    started.kill()
    started.wait()
    save(tmp_path / "model", "llama", seed=9)
    again = subprocess.run(command(tmp_path, output.name), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2
    assert "unfinished work of other parameters: scorers was" in again.stderr
