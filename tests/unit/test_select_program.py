"""select.py as a program: pairs in its files, the random subset, filters by files, nothing kept."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from scored_rows import row, score

from winnow import jsonl
from winnow.errors import UserError
from winnow.selection.nothing_kept import require_accepted

ROOT = Path(__file__).parents[2]
N, PROMPTS = 4, 30


def program(name: str) -> Any:
    # The script puts the checkout first on the path; a test leaves the path as it was.
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location(f"program_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


SELECT = program("select")


@pytest.fixture
def stored(tmp_path):
    """Thirty prompts of four completions whose errors are 1, 2, 0 and none."""
    prompts, rows = [], []
    for i in range(PROMPTS):
        name = f"p{i:02d}"
        messages = [{"role": "user", "content": f"Question number {i}?"}]
        prompts.append({"id": name, "messages": messages, "metadata": {}})
        for sample, value in enumerate([1.0, 2.0, 0.0, None]):
            scores = {"numeric_error": score(value, value == 0.0), "exact_answer": score(float(value == 0.0))}
            rows.append(row(sample, f"{name} says {sample}", prompt=name, scores=scores))
    (tmp_path / "prompts.jsonl").write_bytes(b"".join(map(jsonl.dumps, prompts)))
    (tmp_path / "scored.jsonl").write_bytes(b"".join(map(jsonl.dumps, rows)))
    return tmp_path


def select(folder: Path, *flags: str) -> tuple[list, list, dict]:
    """accepted.jsonl, ledger.jsonl and statistics.json."""
    given = ["--prompts", f"{folder}/prompts.jsonl", "--input", f"{folder}/scored.jsonl", "--n", str(N)]
    out = folder / "out"
    SELECT.main(SELECT.flags().parse_args([*given, "--block_size", str(N), "--output_dir", str(out), *flags]))
    rows = [list(jsonl.rows(out / name)) for name in ("accepted.jsonl", "ledger.jsonl")]
    assert not [path for path in out.iterdir() if path.suffix not in (".jsonl", ".json", ".txt", ".html")]
    return rows[0], rows[1], jsonl.read_json(out / "statistics.json")


PAIRS = ("--strategy", "best_worst", "--scorer", "numeric_error")


def test_pairs_stand_side_by_side_and_the_ledger_has_their_roles(stored):
    accepted, ledger, statistics = select(stored, *PAIRS)
    assert len(accepted) == 2 * PROMPTS
    for chosen, refused in zip(accepted[::2], accepted[1::2], strict=True):
        assert chosen["prompt_id"] == refused["prompt_id"]
        assert (chosen["pair"], chosen["role"], chosen["sample"]) == (0, "chosen", 2)
        assert (refused["pair"], refused["role"], refused["sample"]) == (0, "rejected", 1)
    assert len(ledger) == N * PROMPTS
    assert ledger[2] == {
        "id": "p00/2", "stage": "select", "outcome": "accepted", "reason": "best_worst, chosen",
        "pair": 0, "role": "chosen",
    }  # fmt: skip
    assert "pair" not in ledger[0]
    assert (statistics["accepted"], statistics["examples"], statistics["eligible"]) == (60, 30, 60)
    assert "examples                       30   a pair is one" in (stored / "out/statistics.txt").read_text()


def test_the_random_subset_counts_pairs_and_keeps_both_members(stored, caplog):
    accepted, ledger, statistics = select(stored, *PAIRS, "--num_examples", "7")
    assert (statistics["examples"], statistics["accepted"], statistics["eligible"]) == (7, 14, 60)
    assert [each["role"] for each in accepted] == ["chosen", "rejected"] * 7
    assert all(a["prompt_id"] == b["prompt_id"] for a, b in zip(accepted[::2], accepted[1::2], strict=True))
    assert statistics["outcomes"]["rejected: over num_examples = 7"] == 46
    assert len(ledger) == N * PROMPTS
    assert "only" not in caplog.text
    other = select(stored, *PAIRS, "--num_examples", "7", "--seed", "1")[0]
    assert {each["id"] for each in other} != {each["id"] for each in accepted}
    select(stored, *PAIRS, "--num_examples", "31")
    assert "only 30 of the 31 examples" in caplog.text


def test_the_subset_is_the_same_however_it_was_decided(stored):
    whole = {each["id"] for each in select(stored)[0]}
    part = {
        each["id"] for each in select(stored, "--num_examples", "9", "--near_duplicates_across", "0.9")[0]
    }
    assert len(part) == 9
    assert part < whole


def test_test_sets_from_files_name_their_record(stored):
    (stored / "test.txt").write_text("nothing here\nQuestion number 3?\n")
    (stored / "more.txt").write_text("Question number 5?\n")
    sets = (f"quiz={stored}/test.txt", f"quiz={stored}/more.txt")
    accepted, ledger, _ = select(stored, "--decontaminate", *sets)
    assert {each["prompt_id"] for each in accepted} == {f"p{i:02d}" for i in range(PROMPTS)} - {"p03", "p05"}
    found = [each for each in ledger if each["reason"] == "prompt stands in quiz"]
    assert len(found) == 2 * N
    assert found[0]["detail"] == f"{stored}/test.txt, line 2"
    assert found[N]["detail"] == f"{stored}/more.txt, line 1"
    with pytest.raises(UserError, match="name=file"):
        select(stored, "--decontaminate", "quiz")


def test_nothing_kept_ends_well_and_names_what_took_how_many(stored, caplog):
    caplog.set_level(logging.WARNING)
    accepted, ledger, statistics = select(stored, "--min_tokens", "6", "--num_examples", "3")
    assert (accepted, len(ledger), statistics["accepted"]) == ([], N * PROMPTS, 0)
    assert "nothing is kept" in caplog.text
    assert "under min_tokens = 6        120" in caplog.text
    with pytest.raises(UserError) as error:
        require_accepted(stored / "out/accepted.jsonl")
    assert "under min_tokens = 6        120" in str(error.value)
    assert "loosen the filter" in error.value.mend
    with pytest.raises(UserError, match="the selection kept nothing"):
        export = program("export")
        given = ["--accepted", f"{stored}/out/accepted.jsonl", "--prompts", f"{stored}/prompts.jsonl"]
        export.main(export.flags().parse_args([*given, "--output_dir", f"{stored}/training_data"]))
    assert not (stored / "training_data").exists()


def test_drift_without_unhinted_completions_is_said_to_be_skipped(stored, caplog):
    messages = [{"role": "user", "content": "Question?"}]
    teacher = [{"role": "user", "content": "Question? It is known to be seven and a half."}]
    hinted = {"id": "p00", "messages": messages, "teacher_messages": teacher, "metadata": {}}
    (stored / "prompts.jsonl").write_bytes(jsonl.dumps(hinted))
    rows = [each | {"alpha": "teacher"} for each in list(jsonl.rows(stored / "scored.jsonl"))[:N]]
    (stored / "scored.jsonl").write_bytes(b"".join(map(jsonl.dumps, rows)))
    _, _, statistics = select(stored, "--max_length_drift", "2")
    assert "no drift is known" in caplog.text
    assert statistics["leaks"]["drift"] is None
    caplog.clear()
    _, _, statistics = select(stored, "--max_length_drift", "2", "--unhinted", f"{stored}/scored.jsonl")
    assert "no drift is known" not in caplog.text
    assert statistics["leaks"]["drift"]["length_ratio"] == 1.0
