"""trace.py: from a training example, or any completion, back to every record it was made of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import orjson
import pytest
from scored_rows import row, score

from winnow import jsonl
from winnow.errors import UserError

ROOT = Path(__file__).parents[2]
ARM = "step-460/policy/n-2"


def write(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(jsonl.dumps, rows)))
    return path


@pytest.fixture
def run(tmp_path):
    """A run of two prompts of which the first gave a pair; its two blocks hold a sample each."""
    root = tmp_path / "results/x"
    prompts = [
        {"id": name, "messages": [{"role": "user", "content": f"Question {name}?"}], "metadata": {}}
        for name in ("a", "b")
    ]
    prompts[0]["teacher_messages"] = [{"role": "user", "content": "Question a? It is seven."}]
    write(root / "prompts/train/00000-of-00001.jsonl", prompts)
    drawn = {
        sample: [
            row(
                sample,
                prompt=name,
                seed=100 + sample,
                step="460",
                alpha="policy",
                model="hash1",
                prompt_tokens=3,
            )
            for name in ("a", "b")
        ]
        for sample in (0, 1)
    }
    for sample, rows in drawn.items():
        for stage in ("completions", "scored"):
            more = (
                {"scores": {"exact_answer": score(float(sample == 0), detail="7")}}
                if stage == "scored"
                else {}
            )
            folder = root / stage / "train/step-460/policy"
            write(folder / f"00000-of-00001.block-{sample}.jsonl", [each | more for each in rows])
        (folder / "00000-of-00001.block-0.diagnostics.jsonl").write_bytes(b'{"id":"a/0"}\n')
    jsonl.write_json(root / "models/policy-460/manifest.json", {"model": "hash1"})
    pair = [
        drawn[i][0] | {"scores": {}, "pair": 0, "role": role} for i, role in ((0, "chosen"), (1, "rejected"))
    ]
    write(root / "selected" / ARM / "accepted.jsonl", pair)
    pairs = [
        {"id": f"a/{i}", "outcome": "accepted", "reason": f"best_worst, {role}", "pair": 0, "role": role}
        for i, role in ((0, "chosen"), (1, "rejected"))
    ]
    near = {"reason": "near-duplicate of another prompt's", "detail": "of a/0"}
    lost = [
        {"id": "b/0", "outcome": "rejected", **near},
        {"id": "b/1", "outcome": "rejected", "reason": "its pair's chosen was rejected"},
    ]
    entries = [{"stage": "select", **each} for each in (*pairs, *lost)]
    write(root / "selected" / ARM / "ledger.jsonl", entries)
    said = [{"messages": [*prompts[0]["messages"], {"role": "assistant", "content": "text 0"}]}]
    write(root / "training_data" / ARM / "messages.jsonl", said)
    listed = {
        "conversations": [{"from": "human", "value": "Question a?"}, {"from": "gpt", "value": "text 0"}]
    }
    (root / "training_data" / ARM / "sharegpt.json").write_bytes(b"[\n" + orjson.dumps(listed) + b"\n]\n")
    return root


@pytest.fixture
def told(run, capsys):
    """A function: flags → what trace.py prints."""
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("program_trace", ROOT / "scripts/trace.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before

    def call(*flags: str) -> str:
        module.main(module.flags().parse_args(["--results", str(run), *flags]))
        return capsys.readouterr().out

    return call


def test_an_accepted_one_is_walked_back_to_all_its_records(told, run):
    found = told("a/0")
    for expected in (
        "accepted: best_worst, chosen",
        f"{run}/selected/{ARM}/ledger.jsonl, line 1",
        "the chosen of pair 0, with a/1",
        "exact_answer: 1.0, passed; '7' (version 1)",
        f"{run}/scored/train/step-460/policy/00000-of-00001.block-0.jsonl, line 1",
        f"{run}/completions/train/step-460/policy/00000-of-00001.block-0.jsonl, line 1",
        "seed: 100",
        "sample: 0",
        f"drawn by: hash1   {run}/models/policy-460/manifest.json",
        "| text 0",
        f"{run}/prompts/train/00000-of-00001.jsonl, line 1",
        "teacher, user:",
        "| Question a? It is seven.",
        f"kept in     {run}/selected/{ARM}/accepted.jsonl, line 1",
        f"example     {run}/training_data/{ARM}/messages.jsonl, line 1",
        f"example     {run}/training_data/{ARM}/sharegpt.json, line 2",
    ):
        assert expected in found, expected
    assert "with a/0" in told("a/1")


def test_a_rejected_one_says_why(told):
    found = told("b/0", "--step", "460", "--alpha", "policy", "--n", "2")
    assert "rejected: near-duplicate of another prompt's" in found
    assert "detail: of a/0" in found
    assert "kept in" not in found


@pytest.mark.parametrize(("name", "line"), [("messages.jsonl", "1"), ("sharegpt.json", "2")])
def test_a_row_of_training_data_is_enough(told, run, name, line):
    found = told("--file", f"{run}/training_data/{ARM}/{name}", "--line", line)
    assert found.startswith("completion  a/0 ")
    assert found.count("completion  ") == 1


def test_json_holds_the_records(told, run):
    found = orjson.loads(told("a/0", "--json"))
    assert found["completion"]["row"]["seed"] == 100
    assert found["models"] == [
        {"role": "model", "hash": "hash1", "manifest": f"{run}/models/policy-460/manifest.json"}
    ]
    assert [each["line"] for each in found["examples"]] == [1, 2]


def test_what_is_gone_is_said(told, run):
    for path in run.glob("completions/train/*/*/*.jsonl"):
        path.unlink()
    (run / "models/policy-460/manifest.json").unlink()
    found = told("a/0")
    assert "no manifest of this run has this hash" in found
    assert "seed: 100" in found, "the scored row has it too"
    for path in run.glob("scored/train/*/*/*.jsonl"):
        path.unlink()
    assert "its file is not there any more" in told("b/1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["a/3"], r"no ledger has it \(near it: a/"),
        (["a/0", "--n", "9"], "no selected arm that is asked for.*it has step-460/policy/n-2"),
        ([], "the id of a completion, or --file and --line"),
        (["a/0", "--line", "3"], "give one of the two"),
        (["--file", "{run}/training_data/none.jsonl", "--line", "1"], "cannot be read"),
        (["--file", "{run}/training_data/" + ARM + "/messages.jsonl", "--line", "7"], "no such line"),
        (["--file", "{run}/training_data/" + ARM + "/sharegpt.json", "--line", "1"], "a bracket of the list"),
        (
            ["--file", "{run}/prompts/train/00000-of-00001.jsonl", "--line", "2"],
            "no completion of .* reads like this row",
        ),
    ],
)
def test_what_cannot_be_traced_is_named(told, run, flags, message):
    with pytest.raises(UserError, match=message):
        told(*(flag.replace("{run}", str(run)) for flag in flags))


def test_a_folder_that_is_no_run(told, tmp_path):
    with pytest.raises(UserError, match="the folder of a run"):
        told("a/0", "--results", str(tmp_path))
