"""generate.py and resample.py: candidates, their log-probabilities from two servers, and what is chosen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from marked import Marked

from winnow.resampling import choose, weigh

ROOT = Path(__file__).parents[1]
STAND_IN = ROOT / "tests/unit/stand_in"
MODELS = ROOT / "examples/arithmetic/models"
STUDENT, TEACHER = str(MODELS / "policy-step-460"), str(MODELS / "teacher")
COUNT, N, CANDIDATES, SEED = 6, 3, 5, 4


def program(name: str, *arguments: str, mark: str = "", **environment: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return subprocess.Popen(
        [sys.executable, f"scripts/{name}.py", *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(STAND_IN), "MARK": mark, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str], code: int = 0, timeout: float = 120) -> str:
    _, said = process.communicate(timeout=timeout)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def rows(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def candidates(folder: Path, *more: str, python: str = sys.executable, **environment: str) -> list[str]:
    """Draw them; gives the arguments of resample.py."""
    prompts = folder / "prompts"
    done(
        program(
            "prompts", "--dataset", str(ROOT / "examples/arithmetic/data/heldout.jsonl"),
            "--num_samples", str(COUNT), "--prompt_template", "What is {{ problem }}?",
            "--teacher_template", "What is {{ problem }}? The answer is {{ reference }}.",
            "--output_dir", str(prompts),
        )
    )  # fmt: skip
    shard = str(prompts / "00000-of-00001.jsonl")
    done(
        program(
            "generate", "--backend", "vllm", "--vllm_python", python, "--alpha_method", "teacher",
            "--model_t", TEACHER, "--prompts", shard, "--num_rollout", str(CANDIDATES), "--save_token_ids",
            "--output", str(folder / "candidates.jsonl"), *more, **environment,
        ),
        timeout=300,
    )  # fmt: skip
    return [
        "--input", str(folder / "candidates.jsonl"), "--prompts", shard, "--model_theta", STUDENT,
        "--model_t", TEACHER, "--num_rollout", str(N), "--seed", str(SEED), "--vllm_python", python,
    ]  # fmt: skip


def check(folder: Path, alpha: float) -> list[dict]:
    """What is chosen follows from the log-probabilities that are told."""
    output, told = rows(folder / "out.jsonl"), rows(folder / "out.weights.jsonl")
    drawn = {row["id"]: row for row in rows(folder / "candidates.jsonl")}
    assert [row["id"] for row in output] == [f"{each['prompt_id']}/{i}" for each in told for i in range(N)]
    for index, each in enumerate(told):
        assert each["candidates"] == [f"{each['prompt_id']}/{i}" for i in range(CANDIDATES)]
        theta, t = (np.array(each[key]) for key in ("log_theta", "log_t"))
        own = [drawn[id].get("logprobs") for id in each["candidates"]]
        log_drawn = np.array([t[i] if values is None else sum(values) for i, values in enumerate(own)])
        weights = weigh(theta, t, log_drawn, alpha)
        assert weights is not None
        assert each["weights"] == pytest.approx(weights.normalised.tolist(), abs=1e-5)
        assert each["ess"] == pytest.approx(weights.ess, rel=1e-4)
        assert each["chosen"] == [choose(weights, SEED, each["prompt_id"], i) for i in range(N)]
        for sample, which in enumerate(each["chosen"]):
            row, source = output[N * index + sample], drawn[each["candidates"][which]]
            assert row["alpha"] == f"sequence-{alpha}"
            assert {row[key] == source[key] for key in ("text", "token_ids", "seed", "finish_reason")} == {
                True
            }
            assert row["teacher"] == source["model"]
    return told


@pytest.mark.slow
def test_candidates_are_judged_by_both_models_once_through_a_kill(tmp_path: Path) -> None:
    arguments = candidates(tmp_path, "--save_logprobs")
    assert all(row["logprobs"] == [-0.5] * 3 for row in rows(tmp_path / "candidates.jsonl"))
    output, marked = tmp_path / "out.jsonl", Marked()
    arguments += ["--alpha", "0.3", "--output", str(output)]
    journal = tmp_path / "out.jsonl.partial"
    process = program("resample", *arguments, "--concurrency", "1", mark=marked.mark, STAND_IN="slow")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 9:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert marked.gone()
    kept = journal.read_bytes().count(b"\n") - 1
    said = done(program("resample", *arguments, mark=marked.mark))
    assert f"resumed {kept} of {2 * COUNT * CANDIDATES} log-probabilities" in said
    assert "not the token-level one" in said
    assert "drawn from another distribution" in said, "-0.5 a token is not what the stand-in says of them"
    assert marked.gone()
    told = check(tmp_path, 0.3)
    assert all(row["model"] != row["teacher"] for row in rows(output))
    # The stand-in's likelihoods depend on the length of the model's name: both were asked.
    assert all(each["log_theta"] != each["log_t"] for each in told)
    assert not journal.exists()
    before = rows(output)
    # n is a view: more of them leave the first ones as they are.
    more = arguments.copy()
    more[more.index("--num_rollout") + 1] = str(N + 2)
    done(program("resample", *more))
    assert [row for row in rows(output) if row["sample"] < N] == before


@pytest.mark.slow
def test_without_saved_log_probabilities_the_model_has_drawn_them(tmp_path: Path) -> None:
    arguments = [*candidates(tmp_path), "--output", str(tmp_path / "out.jsonl")]
    assert "another distribution" not in done(program("resample", *arguments))
    check(tmp_path, 0.5)
    wrong = arguments.copy()
    wrong[wrong.index("--model_t") + 1] = str(MODELS / "policy-step-250")
    assert "the model that has drawn them" in done(program("resample", *wrong), 2)
    text = (tmp_path / "candidates.jsonl").read_text()
    (tmp_path / "candidates.jsonl").write_text(text.replace('"alpha":"teacher"', '"alpha":"fixed-0.5"', 1))
    assert "one arm of alpha policy or teacher" in done(program("resample", *arguments), 2)
    lines = [json.loads(line) for line in text.splitlines()]
    del lines[7]["token_ids"]
    (tmp_path / "candidates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = done(program("resample", *arguments), 2)
    assert "line 8" in said
    assert "--save_token_ids" in said


def test_blocks_of_one_job_share_a_server(tmp_path: Path) -> None:
    common = [
        "generate", "--backend", "vllm", "--vllm_python", sys.executable, "--model_theta", STUDENT,
        "--dataset", str(ROOT / "examples/arithmetic/data/heldout.jsonl"), "--num_samples", str(COUNT),
        "--num_rollout", "2", "--progress_scorer", "exact_answer",
    ]  # fmt: skip
    shared = tmp_path / "shared-{block}.jsonl"
    said = done(program(*common, "--block", "2", "0", "1", "--output", str(shared)))
    assert said.count("is up after") == 1
    assert said.count(" completions, 0.0 % passed, ") == 3
    assert "prompts/s" in said
    for block in range(3):
        alone = tmp_path / f"alone-{block}.jsonl"
        if block == 1:
            done(program(*common, "--block", str(block), "--output", str(alone)))
            assert alone.read_bytes() == (tmp_path / f"shared-{block}.jsonl").read_bytes()
        assert [row["sample"] for row in rows(tmp_path / f"shared-{block}.jsonl")] == [
            2 * block,
            2 * block + 1,
        ] * COUNT
    said = done(program(*common, "--block", "0", "1", "--output", str(tmp_path / "x.jsonl")), 2)
    assert "x.block-{block}.jsonl" in said


@pytest.mark.slow
def test_log_probabilities_of_a_real_vllm(tmp_path: Path) -> None:
    """Those of prompts and of drawn tokens, against whole forward passes; one server has both roles."""
    from transforms import direct

    from winnow.qstar.loading import load

    python = ROOT / ".venv-vllm/bin/python"
    assert python.exists(), "make vllm"
    environment = {"PYTHONPATH": "", "VLLM_CPU_KVCACHE_SPACE": "1"}
    engine = ["--vllm_args=--enforce-eager", "--max_model_len", "128"]
    more = [*engine, "--max_new_tokens", "48", "--save_logprobs", "--temperature", "0.8"]
    arguments = candidates(tmp_path, *more, python=str(python), **environment)
    arguments += [*engine, "--output", str(tmp_path / "out.jsonl")]
    arguments[arguments.index(STUDENT)] = TEACHER
    said = done(program("resample", *arguments, **environment), timeout=300)
    assert said.count("is up after") == 1
    assert f"{COUNT * CANDIDATES} candidates were drawn from another distribution" in said
    model = load(TEACHER)
    drawn = {row["id"]: row for row in rows(tmp_path / "candidates.jsonl")}
    prompts = {row["id"]: row for row in rows(tmp_path / "prompts/00000-of-00001.jsonl")}
    for each in check(tmp_path, 0.5):
        prompt = prompts[each["prompt_id"]]
        for index, id in enumerate(each["candidates"]):
            ids = drawn[id]["token_ids"]
            for key, shown in (("log_theta", "messages"), ("log_t", "teacher_messages")):
                log_p = direct(model, model.tokenize(prompt[shown]), ids, 1.0)
                assert each[key][index] == pytest.approx(sum(log_p[range(len(ids)), ids]), abs=2e-3)
            tempered = direct(model, model.tokenize(prompt["teacher_messages"]), ids, 0.8)
            assert drawn[id]["logprobs"] == pytest.approx(list(tempered[range(len(ids)), ids]), abs=1e-3)
