"""benchmarks/qstar.py and benchmarks/solver.py: what a GPU is measured with, in small shapes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import qstar_models, qstar_steps, report
from benchmarks.qstar_models import SHAPES, lacks_room, model, packed, size
from benchmarks.qstar_pair import Pair, measure, speed
from benchmarks.qstar_workload import STRENGTHS, Work
from winnow.qstar import memory

ROOT = Path(__file__).parents[2]
TINY = ("2M", "1M")
CPU = torch.device("cpu")


@pytest.fixture
def program(monkeypatch):
    """benchmarks/qstar.py as a module; what it does to the path and the environment ends with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
    from benchmarks import qstar

    return qstar


def tiny_pair(slots: int, longest: int = 24) -> Pair:
    teacher, student = (packed(name, torch.bfloat16, "cpu") for name in TINY)
    return Pair.of(teacher, student, slots, Work(8, longest, 1).capacity)


@pytest.fixture(scope="module")
def four() -> Pair:
    return tiny_pair(4)


@pytest.fixture(scope="module")
def sixteen() -> Pair:
    return tiny_pair(16, 40)


def test_every_part_for_a_gpu_runs_on_the_cpu_too(program, tmp_path, capsys):
    program.main(
        [
            *("--quick", "--device", "cpu", "--dtype", "bfloat16", "--pairs", "2M/1M", "--noise", "0.7"),
            *("--slots", "4", "--parts", "pairs", "steps", "others", "two_prompts"),
            *("--profile", str(tmp_path / "profile.txt"), "--profile_slots", "4"),
            *("--json", str(tmp_path / "qstar.json"), "--figure", str(tmp_path / "qstar.png")),
        ]
    )
    found = json.loads((tmp_path / "qstar.json").read_text())
    assert found["device"] == report.device()
    expected = [
        "the roofline's time over a step's, teacher alone, 2M, 4 slots",
        "5% of a step over verification's share, 2M/1M, 4 slots, K = 4",
        "teacher alone over transformers generate, 4 slots",
        "q* over a static-batch lockstep, 4 slots",
        "same weights, two prompts, rows over plain decoding's, 4 rows",
    ]
    assert found["ratios"].keys() >= set(expected)
    assert sum(name.startswith("q* over the teacher alone, 2M/1M, ") for name in found["ratios"]) == 1
    assert all(ratio > 0 for ratio in found["ratios"].values())
    pairs = [row for row in found["rows"] if "noise" in row]
    assert [(row["slots"], row["noise"]) for row in pairs] == [(4, 0.7)]
    assert {"predicted", "by times", "c"} <= pairs[0].keys()
    assert "Self CPU" in (tmp_path / "profile.txt").read_text()
    assert (tmp_path / "qstar.png").stat().st_size > 10_000
    assert "2M/1M" in capsys.readouterr().out


@pytest.mark.parametrize(("strength", "beta"), [(STRENGTHS[0], 0.86), (STRENGTHS[1], 0.91)])
def test_noise_sets_acceptance_in_bfloat16(sixteen, strength, beta):
    # At a depth that no clock chooses, the same drafts are considered in every run.
    work = Work(20, 40, 1).rows(12, both=True)
    found = speed(sixteen.mixed(strength), "kl_symmetry", work, 16, depth=3)[1].acceptance
    assert found == pytest.approx(beta, abs=0.02)


def test_what_is_told_of_a_pair_fits_together(four):
    row = measure(four, 0.7, Work(8, 24, 1), 1)
    assert row["β"] == pytest.approx(float(row["chose"].rpartition("= ")[2]), abs=1e-3)
    assert row["q*/teacher"] == pytest.approx(row["q* tok/s"] / row["teacher tok/s"])
    assert row["lockstep/teacher"] == pytest.approx(row["lockstep tok/s"] / row["teacher tok/s"])


def test_completions_that_fail_are_no_speed():
    pair = tiny_pair(2)
    pair.teacher.model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(SystemExit, match="8 of 8 completions failed: the model gave NaN"):
        speed(pair.alone, "policy", Work(4, 8, 1).rows(1, both=False), 2)


def test_no_prompt_is_read_before_the_clock_runs():
    pair, work = tiny_pair(2), Work(4, 8, 1).rows(1, both=False)
    read = []
    pair.teacher.model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    for _ in range(2):
        speed(pair.alone, "policy", work, 2)
    prefill = len(work[0].prompt) - 1
    assert read.count(prefill) == 2


def test_models_are_made_where_they_run_in_their_own_precision():
    made = model("2M", torch.bfloat16, "meta").model
    assert {(each.dtype, each.device.type) for each in made.parameters()} == {(torch.bfloat16, "meta")}
    assert made.get_output_embeddings().weight is not made.get_input_embeddings().weight
    tied = model("1M", torch.bfloat16, "meta").model
    assert tied.get_output_embeddings().weight is tied.get_input_embeddings().weight


def test_random_weights_give_finite_logits():
    made = model("2M", torch.bfloat16, "cpu").model
    made.set_attn_implementation("sdpa")
    with torch.inference_mode():
        logits = made(input_ids=torch.arange(40)[None]).logits.float()
    assert torch.isfinite(logits).all()
    assert 0.05 < logits.std() < 5


@pytest.mark.parametrize(
    ("name", "billions"), [("32B", 32.76), ("7B", 7.62), ("1.5B", 1.54)], ids=lambda each: str(each)
)
def test_shapes_have_the_parameters_that_they_are_named_after(name, billions):
    found = size(name, torch.bfloat16)
    assert found.weights / 2e9 == pytest.approx(billions, abs=0.01)
    shape = SHAPES[name]
    assert shape.vocabulary == 152_064
    assert found.weights - found.read == (0 if shape.tied else 2 * shape.vocabulary * shape.hidden)
    assert found.a_token == 2 * 2 * shape.layers * shape.key_heads * 128


def test_a_pair_that_cannot_fit_is_refused_before_it_is_there(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 78 * memory.GIB)
    assert lacks_room(("7B", "1.5B"), 256, 264, torch.bfloat16, "cuda") == ""
    assert lacks_room(("32B", "7B"), 8, 264, torch.bfloat16, "cuda") == ""
    said = lacks_room(("32B", "7B"), 64, 264, torch.bfloat16, "cuda")
    assert said.startswith("32B/7B at 64 slots does not fit: 75.2 GiB of weights")
    assert "78.0 GiB free" in said


def test_nothing_that_fits_is_said_and_ends(program, monkeypatch, capsys):
    monkeypatch.setattr(qstar_models.memory, "available", lambda device: 1000)
    with pytest.raises(SystemExit, match="nothing was measured"):
        program.main(["--quick", "--pairs", "2M/1M", "--slots", "1"])
    assert "left out: 2M/1M at 1 slots does not fit" in capsys.readouterr().out


def test_the_roofline_counts_weights_and_cache_once(four):
    row = qstar_steps.roofline(four, bandwidth=1e9, repeats=1)
    sizes = size("2M", torch.bfloat16)
    assert row["weights GB"] == pytest.approx(sizes.read / 1e9)
    prompts = [40 - 24 + 56, 24 + 16]
    places = row["cache GB"] * 1e9 / (4 * sizes.a_token) - (qstar_steps.SHORT + qstar_steps.LONG) / 2
    assert min(prompts) <= places <= max(prompts)
    assert row["least ms"] == pytest.approx(1e3 * (row["weights GB"] + row["cache GB"]))
    assert row["least/step"] == pytest.approx(row["least ms"] / row["step ms"])


def test_a_round_is_its_passes_and_its_verification(four):
    for row in qstar_steps.shares(four, 0.7):
        passes = row["teacher's pass ms"] + row["student's passes ms"]
        share = row["verify ms"] / (passes + row["verify ms"])
        assert row["verify, % of a step"] == pytest.approx(100 * share)
        assert row["draws too, %"] > row["verify, % of a step"]


def test_the_kernel_is_measured_beside_its_rivals():
    pytest.importorskip("triton")
    from benchmarks import solver, solver_kernel

    table, ratios = solver_kernel.compare(
        solver.zipf_rows, solver.bisection, solver.errors, CPU, 2, 300, (256, 512), 2
    )
    errors = {row["who"]: float(row["largest error"]) for row in table if "largest error" in row}
    assert len(errors) == 6
    assert max(errors.values()) < 1e-5
    assert "150 µs over the kernel's best verify, 2 rows of 300" in ratios


def test_what_a_gpu_is_called(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda kind: f"a GPU ({kind})")
    assert report.device("cuda") == "a GPU (cuda)"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--pairs 7B/120M", "unequal size"),
        ("--pairs 7B", "give teacher/student"),
        pytest.param(
            "--device cuda",
            "no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_flags_that_make_no_sense(program, capsys, flags, said):
    with pytest.raises(SystemExit, match="2"):
        program.main(flags.split())
    assert said in capsys.readouterr().err


def test_needs_no_more_than_the_engine_does():
    code = (
        "import sys; import benchmarks.qstar\n"
        "print(*sorted({'matplotlib', 'datasets', 'trl', 'vllm', 'peft'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
