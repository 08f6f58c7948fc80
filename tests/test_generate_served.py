"""generate.py --backend vllm: through kills, with servers of its own and of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from marked import Marked

ROOT = Path(__file__).parents[1]
STAND_IN = ROOT / "tests/unit/stand_in"
MODELS = ROOT / "examples/arithmetic/models"
PROMPTS = ROOT / "examples/arithmetic/data/heldout.jsonl"
COUNT, N = 24, 4


def generate(output: Path, *more: str, mark: str = "", **environment: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "scripts/generate.py", "--backend", "vllm", "--vllm_python", sys.executable,
        "--dataset", str(PROMPTS), "--num_samples", str(COUNT), "--prompt_template", "What is {{ problem }}?",
        "--num_rollout", str(N), "--model_theta", str(MODELS / "policy-step-460"),
        "--output", str(output), *more,
    ]  # fmt: skip
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(STAND_IN), "MARK": mark, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def check(output: Path) -> list[dict[str, object]]:
    rows = [orjson.loads(line) for line in output.read_bytes().splitlines()]
    assert Counter(row["prompt_id"] for row in rows).keys() == {row["prompt_id"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows) == COUNT * N
    for row in rows:
        # The stand-in answers with what it was asked and the seed that the sample had there.
        assert row["text"].endswith(f"#{row['seed']}")
        assert row["text"].startswith("What is ")
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_half_way_it_asks_for_the_rest_alone(number: signal.Signals, tmp_path: Path) -> None:
    output, marked = tmp_path / "out.jsonl", Marked()
    journal = tmp_path / "out.jsonl.partial"
    process = generate(output, "--concurrency", "2", mark=marked.mark, STAND_IN="slow")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 9:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert marked.gone()
    if number == signal.SIGTERM:
        assert process.returncode == 75, said
        assert "what is finished is kept" in said
        assert "Traceback" not in said
    kept = journal.read_bytes().count(b"\n") - 1
    assert 8 <= kept < COUNT * N
    said = done(generate(output, "--concurrency", "8", mark=marked.mark))
    assert f"resumed {kept} of {COUNT * N} completions" in said
    assert marked.gone()
    rows = check(output)
    undisturbed = tmp_path / "undisturbed" / "out.jsonl"
    done(generate(undisturbed, "--concurrency", "3"))
    assert check(undisturbed) == rows
    assert (tmp_path / "out_vllm.log").exists()


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    for more, message in (
        (["--alpha_method", "entropy", "--base_url", "http://127.0.0.1:9/v1"], "the student in its engine"),
        (["--alpha_method", "entropy", "--tensor_parallel_size", "2"], "the student is not split"),
        (["--save_logprobs", "--base_url", "http://127.0.0.1:9/v1"], "a server that runs already"),
        (["--save_logprobs", "--temperature", "0"], "those at temperature 1"),
        (["--dtype", "float64"], "one of float16, bfloat16, float32 for --backend vllm"),
        (["--base_url", "http://127.0.0.1:9/v1", "--max_retries", "0"], "no server answers"),
    ):
        _, said = (process := generate(output, *more)).communicate(timeout=60)
        assert process.returncode == 2, said
        assert message in said
        assert "Traceback" not in said
        assert not output.exists()


@pytest.mark.slow
def test_a_real_vllm(tmp_path: Path) -> None:
    """The same model through vLLM and in process: like accuracy, seeds that hold, and prompts that match."""
    python = ROOT / ".venv-vllm" / "bin" / "python"
    assert python.exists(), "make vllm"
    environment = {"PYTHONPATH": "", "VLLM_CPU_KVCACHE_SPACE": "1"}
    common = ["--vllm_python", str(python), "--max_model_len", "128", "--max_new_tokens", "48",
              # More tokens wait than one step reads: a prompt would be read in parts.
              "--vllm_args=--enforce-eager", "--save_token_ids", "--num_samples", "80"]  # fmt: skip
    marked = Marked()
    process = generate(tmp_path / "a.jsonl", *common, mark=marked.mark, **environment)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said + (tmp_path / "a_vllm.log").read_text()[-3000:]
    assert marked.gone()
    served = [orjson.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]
    in_process = tmp_path / "b.jsonl"
    done(generate(in_process, *common, "--backend", "transformers"))
    drawn = [orjson.loads(line) for line in in_process.read_bytes().splitlines()]
    assert [row["id"] for row in served] == [row["id"] for row in drawn]
    # The template is applied by the server: to the same tokens.
    assert [row["prompt_tokens"] for row in served] == [row["prompt_tokens"] for row in drawn]
    assert all(row["completion_tokens"] == len(row["token_ids"]) for row in served)
    assert {row["finish_reason"] for row in served} <= {"stop", "length"}
    assert len({row["text"] for row in served}) > 80
