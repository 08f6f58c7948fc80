"""q* inside a real vLLM: what comes out follows q*, and what is told of each token is so."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest
from bisection import bisect, mixture, roots_function
from transforms import direct, kolmogorov_smirnov, transform

from winnow.qstar.loading import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/arithmetic"
STUDENT, TEACHER = (str(EXAMPLE / "models" / name) for name in ("policy-step-460", "teacher"))
ASKED = "What is {{ problem }}?"
PROMPTS, N, TEMPERATURE = 64, 5, 0.8


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Completions with their diagnostics; vLLM's cache has room for half of the rows, so it preempts some."""
    python = ROOT / ".venv-vllm" / "bin" / "python"
    assert python.exists(), "run `make vllm` first"
    output = tmp_path_factory.mktemp("qstar") / "out.jsonl"
    command = [
        sys.executable, "scripts/generate.py", "--backend", "vllm", "--vllm_python", str(python),
        "--dataset", str(EXAMPLE / "data/train.jsonl"), "--num_samples", str(PROMPTS),
        "--prompt_template", ASKED, "--teacher_template", f"{ASKED} The answer is {{{{ reference }}}}.",
        "--model_theta", STUDENT, "--model_t", TEACHER, "--alpha_method", "kl_symmetry",
        "--num_rollout", str(N), "--temperature", str(TEMPERATURE), "--max_new_tokens", "64",
        "--batch_size", "16", "--save_token_ids", "--save_diagnostics", "--output", str(output),
        "--vllm_args=--enforce-eager --block-size=32 --num-gpu-blocks-override=24",
    ]  # fmt: skip
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    environment = {**inherited, "VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, timeout=400)
    log = output.with_name("out_vllm.log").read_text()
    assert done.returncode == 0, done.stderr + log[-3000:]
    rows, told = (
        [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for path in (output, output.with_suffix(".diagnostics.jsonl"))
    )
    assert [row["id"] for row in rows] == [each["id"] for each in told]
    assert len(rows) == PROMPTS * N
    return [{**row, "told": each} for row, each in zip(rows, told, strict=True)]


@cache
def models():
    return load(STUDENT), load(TEACHER)


@cache
def prompts() -> dict[str, tuple[list[int], list[int]]]:
    """Token ids of what each model is shown."""
    found = {}
    for line in (EXAMPLE / "data/train.jsonl").read_bytes().splitlines()[:PROMPTS]:
        row = orjson.loads(line)
        asked = f"What is {row['problem']}?"
        texts = asked, f"{asked} The answer is {row['answer']}."
        found[row["id"]] = tuple(
            model.tokenize([{"role": "user", "content": text}])
            for model, text in zip(models(), texts, strict=True)
        )
    return found


def test_tokens_follow_q_star_and_what_is_told_of_them_is_so(drawn) -> None:
    source, transforms, errors = np.random.default_rng(5), [], []
    for row in drawn:
        s, t = (
            direct(model, prompt, row["token_ids"], TEMPERATURE)
            for model, prompt in zip(models(), prompts()[row["prompt_id"]], strict=True)
        )
        alpha = bisect(roots_function("kl_symmetry", s, t), len(s))
        q, _, log_z = mixture(s, t, alpha)
        order, tokens = np.argsort(s - t, axis=1), np.array(row["token_ids"])
        found = np.stack([transform(p, order, tokens, source) for p in (q, np.exp(s), np.exp(t))])
        transforms.append(found[:, log_z < -0.1])
        assert row["told"]["tokens"] == len(tokens) == row["completion_tokens"]
        # Where the models are of one mind, every α is as good.
        apart = log_z < -1e-3
        errors.append(np.abs(np.array(row["told"]["alpha_values"]) - np.ravel(alpha))[apart])
        assert row["told"]["neg_log_z_mean"] == pytest.approx(-log_z.mean(), abs=1e-3)
        assert row["prompt_tokens"] == len(prompts()[row["prompt_id"]][0])
    under = np.concatenate(transforms, axis=1)
    assert under.shape[1] > 300
    assert kolmogorov_smirnov(under[0]) > 1e-3
    # The check would see either model alone.
    assert max(kolmogorov_smirnov(under[1]), kolmogorov_smirnov(under[2])) < 1e-3
    # A cache that is behind by one token, or holds another row's, is off by more than rounding.
    assert np.concatenate(errors).max() < 5e-3
