"""The ledger counts every job once, killed attempts too, and says what an arm cost."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from winnow import attempts
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.layout import Layout
from winnow.ledger.places import Place, place_of
from winnow.ledger.rows import arm_cost, ledger
from winnow.summary.cost import cost_lines

ARM = Arm("460", "kl_symmetry", 8)
LAYOUT = Layout("results/x", (ARM,))
HOUR = 3600.0


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("prompts/train", Place("prompts_train")),
        ("models/policy-460", Place("describe_model", "460")),
        ("models/teacher", Place("describe_model")),
        ("completions/train/step-460/kl_symmetry/00000-of-00002.block-3",
         Place("generate", "460", "kl_symmetry", None, 3)),
        ("scored/train/step-round-1/policy/00001-of-00002.block-0",
         Place("score", "round-1", "policy", None, 0)),
        (f"selected/{ARM.path}", Place("select", "460", "kl_symmetry", 8)),
        (f"diagnostics/{ARM.path}", Place("diagnose", "460", "kl_symmetry", 8)),
        (f"training_data/{ARM.path}", Place("export", "460", "kl_symmetry", 8)),
        (f"checkpoints/{ARM.path}", Place("train", "460", "kl_symmetry", 8)),
        ("evaluation/step-460/untrained/completions/00000-of-00001.block-0",
         Place("generate_heldout", "460")),
        (f"evaluation/{ARM.path}/scored/00000-of-00001.block-0",
         Place("score_heldout", "460", "kl_symmetry", 8)),
        (f"evaluation/{ARM.path}/evaluation", Place("evaluate", "460", "kl_symmetry", 8)),
        ("judged/step-460/x", Place("judged")),
    ],
)  # fmt: skip
def test_a_path_says_where_a_job_belongs(path, place):
    assert place_of(path) == place


def benchmark(run: Path, path: str, seconds: float, **extended) -> None:
    file = run / "benchmarks" / f"{path}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps({"s": seconds, "h:m:s": "0:00:01", **extended}) + b"\n")


def account(
    run: Path, path: str, *records: tuple[str, float], gpus: int = 1, cores: int = 4, **figures
) -> None:
    """Attempts as (outcome, seconds); the figures are those of the last."""
    lines = [
        {
            "started": 1e9 + index, "host": "h", "gpus": gpus, "cores": cores, "seconds": seconds,
            "outcome": outcome, "found": {}, **(figures if index == len(records) - 1 else {}),
        }
        for index, (outcome, seconds) in enumerate(records)
    ]  # fmt: skip
    file = run / "logs" / f"{path}.log.attempts"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(orjson.dumps(line).ljust(300) + b"\n" for line in lines))
    assert len(attempts.read(file)) == len(records)


def only(run: Path, asked=None):
    (row,), (stage,), totals = ledger(run, asked or {})
    assert {key: row[key] for key in totals} == {key: stage[key] for key in totals} == totals
    return row


TRAIN = f"checkpoints/{ARM.path}"
BLOCK = "completions/train/step-460/kl_symmetry/00000-of-00001.block-0"


@pytest.mark.parametrize(
    ("measured", "records", "seconds", "earlier", "attempts"),
    [
        # Snakemake's own measure holds the start-up, too.
        (100.0, [("done", 95.0)], 100.0, 0.0, 1),
        (100.0, [("running", 40.0), ("done", 95.0)], 140.0, 40.0, 2),
        (100.0, [("failed", 1.0), ("running", 40.0), ("stopped", 7.0), ("done", 95.0)], 148.0, 48.0, 4),
        # A result that was replaced was paid for as well.
        (100.0, [("done", 60.0), ("done", 95.0)], 160.0, 60.0, 2),
        # Killed while it makes its result anew: the benchmark is still that of the former.
        (100.0, [("done", 95.0), ("running", 20.0)], 120.0, 20.0, 2),
        # Never finished.
        (None, [("running", 40.0)], 40.0, 40.0, 1),
        # Finished, and Snakemake was killed before it wrote its benchmark.
        (None, [("running", 40.0), ("done", 95.0)], 135.0, 40.0, 2),
        # The benchmark is of a job that waited for an orphan to do it.
        (30.0, [("done", 95.0)], 125.0, 95.0, 2),
        (100.0, [], 100.0, 0.0, 1),
    ],
)
def test_every_attempt_is_paid_for(tmp_path, measured, records, seconds, earlier, attempts):
    if measured is not None:
        benchmark(tmp_path, TRAIN, measured)
    if records:
        account(tmp_path, TRAIN, *records, gpus=8, cores=16)
    row = only(tmp_path, {"train": {"gpu": 4, "nodes": 2, "threads": 16}})
    assert (row["stage"], row["n"], row["jobs"], row["attempts"]) == ("train", 8, 1, attempts)
    assert row["seconds"] == seconds
    assert row["gpu_hours"] == pytest.approx(8 * seconds / HOUR, abs=1e-6)
    assert row["cpu_hours"] == pytest.approx(16 * seconds / HOUR, abs=1e-6)
    assert row["earlier_gpu_hours"] == pytest.approx(8 * earlier / HOUR, abs=1e-6)


def test_what_a_job_held_beats_what_it_asked_for(tmp_path):
    asked = {"train": {"gpu": 4, "nodes": 2, "threads": 16}, "generate": {"gpu": 1, "threads": 2}}
    benchmark(tmp_path, TRAIN, HOUR)
    assert (only(tmp_path, asked)["gpu_hours"], only(tmp_path, asked)["cpu_hours"]) == (8, 16)
    benchmark(tmp_path, TRAIN, HOUR, resources={"gpu": 3, "mem_mb": 1}, threads=5)
    assert (only(tmp_path, asked)["gpu_hours"], only(tmp_path, asked)["cpu_hours"]) == (3, 5)
    # On a machine without a GPU the job held none, whatever its rule asks for.
    account(tmp_path, TRAIN, ("done", HOUR - 1), gpus=0, cores=2)
    assert (only(tmp_path, asked)["gpu_hours"], only(tmp_path, asked)["cpu_hours"]) == (0, 2)


def test_held_out_jobs_ask_for_what_their_stage_does(tmp_path):
    benchmark(tmp_path, "evaluation/step-460/untrained/completions/00000-of-00001.block-0", HOUR)
    assert only(tmp_path, {"generate": {"gpu": 2, "threads": 3}})["gpu_hours"] == 2


FIGURES = {"completions": 30, "total": 30, "prompt_tokens": 70, "completion_tokens": 900}


def test_tokens_are_those_of_the_result_and_their_speed_that_of_its_attempts(tmp_path):
    account(tmp_path, BLOCK, ("done", 1000.0), ("running", 10.0), ("done", 15.0), **FIGURES)
    benchmark(tmp_path, BLOCK, 20.0)
    row = only(tmp_path)
    assert (row["completions"], row["prompt_tokens"], row["completion_tokens"]) == (30, 70, 900)
    assert row["tokens_per_second"] == 30.0
    assert row["seconds"] == 1030.0


def test_without_an_account_the_completions_are_counted(tmp_path):
    benchmark(tmp_path, BLOCK, 20.0)
    file = tmp_path / f"{BLOCK}.jsonl"
    file.parent.mkdir(parents=True)
    rows = [
        {"prompt_id": prompt, "prompt_tokens": len(prompt), "completion_tokens": 10 * sample}
        for prompt in ("a", "bb")
        for sample in range(3)
    ]
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    row = only(tmp_path)
    assert (row["completions"], row["prompt_tokens"], row["completion_tokens"]) == (6, 3, 60)
    assert row["tokens_per_second"] == 3.0


@pytest.fixture
def run(tmp_path) -> Path:
    """Two shards, blocks 0 and 1 of 8 samples; arms n = 4, 8, 12; n = 8 is trained."""
    for shard in range(2):
        for block in range(2):
            for folder, seconds in (("completions", 100.0), ("scored", 10.0)):
                path = f"{folder}/train/step-460/kl_symmetry/0000{shard}-of-00002.block-{block}"
                benchmark(tmp_path, path, seconds * (block + 1))
    for n in (4, 8, 12):
        benchmark(tmp_path, f"selected/step-460/kl_symmetry/n-{n}", n)
    benchmark(tmp_path, TRAIN, 500.0)
    benchmark(tmp_path, f"evaluation/{ARM.path}/completions/00000-of-00001.block-0", 50.0)
    benchmark(tmp_path, "evaluation/step-460/untrained/completions/00000-of-00001.block-0", 60.0)
    benchmark(tmp_path, "completions/train/step-460/policy/00000-of-00002.block-0", 1000.0)
    benchmark(tmp_path, "prompts/train", 5.0)
    benchmark(tmp_path, "summary", 9999.0)
    return tmp_path


def test_totals_count_each_job_once_and_not_the_summary_itself(run):
    rows, stages, totals = ledger(run, {})
    files = [path for path in run.rglob("benchmarks/**/*.jsonl") if path.stem != "summary"]
    seconds = sum(orjson.loads(path.read_bytes())["s"] for path in files)
    for sums in (rows, stages, [totals]):
        assert sum(row["seconds"] for row in sums) == seconds == 2299.0
        assert sum(row["jobs"] for row in sums) == len(files) == 16
    blocks = {
        row["block"]: row["seconds"]
        for row in rows
        if row["stage"] == "generate" and row["alpha"] != "policy"
    }
    assert blocks == {0: 200.0, 1: 400.0}
    names = [stage["stage"] for stage in stages]
    assert names == ["prompts_train", "generate", "score", "select", "train", "generate_heldout"]


def test_an_arm_costs_what_stands_behind_it(run):
    rows, _, _ = ledger(run, {"generate": {"gpu": 1}, "train": {"gpu": 2}, "score": {"threads": 3}})
    cost = {n: arm_cost(rows, Arm("460", "kl_symmetry", n), 8) for n in (4, 8, 12)}
    gpu = {4: 100.0, 8: 200.0 + 1000.0 + 50.0, 12: 200.0 + 200.0}
    cpu = {4: 100.0 + 30.0 + 4, 8: 200.0 + 60.0 + 8 + 500.0 + 50.0, 12: 400.0 + 120.0 + 12}
    for n in cost:
        assert cost[n] == pytest.approx((gpu[n] / HOUR, cpu[n] / HOUR), abs=1e-5)


def test_a_damaged_benchmark_is_named(tmp_path):
    benchmark(tmp_path, TRAIN, 1.0)
    (tmp_path / "benchmarks" / f"{TRAIN}.jsonl").write_text('{"seconds": 1}\n')
    with pytest.raises(UserError, match=r"n-8\.jsonl"):
        ledger(tmp_path, {})


def test_the_table_adds_up(run):
    account(run, TRAIN, ("running", 400.0), ("done", 490.0), gpus=2, cores=8)
    _, stages, totals = ledger(run, {})
    arms = [{"step": "460", "alpha": "kl_symmetry", "n": 8, "gpu_hours": 1.5, "cpu_hours": 2.25}]
    lines = cost_lines({"ledger_stages": stages, "ledger_totals": totals, "arms": arms})
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if line.startswith("| ")}
    train, whole = ([cell.strip() for cell in cells[name]] for name in ("train", "whole run"))
    assert train[:6] == ["1", "2", "0.250", "0.500", "2.000", "0.222"]
    assert whole[:2] == ["16", "17"]
    assert [cell.strip() for cell in cells["460"]] == ["kl_symmetry", "8", "1.500", "2.250"]
