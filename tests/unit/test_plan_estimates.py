"""What a run is expected to cost: against runs whose cost is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dag_samples import FORCED, drawing_job, job, leave, prompts_job, snapshot

from winnow.workflow.evidence import Evidence, benchmark_seconds
from winnow.workflow.plan import Plan, gpus, make_plan
from winnow.workflow.snapshot import Cause, Limits, Rule, Run, Snapshot
from winnow.workflow.table import duration, render
from winnow.workflow.work import amounts, journalled

RECORDED = json.loads((Path(__file__).parent / "recorded_run.json").read_text())
"""The embedded example on 2 cores on 2026-11-21: what each job's benchmark said, and Snakemake's own
"Elapsed time" of the whole."""

POLICY = {"step": "1", "alpha": "policy"}
NOW = datetime(2026, 11, 21, 23, 50)


def recorded(directory: Path, without: Any = lambda entry: False) -> Snapshot:
    """The recorded run with everything to be made again, the benchmarks left out that `without` picks."""
    jobs = []
    for number, entry in enumerate(RECORDED["jobs"]):
        one = job(
            number,
            entry["rule"],
            f"{number}/file.json",
            entry["parents"],
            wildcards=entry["wildcards"],
            cause=FORCED,
            resources={"threads": 1, "gpu": int(entry["rule"] in ("generate", "generate_qstar", "train"))},
        )
        if not without(entry):
            leave(directory, one, entry["seconds"])
        jobs.append(one)
    rules = {entry["rule"]: Rule(entry["rule"], entry["rule"], "", None, None) for entry in RECORDED["jobs"]}
    return Snapshot(tuple(jobs), rules, Limits(RECORDED["cores"], None, {}, "local"), directory)


def test_the_whole_recorded_run_would_take_as_long_as_it_took(tmp_path):
    plan = make_plan(recorded(tmp_path))
    assert plan.total.unknown_seconds == 0
    assert plan.total.seconds == pytest.approx(sum(entry["seconds"] for entry in RECORDED["jobs"]))
    assert 1 / 1.05 < plan.seconds / RECORDED["elapsed"] < 1.05


@pytest.mark.parametrize("alpha", ["fixed-0.5", "entropy", "kl_symmetry", "teacher", "policy"])
def test_an_arm_that_never_ran_is_estimated_within_a_factor_from_the_others(tmp_path, alpha):
    """One arm held out: its drawing, training and evaluation as if it had never run."""

    def held_out(entry: dict[str, Any]) -> bool:
        arm = entry["wildcards"].get("alpha") or entry["wildcards"].get("checkpoint", "").partition("/")[2]
        return arm.partition("/")[0] == alpha

    plan = make_plan(recorded(tmp_path, held_out))
    assert plan.total.unknown_seconds == 0
    estimated = {stage.stage: stage.cost.seconds for stage in plan.stages}
    for stage in ("generate", "generate_qstar", "train", "generate_heldout"):
        actual = sum(entry["seconds"] for entry in RECORDED["jobs"] if entry["rule"] == stage)
        assert 1 / 1.5 < estimated[stage] / actual < 1.5, stage
    assert 1 / 1.5 < plan.seconds / RECORDED["elapsed"] < 1.5
    sources = {stage.stage: stage.sources for stage in plan.stages}
    assert sources["train"] == ("this arm", "other arms")


def test_what_never_ran_is_unknown_and_said_to_be(tmp_path):
    plan = make_plan(recorded(tmp_path, lambda entry: entry["rule"] == "train"))
    assert plan.total.unknown_seconds == plan.total.unknown_gpu_hours == 11
    text = render(plan, NOW)
    assert "Takes at least" in text
    assert "would end" not in text
    assert "train 11 ? ? 11 unknown" in [" ".join(line.split()) for line in text.splitlines()]
    assert "Not counted, for no run in this results folder has run them: train 11." in text
    nothing = make_plan(recorded(tmp_path / "fresh", lambda entry: True))
    assert nothing.total.unknown_seconds == nothing.jobs == 117
    assert "How long it takes is unknown" in render(nothing, NOW)
    assert "Takes" not in render(nothing, NOW)


def small(directory: Path, **more: Any) -> list[Any]:
    """Prompts, and one block of each of two arms, the second never drawn."""
    (directory / "results/tiny/prompts").mkdir(parents=True)
    (directory / "results/tiny/prompts/train.jsonl").write_text("{}\n" * 50)
    return [
        prompts_job(**more),
        drawing_job(1, "policy"),
        drawing_job(2, "teacher", cause=Cause(missing=("x",))),
        job(
            3,
            "score",
            "scored/a.block-0.jsonl",
            [1],
            wildcards={"step": "1", "alpha": "policy", "block": "0"},
        ),
        job(4, "select", "selected/a.json", [3, 0], wildcards={"step": "1", "alpha": "policy", "n": "8"}),
    ]


def test_amounts_are_prompts_times_samples(tmp_path):
    jobs = small(tmp_path)
    assert amounts(snapshot(tmp_path, jobs)) == [None, 400, 400, 400, 400]
    # Prompts that are made are counted, whatever the data set has become.
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("{}\n" * 20)
    jobs[4] = replace(jobs[4], parents=(2, 3))
    assert amounts(snapshot(tmp_path, jobs))[1:] == [400, 400, 400, 800]
    # A block of which nothing is known leaves its readers unknown.
    jobs[2] = replace(jobs[2], parents=())
    assert amounts(snapshot(tmp_path, jobs))[1:] == [400, None, 400, None]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--num_samples=30", 30 * 8),
        ("--num_samples=5000", 200 * 8),
        ("--start_idx=150", 50 * 8),
        ("--start_idx=500", 0),
        ("", 200 * 8),
    ],
)
def test_prompts_to_be_made_again_are_counted_from_the_data_set(tmp_path, flags, expected):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("{}\n" * 200)
    jobs = small(tmp_path, cause=FORCED)
    jobs[0] = replace(jobs[0], parameters={"flags": f"--dataset='data/train.jsonl' {flags}"})
    assert amounts(snapshot(tmp_path, jobs))[2] == expected


def test_a_data_set_that_cannot_be_counted_is_as_large_as_is_asked_or_as_it_was(tmp_path):
    jobs = small(tmp_path, cause=FORCED)
    hub = {"flags": "--dataset=org/name --num_samples=90"}
    jobs[0] = replace(jobs[0], parameters=hub, outputs=tuple("abc"))
    assert amounts(snapshot(tmp_path, jobs))[2] == 30 * 8
    jobs[0] = replace(jobs[0], parameters={"flags": "--dataset=org/name"})
    assert amounts(snapshot(tmp_path, jobs))[2] is None
    jobs[0] = replace(jobs[0], outputs=("results/tiny/prompts/train.jsonl",))
    assert amounts(snapshot(tmp_path, jobs))[2] == 50 * 8


def test_more_prompts_take_longer_in_proportion(tmp_path):
    """400 completions took 20 s, at 12 tokens each; now there are to be 1,600."""
    jobs = small(tmp_path)
    (tmp_path / jobs[0].outputs[0]).write_text("{}\n" * 200)
    jobs[1] = drawing_job(1, "policy", cause=FORCED)
    leave(tmp_path, jobs[1], 20.0, completions=400, tokens=12)
    plan = make_plan(snapshot(tmp_path, jobs))
    drawing = next(stage for stage in plan.stages if stage.stage == "generate")
    assert drawing.jobs == 2
    assert drawing.cost.seconds == pytest.approx(2 * 80)
    assert drawing.cost.gpu_hours == pytest.approx(2 * 80 / 3600)
    assert (drawing.cost.completions, drawing.cost.tokens) == (3200, 3200 * 12)
    assert drawing.sources == ("this arm", "other arms")
    assert plan.seconds == pytest.approx(80, abs=0.1)


def test_more_epochs_take_longer_in_proportion(tmp_path):
    then = Cause(parameters=True, then=Run("train.py --max_epochs=2 x", (), ()), now=Run("", (), ()))
    wildcards = {"step": "1", "alpha": "policy", "n": "8"}
    one = job(0, "train", "checkpoints/a.json", wildcards=wildcards, cause=then)
    one = replace(one, parameters={"flags": "--max_epochs=5 --dtype=float32"})
    leave(tmp_path, one, 30.0)
    assert make_plan(snapshot(tmp_path, [one])).total.seconds == pytest.approx(75)


def test_the_nearest_past_counts(tmp_path):
    """The arm itself before the same alpha, before any arm of the rule; blocks of an arm by their mean."""
    jobs = small(tmp_path)
    for number, (alpha, block, seconds) in enumerate(
        [("entropy", 0, 10), ("entropy", 1, 20), ("kl_symmetry", 0, 90)], start=5
    ):
        jobs.append(drawing_job(number, alpha, block))
        leave(tmp_path, jobs[-1], seconds, completions=400)
    found = snapshot(tmp_path, jobs)
    evidence = Evidence(found, amounts(found))

    def seconds(alpha: str, step: str = "1") -> tuple[float, str]:
        asked = replace(jobs[5], wildcards={"step": step, "alpha": alpha, "block": "9"})
        estimate = evidence.estimate(asked, 400)
        assert estimate is not None
        return estimate.seconds, estimate.source

    assert seconds("entropy") == (15, "this arm")
    assert seconds("entropy", "2") == (15, "other arms")
    assert seconds("kl_symmetry", "2") == (90, "other arms")
    assert seconds("ess_balance") == ((15 + 90) / 2, "other arms")
    assert evidence.estimate(replace(jobs[5], rule="train"), None) is None


def test_other_runs_are_asked_last_and_scaled(tmp_path):
    """Beside this run lies one with blocks of 100 completions that took 7 s."""
    jobs = small(tmp_path)
    base = tmp_path / "results/other"
    for name in ("benchmarks/completions/step-9/policy/0.block-0.jsonl", "benchmarks/notes.txt"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text('{"s": 7.0}\n')
    drawn = base / "completions/step-9/policy/0.block-0.jsonl"
    drawn.parent.mkdir(parents=True)
    drawn.write_text('{"completion_tokens": 3}\n' * 100)
    plan = make_plan(snapshot(tmp_path, jobs))
    drawing = next(stage for stage in plan.stages if stage.stage == "generate")
    assert drawing.sources == ("run other",)
    assert drawing.cost.seconds == pytest.approx(28)
    assert drawing.cost.tokens == 1200
    # An arm of this run that its config names no longer is nearer.
    own = tmp_path / "results/tiny/benchmarks/completions/step-0/policy/0.block-0.jsonl"
    own.parent.mkdir(parents=True)
    own.write_text('{"s": 50.0}\n')
    assert make_plan(snapshot(tmp_path, jobs)).total.seconds == pytest.approx(50)


def test_journals_are_reused(tmp_path):
    jobs = small(tmp_path)
    leave(tmp_path, jobs[1], 40.0, completions=400, tokens=10)
    journal = tmp_path / f"{jobs[2].outputs[0]}.partial"
    journal.parent.mkdir(parents=True)
    journal.write_text("header\n" + "{}\n" * 300)
    found = snapshot(tmp_path, jobs)
    assert [journalled(found, one) for one in jobs] == [0, 0, 300, 0, 0]
    plan = make_plan(found)
    assert plan.resumed_completions == 300
    assert (plan.total.completions, plan.total.tokens) == (100, 1000)
    assert plan.total.seconds == pytest.approx(10)
    assert "Resumes 300 completions from journals" in render(plan, NOW)


def test_jobs_that_only_follow_are_summed_up(tmp_path):
    """The block is drawn colder; of what reads it, one job has a reason of its own as well."""
    colder = Cause(code=True)
    jobs = small(tmp_path)[:2]
    jobs[1] = drawing_job(1, "policy", cause=colder)
    for number, cause in enumerate([Cause(from_jobs=(1,)), Cause(from_jobs=(1,), code=True)], start=2):
        jobs.append(job(number, "score", f"scored/{number}.json", [1], cause=cause))
    plan = make_plan(snapshot(tmp_path, jobs))
    assert {stage.stage: stage.followers for stage in plan.stages if stage.jobs} == {
        "generate": 0,
        "score": 1,
    }
    lines = render(plan, NOW).splitlines()
    why = lines[lines.index("Why") + 1 : lines.index("Why") + 4]
    assert why == [
        "  1  the command of generate changed (generate)",
        "  1  the command of score changed (score)",
        "  1  their inputs are made anew (score)",
    ]
    stages = {stage["stage"]: stage for stage in plan.to_json()["stages"]}
    assert {"words": "output of generate made again", "follows": True, "jobs": 2} in stages["score"]["why"]


def test_the_start_of_snakemake_counts(tmp_path):
    jobs = small(tmp_path)
    assert make_plan(snapshot(tmp_path, jobs), 7.0).seconds == make_plan(snapshot(tmp_path, jobs)).seconds + 7
    assert make_plan(snapshot(tmp_path, jobs[:2]), 7.0).seconds == 0


def test_what_is_reused(tmp_path):
    jobs = small(tmp_path)
    leave(tmp_path, jobs[1], 40.0, completions=400, tokens=10)
    plan = make_plan(snapshot(tmp_path, jobs))
    assert (plan.jobs, plan.reused_jobs) == (1, 4)
    assert (plan.reused_completions, plan.reused_tokens) == (400, 4000)
    assert "Reused: 4 jobs, 400 completions (4,000 tokens)." in render(plan, NOW)


def test_the_cluster_has_its_own_limits_and_waits(tmp_path):
    """Jobs on the cluster need none of our cores; past ones waited for 20 s before they ran for 10 s."""
    drawing = [
        replace(drawing_job(number, "policy", number, parents=(), cause=FORCED), elapsed=30.0)
        for number in range(4)
    ]
    local = replace(job(4, "summarize", "summary.json", range(4), cause=FORCED), local=True)
    for one in drawing:
        leave(tmp_path, one, 10.0)
    leave(tmp_path, local, 5.0)

    def seconds(**limits: Any) -> float:
        return make_plan(snapshot(tmp_path, [*drawing, local], **limits)).seconds

    slurm = {"cores": 1, "executor": "slurm"}
    assert seconds(**slurm) == pytest.approx(30 + 5, abs=0.1)
    assert seconds(**slurm, nodes=2) == pytest.approx(60 + 5, abs=0.1)
    assert seconds(**slurm, nodes=9, resources={"gpu": 1}) == pytest.approx(120 + 5, abs=0.1)
    assert seconds(cores=1) == pytest.approx(40 + 5, abs=0.2)


def test_gpus_are_those_asked_for():
    one = drawing_job(0, "policy")
    assert gpus(one) == 1
    slurm_gres = {"threads": 1, "gpu": 0, "gres": "gpu:4", "nodes": 2, "gpus_in_flight": 8}
    assert gpus(replace(one, resources=slurm_gres)) == 8
    assert gpus(replace(one, resources={"threads": 1})) == 0


def test_benchmark_files(tmp_path):
    path = tmp_path / "b.jsonl"
    assert benchmark_seconds(path) is None
    path.write_text("")
    assert benchmark_seconds(path) is None
    path.write_text('{"s": 3.5, "h:m:s": "0:00:03"}\n{"s": 4.5}\n')
    assert benchmark_seconds(path) == 4.5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.04, "0.0 s"), (3.21, "3.2 s"), (9.49, "9.5 s"), (9.5, "10 s"), (59.4, "59 s"),
        (59.6, "1 min"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (18720, "5 h 12 min"),
        (86400 * 3 + 14400, "3 d 4 h"), (3 * 86400 + 5, "3 d"),
    ],
)  # fmt: skip
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_a_big_plan_fits_a_screen_and_its_columns_stand(tmp_path):
    """4,000 blocks of 400 completions: 60 s each on one of two GPUs, 6 s each on one of 8 cores."""
    jobs = small(tmp_path)[:1]
    for number in range(1, 2001):
        jobs.append(drawing_job(number, "policy", number, cause=Cause(missing=("x",))))
    for number in range(2001, 4001):
        wildcards = {**POLICY, "block": f"{number}"}
        missing = Cause(missing=("y",))
        path = f"scored/{number}.jsonl"
        jobs.append(job(number, "score", path, [number - 2000], wildcards=wildcards, cause=missing))
    leave(tmp_path, jobs[1], 60.0)
    leave(tmp_path, jobs[2001], 6.0)
    plan = make_plan(snapshot(tmp_path, jobs, cores=8, resources={"gpu": 2}))
    lines = render(plan, NOW).splitlines()
    assert len(lines) < 20
    assert lines[0] == "results/tiny: 4,000 of 4,001 jobs to run"
    table = [" ".join(line.split()) for line in lines[2:6]]
    assert table == [
        "stage run reuse completions tokens GPU-h job time estimated from",
        "prompts_train 1",
        "generate 2,000 800,000 ? 33.33 1 d 9 h this arm",
        "score 2,000 3 h 20 min this arm",
    ]
    ends = {line.rstrip().rfind("this arm") for line in lines[4:6]}
    assert ends == {lines[2].index("estimated from")}
    assert plan.seconds == pytest.approx(1000 * 60 + 6, rel=0.001)
    assert "Takes about 16 h 40 min on 8 cores, gpu=2; would end at Sun 22 Nov, 16:30." in lines
    assert lines[-5:-2] == [
        "Why",
        "  2,000  completions not made yet (generate)",
        "  2,000  scores not made yet (score)",
    ]


def test_the_json_says_the_same(tmp_path):
    plan = make_plan(recorded(tmp_path))
    found = json.loads(json.dumps(plan.to_json()))
    assert found["jobs"] == 117
    assert found["seconds"] == plan.seconds
    by_name = {stage["stage"]: stage for stage in found["stages"]}
    assert by_name["train"]["why"] == [{"words": "forced by --forceall", "follows": False, "jobs": 11}]
    assert by_name["train"]["cost"]["seconds"] == pytest.approx(
        sum(entry["seconds"] for entry in RECORDED["jobs"] if entry["rule"] == "train")
    )
    assert set(found) == set(Plan.__dataclass_fields__)
