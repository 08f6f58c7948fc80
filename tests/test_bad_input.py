"""A user's mistake: the message names the place, what was expected and what to do; no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "arithmetic" / "models"
POLICY = sorted(MODELS.glob("policy-step-*"))[0]
TEACHER = MODELS / "teacher"


def run(name: str, *arguments: str | Path, expect: int = 2) -> str:
    """Run a program that is to fail (or not); its output, checked to be no traceback."""
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == expect, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def says(text: str, *parts: str | Path) -> None:
    """All parts stand in the message, with what is expected and how to mend it."""
    for part in (*parts, "error: ", "expected: ", "to mend: "):
        assert str(part) in text, text


def dataset(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(lines))
    return path


GOOD = '{"id": "a", "problem": "1+1", "answer": "2"}\n'


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ((GOOD, '{"id": "b", "problem": "2+'), ("line 2", "torn line")),
        ((GOOD, "not json at all\n", GOOD), ("line 2", "not JSON", "'not json at all'")),
        ((GOOD, "[1, 2]\n"), ("line 2", "a JSON list")),
        ((GOOD, "\n"), ("line 2", "not JSON")),
        ((), ("no rows", "num_samples")),
        (
            ('{"id": "a", "riddle": "1+1"}\n',),
            ("line 1", "prompt field is missing", "'riddle'", "prompt_field"),
        ),
        (('{"id": "a", "problem": "  "}\n',), ("line 1", "empty")),
        ((GOOD, GOOD.replace("1+1", "1+2")), ("line 2", "id 'a'", "line 1")),
    ],
)
def test_data_sets(tmp_path: Path, lines: tuple[str, ...], parts: tuple[str, ...]) -> None:
    path = dataset(tmp_path, *lines)
    output = tmp_path / "prompts"
    says(run("prompts", "--dataset", path, "--output_dir", output), path, *parts)
    assert not list(output.glob("*")), "half a shard was left"


def test_no_data_set_and_an_unknown_template_field(tmp_path: Path) -> None:
    says(
        run("prompts", "--dataset", tmp_path / "x.jsonl", "--output_dir", tmp_path), "x.jsonl", "no such file"
    )
    message = run(
        "prompts", "--dataset", dataset(tmp_path, GOOD), "--output_dir", tmp_path / "p",
        "--prompt_template", "{{ question }}",
    )  # fmt: skip
    says(message, "line 1", "question", "problem")


def test_options_of_an_adapter(tmp_path: Path) -> None:
    flags = ("--dataset", dataset(tmp_path, GOOD), "--output_dir", tmp_path / "p", "--adapter_options")
    for options in ("{use_cot", "[1]"):
        assert f"--adapter_options: {options} is" in run("prompts", *flags, options)
    says(run("prompts", *flags, '{"use_cot": false}'), "adapter 'auto'", "'use_cot' is unknown")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    rows = ['{"id": "short", "problem": "11+22+33", "answer": "66"}\n']
    rows += ['{"id": "long", "problem": "%s", "answer": "1"}\n' % ("1+" * 300)]
    run("prompts", "--dataset", dataset(tmp_path, *rows), "--output_dir", tmp_path / "prompts", expect=0)
    return tmp_path / "prompts" / "00000-of-00001.jsonl"


def generate(prompts: Path, output: Path, *arguments: str | Path, expect: int = 2) -> str:
    return run(
        "generate", "--prompts", prompts, "--output", output, "--num_rollout", "2", "--max_new_tokens", "40",
        *arguments, expect=expect,
    )  # fmt: skip


def test_alpha_and_n(tmp_path: Path, prompts: Path) -> None:
    output = tmp_path / "c.jsonl"
    message = generate(prompts, output, "--model_theta", POLICY, "--alpha_method", "kl_simmetry")
    says(message, "kl_simmetry", "did you mean 'kl_symmetry'?")
    says(generate(prompts, output, "--model_theta", POLICY, "--alpha_method", "fixed-1.5"), "1.5", "[0, 1]")
    message = generate(prompts, output, "--model_theta", POLICY, "--num_rollout", "0")
    assert "--num_rollout: 0 is given, at least 1 is expected" in message
    says(
        generate(prompts, output, "--model_theta", POLICY, "--temperature", "-1"), "temperature", "at least 0"
    )
    says(generate(prompts, output), "--model_theta", "not given")


def test_outputs_that_would_destroy_something(tmp_path: Path, prompts: Path) -> None:
    before = prompts.read_bytes()
    says(generate(prompts, prompts, "--model_theta", POLICY), "the output is also an input")
    says(generate(prompts, tmp_path, "--model_theta", POLICY), "a folder")
    says(run("score", "--input", prompts, "--prompts", prompts, "--output", prompts), "also an input")
    assert prompts.read_bytes() == before


def test_a_reference_that_a_template_wants_and_a_row_lacks(tmp_path: Path) -> None:
    data = dataset(tmp_path, GOOD, '{"id": "b", "problem": "1+2", "answer": null}\n')
    flags = (
        "--dataset",
        data,
        "--output_dir",
        tmp_path / "p",
        "--teacher_template",
        "It is {{ reference }}.",
    )
    says(run("prompts", *flags), "line 2", "reference")


def test_models(tmp_path: Path, prompts: Path) -> None:
    output, broken = tmp_path / "c.jsonl", tmp_path / "broken"
    shutil.copytree(POLICY, broken)
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    says(generate(prompts, output, "--model_theta", broken), broken, "a pickle", "safetensors")
    (broken / "pytorch_model.bin").unlink()
    says(generate(prompts, output, "--model_theta", broken), broken, "no weights")
    says(generate(prompts, output, "--model_theta", tmp_path / "absent"), "absent", "no such model directory")


def test_tokenizers_that_differ(tmp_path: Path, prompts: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(TEACHER, other)
    text = (other / "tokenizer.json").read_text()
    vocabulary = orjson.loads(text)["model"]["vocab"]
    first, second = vocabulary["7"], vocabulary["8"]
    changed = orjson.loads(text)
    changed["model"]["vocab"] |= {"7": second, "8": first}
    (other / "tokenizer.json").write_bytes(orjson.dumps(changed))
    models = ("--model_theta", POLICY, "--model_t", other)
    message = generate(prompts, tmp_path / "c.jsonl", *models, "--alpha_method", "entropy")
    says(message, "tokenizers differ in 2 ids", "'7' for the student, '8' for the teacher", "alpha=policy")


def test_a_prompt_longer_than_the_context_is_in_the_ledger(tmp_path: Path, prompts: Path) -> None:
    output = tmp_path / "c.jsonl"
    message = generate(prompts, output, "--model_theta", POLICY, expect=0)
    assert "1 prompts are longer than the context (the first: long)" in message
    rows = [orjson.loads(line) for line in output.read_bytes().splitlines()]
    assert [row["finish_reason"] == "prompt_too_long" for row in rows] == [False, False, True, True]
    assert "context" in rows[2]["detail"]
    scored = tmp_path / "s.jsonl"
    run("score", "--input", output, "--prompts", prompts, "--output", scored, expect=0)
    selected = tmp_path / "selected"
    flags = ("--prompts", prompts, "--input", scored, "--n", "2", "--block_size", "2")
    run("select", *flags, "--output_dir", selected, expect=0)
    ledger = [orjson.loads(line) for line in (selected / "ledger.jsonl").read_bytes().splitlines()]
    assert [(e["stage"], e["outcome"], e["reason"]) for e in ledger[2:]] == [
        ("generate", "not_generated", "prompt_too_long")
    ] * 2
    assert orjson.loads((selected / "statistics.json").read_bytes())["generated"] == 2


def test_a_journal_of_other_parameters(tmp_path: Path, prompts: Path) -> None:
    output = tmp_path / "c.jsonl"
    journal = tmp_path / "c.jsonl.partial"
    header = {"journal": {"temperature": 0.8, "seed": 0}}
    journal.write_bytes(orjson.dumps(header) + b"\n" + orjson.dumps({"id": "short/0"}) + b"\n")
    before = journal.read_bytes()
    message = generate(prompts, output, "--model_theta", POLICY)
    says(message, journal, "temperature was 0.8, now 1.0", "delete this file")
    assert journal.read_bytes() == before


def test_a_full_disk(tmp_path: Path, prompts: Path) -> None:
    """What was finished before the disk was full is resumed when there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        assert "CI" not in os.environ, f"CI has to mount a small disk: {mounted.stderr.decode()}"
        pytest.skip("mounting a small disk needs root")
    try:
        drawing = ("--model_theta", POLICY, "--num_rollout", "40", "--batch_size", "8")
        message = generate(prompts, disk / "c.jsonl", *drawing)
        says(message, disk / "c.jsonl", "the disk is full", "free space and run again")
        assert not (disk / "c.jsonl").exists()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        message = generate(prompts, disk / "c.jsonl", *drawing, expect=0)
        assert "resumed " in message
        assert len((disk / "c.jsonl").read_bytes().splitlines()) == 80
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_scoring_and_selection(tmp_path: Path, prompts: Path) -> None:
    row = {"id": "x/0", "prompt_id": "x", "sample": 0, "text": "", "finish_reason": "stop"}
    completions = tmp_path / "c.jsonl"
    completions.write_bytes(orjson.dumps(row) + b"\n")
    message = run("score", "--input", completions, "--prompts", prompts, "--output", tmp_path / "s.jsonl")
    says(message, "line 1", "prompt 'x' is not in the prompt files")
    flags = ("--input", completions, "--prompts", prompts, "--output", tmp_path / "s.jsonl", "--scorers")
    says(run("score", *flags, "exact_anser"), "exact_anser", "did you mean 'exact_answer'?")
    says(run("score", *flags, "numeric_error={bad"), "not JSON")
    says(run("score", *flags, 'numeric_error={"tolerence": 1}'), "did you mean 'tolerance'?")
    flags = (
        "--prompts",
        prompts,
        "--input",
        completions,
        "--n",
        "1",
        "--block_size",
        "1",
        "--output_dir",
        tmp_path,
    )
    says(run("select", *flags), completions, "line 1", "without scores", "score.py")
    says(run("select", *flags, "--strategy", "corect"), "did you mean 'correct'?")


def test_training_data(tmp_path: Path) -> None:
    data = tmp_path / "t.jsonl"
    flags = ("--pretrain", POLICY, "--train_data", data, "--save_path", tmp_path / "c")
    data.write_text("")
    says(run("train", *flags), data, "no training examples")
    data.write_text('{"text": "x"}\n')
    says(run("train", *flags), "line 1", "prompt_completion.jsonl")


def snakemake(tmp_path: Path, config: dict) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            lambda c: c["generation"].update(temprature=1),
            ("generation", "'temprature'", "did you mean 'temperature'?"),
        ),
        (
            lambda c: c["generation"].update(temperature="hot"),
            ("generation.temperature", "'hot'", "type number"),
        ),
        (lambda c: c["arms"][0].update(n=[0]), ("arms.0.n.0", "at least 1")),
        (lambda c: c["arms"][0].update(alpha=["kl"]), ("arms.0.alpha", "'kl'")),
        (lambda c: c["arms"][0].update(step="999"), ("arms.0.step", "'999'")),
        (lambda c: c.pop("models"), ("'models' is missing",)),
        (lambda c: c["data"]["train"].update(path="absent.jsonl"), ("absent.jsonl",)),
        (
            lambda c: c["models"].update(teacher="examples/absent/x"),
            ("examples/absent/x", "no such model directory"),
        ),
        (
            lambda c: c["data"].update(adapter="hpdv3", adapter_options={"use_cott": False}),
            ("data.adapter", "'use_cott'", "did you mean 'use_cot'?"),
        ),
        (lambda c: c["scoring"].update(exact={}), ("exact", "unknown")),
        (lambda c: c["selection"].update(scorer="math"), ("scorer", "math")),
    ],
)
def test_config(tmp_path: Path, change, parts: tuple[str, ...]) -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    # A run of its own: results of an earlier one would stand in for what is missing.
    config["run"] = "bad-input"
    change(config)
    text = snakemake(tmp_path, config)
    for part in parts:
        assert part in text, text
