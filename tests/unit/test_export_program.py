"""scripts/export.py from files to files: every format, what it needs, and that a fault leaves no file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from format_samples import NAMES, scored
from PIL import Image

from winnow import formats, jsonl
from winnow.formats.vespo import METRICS
from winnow.records import Prompt

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples/arithmetic/models/policy-step-460"
SCORERS = ("--scorers", "exact_answer", 'numeric_error={"tolerance": 0.5}')
NO_SCORE = {"value": None, "passed": False, "version": 1}
SIZES = ("--num_shards", 2, "--n", 3, "--block_size", 2)


@pytest.fixture
def run(tmp_path):
    """Two shards, two blocks, three prompts of three samples, one of which was never generated."""
    prompts = [
        Prompt(
            f"p{i}",
            [{"role": "user", "content": "1: <image> 2: <image> Which is better?"}],
            reference=f"Image {1 + i % 2} is better",
            images=["a.png", "b.png"][:: 1 - 2 * (i % 2)],
            metadata={"prompt": f"scene {i}", "path1": "a.png", "path2": "b.png", "level": i},
        )
        for i in range(3)
    ]
    accepted = []
    for shard, members in enumerate([prompts[:2], prompts[2:]]):
        name = f"{shard:05d}-of-00002"
        write(tmp_path / f"prompts/{name}.jsonl", [each.to_row() for each in members])
        for block in range(2):
            rows = []
            for prompt in members:
                for sample in range(2 * block, 2 * block + 2):
                    place = int(prompt.reference[6])
                    right = sample == 0
                    row = scored(prompt, sample, f"Image {place if right else 3 - place} is better")
                    if sample == 2 and prompt.id == "p1":
                        row |= {"text": "", "finish_reason": "failed"}
                        row["scores"] = {name: dict(NO_SCORE) for name in row["scores"]}
                    row |= {"prompt_tokens": 1, "completion_tokens": 2}
                    rows.append(row)
                    if sample < 2:
                        accepted.append(row | {"pair": 0, "role": ["chosen", "rejected"][sample]})
            write(tmp_path / f"scored/{name}.block-{block}.jsonl", rows)
            told = [
                {"id": row["id"], "prompt_id": row["prompt_id"], "tokens": 2}
                | {metric: float(row["id"][1]) for metric in METRICS}
                for row in rows
                if row["text"]
            ]
            write(tmp_path / f"completions/{name}.block-{block}.diagnostics.jsonl", told)
    write(tmp_path / "accepted.jsonl", accepted)
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    return tmp_path


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(map(jsonl.dumps, rows)))


def export(folder, *flags):
    command = [sys.executable, ROOT / "scripts/export.py", "--accepted", folder / "accepted.jsonl"]
    command += ["--prompts", folder / "prompts", "--output_dir", folder / "out", *SCORERS, *SIZES, *flags]
    return subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


def everything(folder):
    """The flags of the formats that look at more than the accepted completions."""
    told = ("--diagnostics", folder / "completions", "--scorer", "exact_answer")
    return ("--scored", folder / "scored", *told, "--image_root", folder)


def test_every_format_at_once(run):
    done = export(run, "--formats", *NAMES, *everything(run))
    assert done.returncode == 0, done.stderr
    out = run / "out"
    assert {path.name for path in out.iterdir()} == set(formats.filenames(NAMES))
    assert (out / "filtered_samples_stats.txt").read_text() == (
        "Total samples: 9\nCorrect samples: 3\nAccuracy: 33.33%\nParse failures: 0\n"
        "Not generated: 1\nFiltered samples for training: 3\n"
    )
    rows = list(jsonl.rows(out / "completions.jsonl"))
    assert [row["reference_completion"][6] for row in rows] == list("111222111")
    assert rows[5]["model_completion"] == ""
    assert list(jsonl.rows(out / "vespo.diagnostics.jsonl")) == [
        {"sample_idx": i, **dict.fromkeys(METRICS, float(i))} for i in range(3)
    ]
    samples = json.loads((out / "filtered_samples.json").read_text())
    assert [each["preference"] for each in samples] == ["A", "B", "A"]
    trained = json.loads((out / "rejection_sampling_train.json").read_text())
    assert [each["images"] for each in trained] == [
        ["a.png", "b.png"],
        ["b.png", "a.png"],
        ["a.png", "b.png"],
    ]
    assert trained[1]["conversations"] == [
        {"from": "human", "value": "1:  2:  Which is better?"},
        {
            "from": "gpt",
            "value": "<think>\nTry 0 of p1\n</think>\n<answer>Image 2 is better</answer>",
        },
    ]
    assert set(json.loads((out / "dataset_info.json").read_text())) == {"sharegpt", "sharegpt_preference"}


def test_formats_of_every_completion_want_them(run):
    done = export(run, "--formats", "open_instruct_scores")
    assert done.returncode == 2
    assert "open_instruct_scores accounts for every completion" in done.stderr


def drawn_by(run, alpha):
    rows = list(jsonl.rows(run / "accepted.jsonl"))
    write(run / "accepted.jsonl", [row | {"alpha": alpha} for row in rows])


@pytest.mark.parametrize("given", ["none", "of others"])
def test_completions_of_two_models_want_their_diagnostics(run, given):
    drawn_by(run, "kl_symmetry")
    told = []
    if given == "of others":
        told = ["--diagnostics", run / "completions"]
        for path in (run / "completions").iterdir():
            write(path, [row | {"id": row["id"] + "9"} for row in jsonl.rows(path)])
    done = export(run, "--formats", "vespo_diagnostics", *told)
    assert done.returncode == 2
    assert "prompt 'p0': a completion drawn by kl_symmetry, and no q* diagnostics of it" in done.stderr
    assert "pass --diagnostics" in done.stderr
    assert not list((run / "out").glob("*"))


def test_completions_of_one_model_have_no_diagnostics(run):
    drawn_by(run, "teacher")
    done = export(run, "--formats", "vespo_diagnostics")
    assert done.returncode == 0, done.stderr
    assert list(jsonl.rows(run / "out/vespo.diagnostics.jsonl")) == [
        {"sample_idx": i, **dict.fromkeys(METRICS)} for i in range(3)
    ]


def test_single_completions_are_no_pairs(run):
    rows = list(jsonl.rows(run / "accepted.jsonl"))
    for row in rows:
        del row["pair"], row["role"]
    write(run / "accepted.jsonl", rows)
    done = export(run, "--formats", "preference")
    assert done.returncode == 2
    assert f"{run}/accepted.jsonl, line 1, completion p0/0: a single completion" in done.stderr
    assert "the rows of preference are pairs" in done.stderr
    assert "selection.strategy: best_worst (select.py --strategy best_worst)" in done.stderr
    assert not list((run / "out").glob("*"))


def test_images_in_another_order_since_they_were_judged(run):
    """The prompts are made again with other draws of the order; the completions are those of before."""
    path = run / "prompts/00000-of-00002.jsonl"
    rows = list(jsonl.rows(path))
    rows[0]["images"].reverse()
    write(path, rows)
    done = export(run, "--formats", "lightrft")
    assert done.returncode == 2
    assert "the answer is A, where the preferred image, a.png, was shown second (B)" in done.stderr
    rows[0]["reference"] = "Image 2 is better"
    write(path, rows)
    for name in ("messages", "sharegpt", "parquet"):
        done = export(run, "--formats", name)
        assert done.returncode == 2
        assert "completion p0/0: verification: exact_answer now gives 0.0" in done.stderr
    assert not list((run / "out").glob("*"))


@pytest.mark.slow
def test_a_template_that_drops_the_reasoning(run):
    """As those do that show earlier turns without what was thought."""
    model = run / "model"
    shutil.copytree(MODEL, model, ignore=shutil.ignore_patterns("*.safetensors"))
    template = model / "chat_template.jinja"
    text = template.read_text()
    assert "message['content']" in text
    flags = ("--formats", "prompt_completion", "--chat_template", model)
    for path in sorted(run.glob("prompts/*.jsonl")):
        rows = [{k: v for k, v in row.items() if k != "images"} for row in jsonl.rows(path)]
        write(path, rows)
    assert export(run, *flags).returncode == 0
    template.write_text(text.replace("message['content']", "message['content'].split('</think>')[-1]"))
    done = export(run, *flags)
    assert done.returncode == 2
    for part in ("prompt_completion.jsonl, completion p0/0", f"chat template of {model}", "<think> of the"):
        assert part in done.stderr
