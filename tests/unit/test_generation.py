"""The generate stage around the engine: what is missing is drawn, and the files come last."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from direct import ask, sampler

from winnow import jsonl
from winnow.errors import UserError
from winnow.generation import Block, Terms, completions, finish, generate
from winnow.journal import Journal
from winnow.records import Completion, completion_seed

PROMPTS = [ask("ab", "d", "p0"), ask("a" * 80, "d", "long"), ask("c", "bb", "p1")]


def block(samples=range(2), seed=17, prompts=PROMPTS):
    return Block(prompts, samples, seed, "260", "kl_symmetry", "hash", "other")


def run(output, source, drawn=block(), **options):  # noqa: B008 (frozen)
    with Journal(output, drawn.parameters()) as journal:
        terms = Terms(**{"batch_size": 4, **options})
        generate(drawn, journal, lambda missing: completions(drawn, missing, source, terms))
        finish(drawn, journal, output, output.with_suffix(".diagnostics.jsonl"))
    return list(jsonl.rows(output))


@pytest.fixture
def source(student, teacher):
    return sampler(student, teacher, "kl_symmetry", 8)


def test_each_prompt_and_sample_has_its_row_in_order(tmp_path, source):
    rows = run(tmp_path / "out.jsonl", source, keep_ids=True)
    assert [row["id"] for row in rows] == [f"{p}/{s}" for p in ("p0", "long", "p1") for s in range(2)]
    for row in rows:
        completion = Completion.from_row(row, "here")
        assert completion.seed == completion_seed(17, completion.prompt_id, completion.sample)
        assert (completion.step, completion.alpha, completion.model, completion.teacher) == (
            "260", "kl_symmetry", "hash", "other"
        )  # fmt: skip
        assert completion.completion_tokens == len(completion.token_ids or [])
    assert [row["finish_reason"] for row in rows[2:4]] == ["prompt_too_long"] * 2
    assert "context" in rows[2]["detail"]
    assert {row["prompt_tokens"] for row in rows if row["prompt_id"] == "p0"} == {4}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.diagnostics.jsonl", "out.jsonl"]


def test_log_probabilities_are_kept_where_they_are_asked_for(tmp_path, source):
    plain = run(tmp_path / "plain.jsonl", source)
    kept = run(tmp_path / "kept.jsonl", source, keep_logprobs=True)
    assert not any("logprobs" in row for row in plain)
    assert [len(row.pop("logprobs", [])) for row in kept] == [row["completion_tokens"] for row in plain]
    assert kept == plain


def test_diagnostics_go_with_what_was_drawn(tmp_path, source):
    rows = {row["id"]: row for row in run(tmp_path / "out.jsonl", source)}
    found = list(jsonl.rows(tmp_path / "out.diagnostics.jsonl"))
    assert [row["id"] for row in found] == ["p0/0", "p0/1", "p1/0", "p1/1"]
    assert [row["tokens"] for row in found] == [rows[row["id"]]["completion_tokens"] for row in found]


def breaks(source, monkeypatch, *broken):
    """The model gives NaN for these completions."""
    draw, nothing = source.draw, {"token_ids": [], "logprobs": [], "metrics": None}

    def draw_some(rows, slots):
        for drawn in draw(rows, slots):
            fails = drawn.row.id in broken
            failed = {"finish_reason": "failed", "detail": "teacher/ gave NaN", **nothing}
            yield replace(drawn, **failed) if fails else drawn

    monkeypatch.setattr(source, "draw", draw_some)


def test_a_model_that_gives_nan_too_often_ends_the_job_after_the_others(tmp_path, source, monkeypatch):
    output = tmp_path / "out.jsonl"
    expected = run(tmp_path / "whole.jsonl", source)
    with monkeypatch.context() as patch:
        breaks(source, patch, "p0/0", "p1/1")
        with pytest.raises(UserError, match="teacher/ gave NaN; 2 of 4") as error:
            run(output, source, max_failed_fraction=0.2)
    assert error.value.where in ("completion p0/0", "completion p1/1")
    with Journal(output, block().parameters()) as journal:
        assert not {"p0/0", "p1/1"} & {each for each in ("p0/0", "p0/1", "p1/0", "p1/1") if each in journal}
        assert len(journal) == 4
    # Nothing was lost, and what failed is drawn again.
    assert run(output, source) == expected


def test_a_few_that_fail_are_in_the_ledger(tmp_path, source, monkeypatch):
    breaks(source, monkeypatch, "p1/0")
    rows = {row["id"]: row for row in run(tmp_path / "out.jsonl", source, max_failed_fraction=0.2)}
    assert (rows["p1/0"]["finish_reason"], rows["p1/0"]["detail"]) == ("failed", "teacher/ gave NaN")
    assert len(rows) == 6


@pytest.mark.parametrize("finished", [0, 1, 4, 6])
def test_an_interrupted_block_goes_on_to_the_same_texts(tmp_path, source, finished, caplog):
    undisturbed = run(tmp_path / "a.jsonl", source)

    class Killed(Exception):
        pass

    class Journal1(Journal):
        def append(self, item, entry):
            if len(self) == finished:
                raise Killed
            super().append(item, entry)

    output = tmp_path / "b.jsonl"
    if finished < 6:
        with pytest.raises(Killed), Journal1(output, block().parameters()) as journal:
            generate(block(), journal, lambda missing: completions(block(), missing, source, Terms(3)))
    else:
        with Journal(output, block().parameters()) as journal:
            generate(block(), journal, lambda missing: completions(block(), missing, source, Terms(3)))
    assert not output.exists()
    with caplog.at_level(logging.INFO):
        rows = run(output, source if finished < 6 else None, batch_size=1)
    assert rows == undisturbed
    assert (
        output.with_suffix(".diagnostics.jsonl").read_bytes()
        == (tmp_path / "a.diagnostics.jsonl").read_bytes()
    )
    assert (f"resumed {finished} of 6 completions" in caplog.text) == (finished > 0)


def test_blocks_and_shards_change_nothing(tmp_path, source):
    whole = {row["id"]: row for row in run(tmp_path / "a.jsonl", source, block(range(4)))}
    second = run(tmp_path / "b.jsonl", source, block(range(2, 4)))
    shard = run(tmp_path / "c.jsonl", source, block(range(4), prompts=PROMPTS[2:]))
    assert all(whole[row["id"]] == row for row in [*second, *shard])
    assert {row["sample"] for row in second} == {2, 3}
    other = run(tmp_path / "d.jsonl", source, block(seed=18))
    assert [row["text"] for row in other] != [whole[row["id"]]["text"] for row in other]


def test_parameters_tell_blocks_apart():
    first = block().parameters()
    assert first == block().parameters()
    for other in (
        block(range(2, 4)),
        block(seed=1),
        block(prompts=PROMPTS[:2]),
        block(prompts=PROMPTS[::-1]),
    ):
        assert other.parameters() != first
    assert block().parameters(top_k=3)["top_k"] == 3
