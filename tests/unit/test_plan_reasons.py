"""Why a job runs, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from dag_samples import FORCED, changed, drawing_job, job, prompts_job, snapshot

from winnow.workflow.reasons import Reason, parameter_changes, product_of, reasons
from winnow.workflow.snapshot import Cause, Run

TEMPLATE = (
    "{params.program} --prompts {input.prompts} {params.models} --step {params.step}"
    " --num_rollout {params.num_rollout} --temperature {params.temperature} {params.drawing}"
    " --scorers {params.scorers} --formats {params.formats} --title {params.title:q}"
    " --devices {resources.gpu} --gres={resources.gres} --output {output} > {log} 2>&1"
)
NAMED = {
    "code": "b0987b3b48a21310",
    "step": "460",
    "num_rollout": 8,
    "temperature": 1.0,
    "drawing": "--seed=17 --top_k=0 --max_new_tokens=64",
    "scorers": "'exact={}' 'error={\"tolerance\": 0.5}'",
    "formats": ["messages", "sharegpt"],
    "title": "a title of two words",
}
VALUES = {
    **NAMED,
    "models": "--model_theta models/460.json",
    "batch_size": 256,
    "devices": 1,
}


def command(**changes: object) -> str:
    """The template filled in; `devices`, `models` and `batch_size` are no recorded parameters."""
    values = {**VALUES, **changes}
    return (
        f"python scripts/generate.py --batch_size={values['batch_size']}"
        f" --prompts p.jsonl {values['models']} --step {values['step']}"
        f" --num_rollout {values['num_rollout']} --temperature {values['temperature']} {values['drawing']}"
        f" --scorers {values['scorers']} --formats {' '.join(values['formats'])} --title '{values['title']}'"
        f" --devices {values['devices']} --gres= --output o.jsonl > o.log 2>&1"
    )


def words(**then: object) -> list[str]:
    """What changed from a run with these values to one with `VALUES`."""
    before = {name: then.get(name, value) for name, value in NAMED.items()}
    recorded = tuple(sorted(map(repr, before.values())))
    now = tuple(sorted(map(repr, NAMED.values())))
    return parameter_changes(TEMPLATE, NAMED, Run(command(**then), recorded, ()), Run(command(), now, ()))


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ({"temperature": 0.8}, ["temperature changed from 0.8 to 1.0"]),
        ({"num_rollout": 4}, ["num_rollout changed from 4 to 8"]),
        (
            {"drawing": "--seed=17 --top_k=0 --max_new_tokens=128"},
            ["max_new_tokens changed from 128 to 64"],
        ),
        (
            {"drawing": "--seed=3 --top_k=0 --max_new_tokens=128"},
            ["seed changed from 3 to 17", "max_new_tokens changed from 128 to 64"],
        ),
        ({"drawing": "--seed=17 --max_new_tokens=64"}, ["top_k set to 0"]),
        (
            {"drawing": NAMED["drawing"] + " --min_p=0.1 --save_token_ids"},
            ["min_p no longer set (was 0.1)", "save_token_ids switched off"],
        ),
        (
            {"scorers": "'exact={}' 'error={\"tolerance\": 2}' 'length={}'"},
            [
                "length removed from scorers",
                'scorers, error changed from {"tolerance": 2} to {"tolerance": 0.5}',
            ],
        ),
        ({"scorers": "'exact={}'"}, ["error added to scorers"]),
        (
            {"scorers": "'exact={}' 'error={\"tolerance\": 0.5}' 'mine.scorers:Length={}'"},
            ["mine.scorers:Length removed from scorers"],
        ),
        ({"formats": ["messages", "parquet"]}, ["formats: sharegpt added, parquet removed"]),
        ({"formats": ["sharegpt", "messages"]}, ["formats: another order"]),
        ({"title": "another"}, ["title changed from another to 'a title of two words'"]),
        ({"code": "0000000000000000"}, ["the code of generate.py changed"]),
    ],
)
def test_a_change_has_the_name_of_its_flag(then, expected):
    assert words(**then) == expected


def test_what_no_parameter_says_is_no_reason():
    found = words(temperature=0.8, devices=4, batch_size=8, models="--model_theta models/250.json")
    assert found == ["temperature changed from 0.8 to 1.0"]


def test_a_switch_that_is_new():
    named = {"flags": "--bf16"}
    then, now = Run("run --output o", ("''",), ()), Run("run --bf16 --output o", ("'--bf16'",), ())
    assert parameter_changes("run {params.flags} --output {output}", named, then, now) == ["bf16 switched on"]


def test_where_the_log_goes_is_no_parameter():
    named = {"flags": "--seed=2 --bf16"}
    then, now = (Run(f"run --seed={seed} --bf16 > {seed}.log 2>&1", (), ()) for seed in (1, 2))
    assert parameter_changes("run {params.flags} > {log} 2>&1", named, then, now) == [
        "seed changed from 1 to 2"
    ]


def test_a_value_that_stands_twice_is_told_from_its_twin():
    """n = 8 and block_size = 8 were recorded as two bare eights; now n is 4."""
    template = "select --block_size {params.block_size} --n {params.n}"
    named = {"block_size": 8, "n": 4}
    then = Run("select --block_size 8 --n 8", ("8", "8"), ())
    now = Run("select --block_size 8 --n 4", ("4", "8"), ())
    assert parameter_changes(template, named, then, now) == ["n changed from 8 to 4"]


def test_long_values_lose_their_middle_and_equal_rests_are_not_shown():
    def change(old: str, new: str) -> list[str]:
        runs = (Run(f"m --model {path}", (repr(path),), ()) for path in (old, new))
        return parameter_changes("m --model {params.path}", {"path": new}, *runs)

    start, end = "a" * 40, "z" * 40
    assert change(f"{start}1", f"{start}2") == [
        f"model changed from {'a' * 19}…{'a' * 19}1 to {'a' * 19}…{'a' * 19}2"
    ]
    assert change(f"{start}1{end}", f"{start}2{end}") == ["model changed"]


@pytest.mark.parametrize(
    ("name", "value", "command_now", "then", "expected"),
    [
        ("content", "'new'", "prompts.py --dataset=data.jsonl", "'old'", "the data in data.jsonl changed"),
        ("identity", "'new'", "manifest.py --model models/a", "'old'", "the weights in models/a changed"),
        (
            "versions",
            {"exact": 2, "error": 1},
            "score.py --scorers exact={}",
            "{'exact': 1, 'error': 1}",
            "scorer exact changed from version 1 to 2",
        ),
        ("limit", 5, "any.py", "4", "limit changed from 4 to 5"),
    ],
)
def test_parameters_that_no_command_shows(name, value, command_now, then, expected):
    cause = changed(command_now, command_now, {name: value}, [then])
    assert parameter_changes("", cause.named, cause.then, cause.now) == [expected]


def test_another_data_set_is_not_called_a_changed_one():
    template, named = "prompts.py {params.flags}", {"content": "new", "flags": "--dataset=b.jsonl"}
    cause = changed(
        "prompts.py --dataset=a.jsonl",
        "prompts.py --dataset=b.jsonl",
        named,
        ["'--dataset=a.jsonl'", "'old'"],
    )
    assert parameter_changes(template, named, cause.then, cause.now) == [
        "dataset changed from a.jsonl to b.jsonl"
    ]


def test_without_a_recorded_command_the_values_are_said():
    then = Run(None, ("1.0", "17"), ())
    now = Run("x --temperature 0.5", ("0.5", "17"), ())
    found = parameter_changes("x --temperature {params.temperature}", {"temperature": 0.5}, then, now)
    assert found == ["parameters changed from 1.0 to 0.5"]


def inputs(*paths: str) -> Run:
    return Run("command", (), paths)


def test_reasons_of_jobs(tmp_path: Path):
    temperature = changed(
        "g --temperature 1.0", "g --temperature 0.5", {"temperature": 0.5}, ["1.0"], code=True, software=True
    )
    twice = ("results/tiny/qstar/a.jsonl", "results/tiny/qstar/a.diagnostics.jsonl")
    jobs = [
        prompts_job(),
        drawing_job(1, "policy", cause=temperature),
        drawing_job(2, "entropy", cause=Cause(missing=twice[1:], made_before=True), outputs=twice),
        drawing_job(3, "teacher", cause=Cause(missing=("results/tiny/completions/x.jsonl",))),
        job(4, "score", "scored/a.jsonl", [1], cause=Cause(from_jobs=(1,))),
        job(5, "score", "scored/b.jsonl", [3], cause=Cause(from_jobs=(3,))),
        job(6, "select", "selected/a.json", [4, 5], cause=Cause(interrupted=True, from_jobs=(4,))),
        job(7, "train", "checkpoints/a.json", [6], cause=FORCED),
        job(
            8, "score", "scored/c.jsonl", [0], cause=Cause(updated=("results/tiny/prompts/train.jsonl", "x"))
        ),
        job(
            9,
            "summarize",
            "summary.json",
            [2],
            cause=Cause(
                inputs=True, from_jobs=(2,), then=Run("s", (), ("a", "b")), now=Run("s", (), ("b", "c", "d"))
            ),
        ),
    ]
    found = snapshot(tmp_path, jobs)
    template = "g --temperature {params.temperature}"
    found = type(found)(
        found.jobs,
        {
            **found.rules,
            "generate": type(found.rules["generate"])("generate", "generate", "g", None, template),
        },
        found.limits,
        tmp_path,
    )
    said = {number: [(r.words, r.follows) for r in reasons(found, jobs[number])] for number in range(10)}
    assert said == {
        0: [],
        1: [
            ("temperature changed from 1.0 to 0.5", False),
            ("the command of generate changed", False),
            ("the software environment changed", False),
        ],
        2: [("a.diagnostics.jsonl deleted", False)],
        3: [("completions not made yet", False)],
        4: [("output of generate made again", True)],
        5: [("output of generate newly made", True)],
        6: [("an earlier run was interrupted while it wrote, or still runs", False)],
        7: [("forced by --forceall", False)],
        8: [("output of prompts_train changed", False), ("x changed", False)],
        9: [("inputs: 2 added, 1 removed", False), ("output of generate made again", True)],
    }
    assert reasons(found, jobs[4]) == (Reason("output of generate made again", follows=True),)


@pytest.mark.parametrize(
    ("path", "product"),
    [
        ("results/x/completions/train/step-1/policy/0.block-0.jsonl", "completions"),
        ("results/models/evaluation/step-1/policy/n-8/completions/0.jsonl", "completions"),
        ("results/x/evaluation/step-1/untrained/evaluation.json", "evaluation"),
        ("results/x/models/teacher/manifest.json", "model description"),
        ("results/x/checkpoints/step-1/policy/n-8/manifest.json", "checkpoint"),
        ("results/x/summary.json", "summary"),
        ("elsewhere/file.txt", "output"),
    ],
)
def test_products(path, product):
    assert product_of(path) == product
