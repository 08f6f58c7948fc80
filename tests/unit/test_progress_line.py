"""A run is followed by its files: what is counted, what is left, and what a person reads."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from winnow import jsonl
from winnow.attempts import COMPLETION_FIGURES, Attempt, Record
from winnow.errors import UserError
from winnow.watching import follow
from winnow.watching.failures import Failure, report
from winnow.watching.line import in_words, progress_line
from winnow.watching.plan import Plan, plan_of, read_plan
from winnow.watching.stage import Stage, seconds_left
from winnow.watching.watch import ALIVE_SECONDS, Watch

ARM = "step-460/policy"


class Run:
    """A run of two shards: generate, score and select, and one training."""

    def __init__(self, root: Path) -> None:
        self.root = root / "results" / "x"
        blocks = [f"{ARM}/0000{shard}-of-00002.block-0" for shard in range(2)]
        paths = {
            "train": [f"checkpoints/{ARM}/n-8"],
            "generate": [f"completions/train/{block}" for block in blocks],
            "score": [f"scored/train/{block}" for block in blocks],
            "select": [f"selected/{ARM}/n-8"],
        }
        self.jobs = {(rule, i): self.job(rule, path) for rule in paths for i, path in enumerate(paths[rule])}
        everything = [
            SimpleNamespace(output=[], log=[], rule=SimpleNamespace(name="all")),
            *self.jobs.values(),
        ]
        self.plan = plan_of(everything, self.root, "exact_answer")

    def job(self, rule: str, path: str) -> SimpleNamespace:
        ending = {"train": "/manifest.json", "select": "/accepted.jsonl"}.get(rule, ".jsonl")
        return SimpleNamespace(
            rule=SimpleNamespace(name=rule),
            output=[f"{self.root}/{path}{ending}"],
            log=[f"{self.root}/logs/{path}.log"],
            benchmark=f"{self.root}/benchmarks/{path}.jsonl",
        )

    def begin(self, rule: str, number: int = 0, **figures: int) -> Attempt:
        log = write(self.jobs[rule, number].log[0], b"12:00:00 hello\n")
        attempt = Attempt(f"{log}.attempts", *figures)
        attempt.add(**figures)
        return attempt.__enter__()

    def end(self, rule: str, number: int = 0, attempt: Attempt | None = None, seconds: float = 60.0) -> None:
        job = self.jobs[rule, number]
        write(job.output[0], b"")
        if attempt:
            attempt.__exit__(None, None, None)
        write(job.benchmark, orjson.dumps({"s": seconds}) + b"\n")


def write(path: str, content: bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def drawn(completions: int, tokens: int) -> dict[str, int]:
    return dict(zip(COMPLETION_FIGURES, (completions, 100, 7, tokens), strict=True))


def test_a_plan_is_read_back_as_it_was_written(run):
    assert read_plan(run.root) == run.plan
    assert list(run.plan.jobs) == ["generate", "score", "select", "train"]
    assert run.plan.jobs["select"] == [
        (
            f"selected/{ARM}/n-8/accepted.jsonl",
            f"logs/selected/{ARM}/n-8.log",
            f"benchmarks/selected/{ARM}/n-8.jsonl",
        )
    ]
    assert not run.plan.ended
    with pytest.raises(UserError, match="no such file"):
        read_plan(run.root / "other")


def test_a_plan_knows_when_snakemake_has_ended(run):
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    assert Plan(run.plan.started, run.plan.host, gone, "", {}).ended
    assert not Plan(run.plan.started, "another machine", gone, "", {}).ended


def test_a_run_from_its_beginning_to_its_end(run):
    watch = Watch(run.root, run.plan)
    watch.look()
    assert progress_line(watch)[0] == "0 of 6 jobs · generate 0 of 2"
    first = run.begin("generate", 0, **drawn(40, 1200))
    watch.look()
    assert progress_line(watch)[0] == "0 of 6 jobs · generate 0 of 2 (40 of about 200 completions)"
    first.add(completions=60, completion_tokens=1800)
    run.end("generate", 0, first, seconds=30.0)
    second = run.begin("generate", 1, **drawn(10, 300))
    scoring = run.begin("score", 0, completions=100, passed_exact_answer=34)
    watch.look()
    expected = "1 of 6 jobs · generate 1 of 2 (110 of 200 completions) · score 0 of 2 · 34 % passed"
    assert progress_line(watch)[0] == expected
    second.add(completions=90)
    run.end("generate", 1, second)
    run.end("score", 0, scoring)
    run.end("score", 1, run.begin("score", 1, completions=100, passed_exact_answer=46))
    jsonl.write_json(run.root / f"selected/{ARM}/n-8/statistics.json", {"completions": 200, "eligible": 62})
    run.end("select")
    training = run.begin("train", steps=3, total=10)
    watch.look()
    assert progress_line(watch)[0] == "5 of 6 jobs · train 0 of 1 (3 of 10 steps) · 40 % passed"
    watch.look()
    assert progress_line(watch)[0] == "5 of 6 jobs · train 0 of 1 (3 of 10 steps) · yield 31 %"
    run.end("train", attempt=training)
    watch.look()
    assert progress_line(watch)[0] == "6 of 6 jobs · yield 31 %"
    assert watch.unfinished() == []


def test_another_shell_sees_the_same(run):
    watch = Watch(run.root, run.plan)
    run.end("generate", 0, run.begin("generate", 0, **drawn(100, 3000)))
    attempt = run.begin("generate", 1, **drawn(10, 300))
    other = Watch(run.root, read_plan(run.root))
    for each in (watch, other):
        each.look()
    assert progress_line(watch)[0] == progress_line(other)[0]
    assert other.unfinished() == [("generate", run.plan.jobs["generate"][1][1])]
    run.end("generate", 1, attempt)


def test_what_an_earlier_run_left_is_not_done(run):
    """A stale result is there until its job begins anew."""
    stale = Run.__new__(Run)
    stale.root, stale.jobs = run.root, run.jobs
    stale.end("generate", 0, stale.begin("generate", 0, **drawn(100, 3000)), seconds=77.0)
    for path in run.root.rglob("*"):
        if path.is_file() and path.name != ".plan.json":
            os.utime(path, (run.plan.started - 10, run.plan.started - 10))
    watch = Watch(run.root, run.plan)
    watch.look()
    assert progress_line(watch)[0] == "0 of 6 jobs · generate 0 of 2"
    assert watch.stages["generate"].job_seconds() == 77.0
    run.end("generate", 0, run.begin("generate", 0, **drawn(100, 3000)), seconds=20.0)
    watch.look()
    assert progress_line(watch)[0].startswith("1 of 6 jobs")
    assert watch.stages["generate"].job_seconds() == 20.0


def test_tokens_are_those_that_running_attempts_draw_themselves(run):
    watch = Watch(run.root, run.plan)
    watch.look()
    assert watch.tokens_per_second is None
    log = write(run.jobs["generate", 0].log[0], b"")
    line = {
        "started": time.time(), "host": "h", "gpus": 0, "cores": 1, "seconds": 10.0, "outcome": "running",
        "found": drawn(50, 5000), **drawn(60, 5400),
    }  # fmt: skip
    account = write(f"{log}.attempts", orjson.dumps(line) + b"\n")
    watch.look()
    assert watch.tokens_per_second == pytest.approx(40.0)
    # Later, over the time between two looks.
    then, tokens = watch._drawn.popleft()
    watch._drawn.appendleft((then - 20.0, tokens))
    account.write_bytes(orjson.dumps({**line, "completion_tokens": 5900}) + b"\n")
    watch.look()
    assert watch.tokens_per_second == pytest.approx(900 / 20, rel=0.05)
    os.utime(account, (run.plan.started + 1, time.time() - ALIVE_SECONDS - 1))
    watch.plan = Plan(0.0, "", 0, "", {})
    watch.look()
    assert watch.tokens_per_second is None, "it was killed"


def record(outcome: str = "running", seconds: float = 10.0, found: int = 0, **figures: int) -> Record:
    return Record(0.0, seconds, outcome, 0, 1, "h", figures, {"completions": found})


@pytest.mark.parametrize(
    ("stages", "left"),
    [
        # Nothing is known.
        ([Stage(total=4)], None),
        ([Stage(total=4, done=4, measured=[10.0])], None),
        # 40 jobs of 10 s have taken 100 s: four at once, and so the other 20 take 50 s.
        ([Stage(total=60, done=40, measured=[10.0])], (50.0, True)),
        # One job cannot be shared.
        ([Stage(total=41, done=40, measured=[10.0])], (10.0, True)),
        # The stages wait for each other.
        ([Stage(total=41, done=40, measured=[10.0]), Stage(total=1, before=[30.0])], (40.0, True)),
        # Of a stage that was never run nobody knows.
        ([Stage(total=41, done=40, measured=[10.0]), Stage(total=1)], (10.0, False)),
        # Half of a job in 10 s: 10 s are left; of what it found done, it did nothing itself.
        ([Stage(1, begun={"a"}, records={"a": record(completions=50, total=100)})], (10.0, True)),
        ([Stage(1, begun={"a"}, records={"a": record(completions=80, total=100, found=60)})], (4.0, True)),
        # Two run at once, half done; two wait.
        ([Stage(4, 0, {"a", "b"}, dict.fromkeys("ab", record(steps=5, total=10)), [20.0])], (30.0, True)),
    ],
)  # fmt: skip
def test_what_is_left(stages, left):
    assert seconds_left(stages, elapsed=100.0) == (
        left if left is None else (pytest.approx(left[0]), left[1])
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (44, "40 s"), (95, "2 min"), (3540, "59 min"), (3601, "1 h"), (12_000, "3 h 20 min"),
     (86_400 * 2 + 3600 * 4, "2 d 4 h")],
)  # fmt: skip
def test_durations_in_words(seconds, text):
    assert in_words(seconds) == text


def test_the_line_has_the_time_and_what_is_left(run):
    run.end("generate", 0, run.begin("generate", 0, **drawn(100, 3000)))
    watch = Watch(run.root, run.plan)
    watch.look()
    line = progress_line(watch)[1]
    clock, _, rest = line.partition(" ")
    assert time.strptime(clock, "%H:%M:%S")
    assert rest == "1 of 6 jobs · generate 1 of 2 (100 of about 200 completions) · at least 60 s left"


@pytest.mark.parametrize("text", ["often", "-1", "nan", "inf", ""])
def test_an_interval_that_is_none(text):
    with pytest.raises(UserError, match="WINNOW_PROGRESS_SECONDS"):
        follow.interval(text)
    assert follow.interval("0.5") == 0.5


def test_nothing_new_is_not_told_again(run):
    watch = Watch(run.root, run.plan)
    looks = iter([False, False, False, True])
    assert len(list(follow.lines(watch, lambda: next(looks)))) == 1


def test_an_error_is_told_once_and_the_run_goes_on(run, capsys):
    run.begin("generate")
    write(f"{run.jobs['generate', 0].log[0]}.attempts", b'{"other": 1}\n')
    follow.follow_in_background(run.root, lambda: run.plan, 0.01)
    time.sleep(0.3)
    told = capsys.readouterr().err
    assert told.count("no progress lines from here on") == 1
    assert "not an attempt" in told

    def broken() -> Plan:
        raise OSError("read-only")

    follow.follow_in_background(run.root, broken, 0.01)
    assert "read-only" in capsys.readouterr().err


LOG = """\
12:00:01 told
error: first attempt
  expected: a
12:00:02 going on
error: models/late: no such directory
  expected: a model
  to mend:  correct the config
Exception ignored in: <x>
"""


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (LOG, LOG.splitlines()[4:7]),
        ("".join(f"line {i}\n" for i in range(40)), [f"line {i}" for i in range(28, 40)]),
        ("x" * 200_000 + "\nRuntimeError: ü\n", ["x" * 400, "RuntimeError: ü"]),
        ("", ["(empty: the program was ended before it said anything)"]),
    ],
)  # fmt: skip
def test_a_failure_is_told_with_the_end_of_its_log(tmp_path, log, shown):
    path = tmp_path / "job.log"
    path.write_text(log)
    failure = Failure("generate", {"step": "460", "alpha": "policy"}, str(path))
    head, name, where, *rest = report([failure], with_logs=True).splitlines()
    assert (head, name, where) == ("1 job failed:", "  generate step=460 alpha=policy", f"    log: {path}")
    assert [line.removeprefix("      ") for line in rest] == shown
    assert report([failure], with_logs=False).splitlines() == [head, name, where]


def test_a_failure_without_a_log_of_this_run(tmp_path):
    path = tmp_path / "job.log"
    failures = [Failure("train", {}, str(path)), Failure("own", {}, "")]
    told = report(failures, with_logs=True)
    assert told.splitlines()[:3] == ["2 jobs failed:", "  own", "    its rule keeps no log"]
    assert "the program never began" in told
    path.write_text(LOG)
    assert "no such directory" in report(failures, with_logs=True, since=time.time() - 60)
    assert "no such directory" not in report(failures, with_logs=True, since=time.time() + 60)
