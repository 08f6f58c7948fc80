"""From scored completions with their references to training data, the trace of a row, and its publication."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from winnow import jsonl, scoring
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.formats import find
from winnow.publishing import accepted, card, exported_rows, totals
from winnow.scoring.streams import as_row

ROOT = Path(__file__).parents[2]
A, B = "reward_model/a", "reward_model/b"
ARM = "step-460/policy/n-2"
INCLUDE = "--include_reference_completion_for_rejection_sampling"
SCORERS = ("--scorers", f'{A}={{"model": "here"}}', f'{B}={{"model": "there"}}', "exact_answer")
PAIRS = ("--strategy", "best_worst", "--scorer", A, "--voters", A, B)
FORMATS = (
    "open_instruct",
    "preference",
    "messages",
    "prompt_completion",
    "sharegpt",
    "parquet",
    "vespo_diagnostics",
)
ALL = ("open_instruct_completions", "open_instruct_scores")

PROMPTS: list[tuple[str, str | None, list[float], float | None]] = [
    ("a", "the very best answer", [1.0, 2.0], 3.0),
    ("b", "the very worst answer", [1.0, 2.0], 0.5),
    ("c", "between the two", [1.0, 2.0], 1.5),
    ("d", None, [1.0, 2.0], None),
    ("e", "of a prompt too long", [], None),
    ("f", "too long for the reward models", [1.0, 2.0], None),
]
"""Prompts by id: their reference, what their completions are worth, and what the reference is."""


def program(name: str) -> Any:
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location(f"program_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


SELECT, EXPORT, TRACE = program("select"), program("export"), program("trace")


@pytest.fixture
def run(tmp_path):
    """The results of a run up to its scored completions."""
    root, verifier = tmp_path / "results/x", scoring.build("exact_answer")
    prompts, drawn = [], []
    for name, reference, values, worth in PROMPTS:
        messages = [{"role": "user", "content": f"Question {name}?"}]
        prompts.append({"id": name, "messages": messages, "reference": reference, "metadata": {}})
        for sample in range(2):
            said = dict.fromkeys((A, B, "exact_answer")) | {A: worth, B: worth}
            text = f"{name} says {sample}" if values else ""
            value = values[sample] if values else None
            scores = {
                scorer: {"value": value, "passed": False, "detail": "", "version": 1} for scorer in (A, B)
            }
            verified = verifier.score(text, reference) if values else scoring.Score(None, False, "")
            scores["exact_answer"] = as_row(verified, verifier.version)
            row = {
                "id": f"{name}/{sample}", "prompt_id": name, "sample": sample, "seed": 7, "text": text,
                "finish_reason": "stop" if values else "prompt_too_long", "prompt_tokens": 2,
                "completion_tokens": 3 if values else 0, "step": "460", "alpha": "policy", "model": "m" * 64,
                "scores": scores,
            }  # fmt: skip
            drawn.append(row | ({"reference_scores": said} if reference and values else {}))
    write(root / "prompts/train/00000-of-00001.jsonl", prompts)
    write(root / "scored/train/step-460/policy/00000-of-00001.block-0.jsonl", drawn)
    return root


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(jsonl.dumps, rows)))


SIZES = ("--n", "2", "--block_size", "2")


def select(root: Path, *flags: str) -> Any:
    """accepted.jsonl, ledger.jsonl and statistics.json."""
    folder = root / "selected" / ARM
    given = ["--prompts", f"{root}/prompts/train", "--input", f"{root}/scored/train/step-460/policy"]
    given += [*SIZES, "--output_dir", str(folder), *flags]
    SELECT.main(SELECT.flags().parse_args(given))
    rows = [list(jsonl.rows(folder / name)) for name in ("accepted.jsonl", "ledger.jsonl")]
    return *rows, jsonl.read_json(folder / "statistics.json")


def export(root: Path, *names: str) -> Path:
    folder = root / "training_data" / ARM
    given = ["--accepted", f"{root}/selected/{ARM}/accepted.jsonl", "--prompts", f"{root}/prompts/train"]
    given += ["--scored", f"{root}/scored/train/step-460/policy", *SIZES, "--output_dir", str(folder)]
    EXPORT.main(EXPORT.flags().parse_args([*given, *SCORERS, "--scorer", A, "--formats", *names]))
    return folder


def test_select_accounts_for_references_apart(run):
    kept, ledger, statistics = select(run, *PAIRS, INCLUDE)
    assert [(row["id"], row["role"]) for row in kept] == [
        ("a/reference", "chosen"), ("a/0", "rejected"), ("b/1", "chosen"), ("b/reference", "rejected"),
        ("c/1", "chosen"), ("c/0", "rejected"), ("d/1", "chosen"), ("d/0", "rejected"),
        ("f/1", "chosen"), ("f/0", "rejected"),
    ]  # fmt: skip
    told = [row for row in ledger if row.get("is_reference")]
    assert [(row["id"], row["outcome"], row["reason"]) for row in told] == [
        ("a/reference", "accepted", "best_worst, chosen"),
        ("b/reference", "accepted", "best_worst, rejected"),
        ("c/reference", "rejected", "not in the prompt's pair"),
        ("f/reference", "rejected", "has no value"),
    ]
    assert len(ledger) == 2 * len(PROMPTS) + 4
    counts = (
        "completions",
        "generated",
        "passed",
        "eligible",
        "accepted",
        "examples",
        "prompts_with_accepted",
    )
    assert [statistics[key] for key in counts] == [12, 10, 0, 8, 8, 5, 5]
    assert statistics["completion_tokens"] == 30
    assert statistics["references"] == {
        "candidates": 4, "without_reference": 1, "not_scored": 1, "with_value": 3, "eligible": 2,
        "accepted": 2,
        "outcomes": {
            "accepted: best_worst, chosen": 1, "accepted: best_worst, rejected": 1,
            "rejected: has no value": 1, "rejected: not in the prompt's pair": 1,
        },
    }  # fmt: skip


def test_without_the_flag_nothing_knows_of_references(run):
    kept, ledger, statistics = select(run, *PAIRS)
    assert not [row for row in kept + ledger if "is_reference" in row]
    assert "references" not in statistics
    assert len(ledger) == 2 * len(PROMPTS)


def test_a_random_subset_counts_examples_with_references(run):
    kept, _, statistics = select(run, *PAIRS, INCLUDE, "--num_examples", "2")
    assert (statistics["examples"], len(kept)) == (2, 4)
    accepted_in_all = statistics["accepted"] + statistics["references"]["accepted"]
    assert accepted_in_all == 4
    assert statistics["eligible"] + statistics["references"]["eligible"] == 10


def test_where_nothing_is_kept_references_are_told_apart(run, caplog):
    kept, _, statistics = select(run, *PAIRS, INCLUDE, "--min_margin", "99")
    assert (kept, statistics["examples"]) == ([], 0)
    told = {" ".join(line.split()) for line in caplog.text.splitlines()}
    assert {"no pair: margin below 99 10", "no pair: margin below 99 (references) 3"} <= told


def test_a_reference_alone_is_kept_and_exported(run, caplog):
    write_prompt = list(jsonl.rows(run / "prompts/train/00000-of-00001.jsonl"))[:1]
    write(run / "prompts/train/00000-of-00001.jsonl", write_prompt)
    block = run / "scored/train/step-460/policy/00000-of-00001.block-0.jsonl"
    write(block, list(jsonl.rows(block))[:2])
    kept, _, statistics = select(run, "--strategy", "best", "--scorer", A, INCLUDE)
    assert [row["id"] for row in kept] == ["a/reference"]
    assert (statistics["accepted"], statistics["examples"], statistics["yield"]) == (0, 1, 0.0)
    assert "nothing is kept" not in caplog.text
    folder = export(run, "messages")
    (row,) = jsonl.rows(folder / "messages.jsonl")
    assert row["messages"][-1] == {"role": "assistant", "content": "the very best answer"}


def test_the_training_data_holds_it_as_chosen_and_as_rejected(run):
    select(run, *PAIRS, INCLUDE)
    folder = export(run, *FORMATS, *ALL)
    rows = list(jsonl.rows(folder / "rejected_sampling_completions.jsonl"))
    assert [row["chosen"][-1]["content"] for row in rows] == [
        "the very best answer", "b says 1", "c says 1", "d says 1", "f says 1"
    ]  # fmt: skip
    assert rows[0]["reference_completion"] == rows[0]["chosen"][-1]["content"]
    assert (
        rows[0]["chosen_score"]
        == rows[0]["reference_completion_score"]
        == {A: 3.0, B: 3.0, "exact_answer": None}
    )
    assert rows[0]["rejected_score"][A] == 1.0
    assert rows[1]["rejected_score"] == rows[1]["reference_completion_score"]
    assert rows[1]["rejected"][-1]["content"] == "the very worst answer"
    pairs = list(jsonl.rows(folder / "preference.jsonl"))
    assert pairs[0]["chosen"] == [{"role": "assistant", "content": "the very best answer"}]
    assert pairs[1]["rejected"] == [{"role": "assistant", "content": "the very worst answer"}]
    assert len(list(jsonl.rows(folder / "completions.jsonl"))) == 2 * len(PROMPTS), "the drawn alone"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda row: row | {"text": "another"}, "not the reference that its prompt has now"),
        (
            lambda row: row | {"scores": {**row["scores"], A: row["scores"][A] | {"value": 9.0}}},
            "was scored 3.0",
        ),
        (lambda row: row | {"scores": {**row["scores"], B: row["scores"][B] | {"version": 0}}}, "version 0"),
        (lambda row: row | {"scores": {A: row["scores"][A]}}, "has not run on its prompt's completions"),
    ],
    ids=["text", "value", "version", "scorer"],
)
def test_a_reference_that_changed_leaves_no_file(run, fault, message):
    kept, _, _ = select(run, *PAIRS, INCLUDE)
    write(run / "selected" / ARM / "accepted.jsonl", [fault(kept[0]), *kept[1:]])
    with pytest.raises(UserError, match=message):
        export(run, "open_instruct")
    assert not list((run / "training_data").rglob("*.jsonl"))


def test_a_reference_is_traced_as_what_nobody_drew(run, capsys):
    select(run, *PAIRS, INCLUDE)
    folder = export(run, "open_instruct", "preference")

    def told(*flags: str) -> str:
        TRACE.main(TRACE.flags().parse_args(["--results", str(run), *flags]))
        return capsys.readouterr().out

    row = told("--file", f"{folder}/preference.jsonl", "--row", "1")
    assert row.count("completion  ") == 2
    for expected in (
        "completion  a/reference ",
        "accepted: best_worst, chosen",
        "the chosen of pair 0, with a/0",
        "not drawn   it is the reference of its prompt",
        "reward_model/a: 3.0",
        f"{run}/scored/train/step-460/policy/00000-of-00001.block-0.jsonl, line 1",
        "| the very best answer",
        f"example     {folder}/preference.jsonl, line 1",
        f"example     {folder}/rejected_sampling_completions.jsonl, line 1",
    ):
        assert expected in row, expected
    lost = told("c/reference")
    assert "rejected: not in the prompt's pair" in lost
    assert "| between the two" in lost
    assert "kept in" not in lost
    assert "drawn by" not in lost
    found = json.loads(told("a/reference", "--json"))
    assert (found["completion"], found["models"], found["partner"]) == (None, [], "a/0")
    assert found["reference"]["row"]["id"] == "a/0"


def test_what_is_published_counts_completions_and_references_apart(run):
    select(run, *PAIRS, INCLUDE)
    folder = run / "selected" / ARM
    found, told = accepted.count(folder / "accepted.jsonl"), totals.read_totals(folder / "statistics.json")
    assert (found.completions, found.references, found.pairs, found.models) == (8, 2, 5, ("m" * 64,))
    accepted.check_totals(folder / "accepted.jsonl", found, told)
    totals.check_ledger(folder / "ledger.jsonl", told)
    data = export(run, "open_instruct", "messages")
    for name in ("open_instruct", "messages"):
        fmt = find(name)
        exported_rows.verify(data / fmt.filename, fmt, folder / "accepted.jsonl", found, told["completions"])
    arm = SimpleNamespace(arm=Arm("460", "policy", 2), totals=told)
    text = "\n".join(card._ledger(SimpleNamespace(arms=[arm])))
    assert "4 reference completions of the data set were candidates" in text
    assert "2 of them stand behind rows" in text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda told: told["references"].update(accepted=3), "3 accepted references"),
        (lambda told: told["references"].update(candidates=5), "outcomes of 4 references"),
        (lambda told: told["references"].update(not_scored=0), "5 prompts with and without a reference"),
        (lambda told: told["references"].update(eligible=9), "9 eligible references"),
        (
            lambda told: told["references"].update(without_reference=None),
            "'references: without_reference' is None",
        ),
        (lambda told: told["references"].pop("outcomes"), "'references' without outcomes"),
        (lambda told: told.pop("references"), "references"),
    ],
)
def test_totals_of_references_that_do_not_add_up_are_not_published(run, edit, message):
    select(run, *PAIRS, INCLUDE)
    folder = run / "selected" / ARM
    told = jsonl.read_json(folder / "statistics.json")
    edit(told)
    jsonl.write_json(folder / "statistics.json", told)
    with pytest.raises(UserError, match=message):
        known = totals.read_totals(folder / "statistics.json")
        totals.check_ledger(folder / "ledger.jsonl", known)
        accepted.check_totals(folder / "accepted.jsonl", accepted.count(folder / "accepted.jsonl"), known)


def test_references_that_no_reward_model_scored_are_refused(run):
    block = run / "scored/train/step-460/policy/00000-of-00001.block-0.jsonl"
    rows = [
        {key: value for key, value in row.items() if key != "reference_scores"} for row in jsonl.rows(block)
    ]
    write(block, rows)
    with pytest.raises(UserError, match="reference of its prompt was not scored"):
        select(run, *PAIRS, INCLUDE)
    assert not (run / "selected" / ARM / "accepted.jsonl").exists()
