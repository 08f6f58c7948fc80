"""Several blocks in one job: one source for all of them, a file for each."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from winnow.drawing import Work, draw_all, journals, outputs
from winnow.errors import UserError
from winnow.generation import Block
from winnow.journal import Journal
from winnow.records import Completion, Prompt
from winnow.verdicts import Verdicts

PROMPTS = [Prompt(f"p{i}", [{"role": "user", "content": "?"}], reference="5") for i in range(3)]


def work(folder: Path, number: int) -> Work:
    block = Block(PROMPTS, range(2 * number, 2 * number + 2), 7, "1", "policy", "hash", None)
    return Work(block, folder / f"block-{number}.jsonl", None, block.parameters())


class Counted:
    def __init__(self) -> None:
        self.blocks: list[list[str]] = []

    def draw(self, block: Block, missing: list) -> object:
        self.blocks.append([each.id for each in missing])
        for each in missing:
            yield completion(each.id, "<answer>5</answer>"), None


def completion(id: str, text: str, reason: str = "stop") -> Completion:
    prompt, sample = id.split("/")
    return Completion(id, prompt, int(sample), 1, text, reason, 3, 2, "1", "policy", "hash")


def test_what_an_earlier_attempt_has_finished_is_not_drawn_again(tmp_path: Path) -> None:
    first, second = work(tmp_path, 0), work(tmp_path, 1)
    with Journal(second.output, second.header) as journal:
        journal.append("p0/2", {"completion": completion("p0/2", "kept").to_row(), "diagnostics": None})
    source, seen = Counted(), []
    with journals([second, first], lambda entry, new: seen.append(new)) as found:
        draw_all(found, source, None)
    assert source.blocks == [
        ["p0/0", "p0/1", "p1/0", "p1/1", "p2/0", "p2/1"],
        ["p0/3", "p1/2", "p1/3", "p2/2", "p2/3"],
    ]
    assert sorted(seen) == [False] + [True] * 11
    rows = [orjson.loads(line) for line in second.output.read_bytes().splitlines()]
    assert [row["id"] for row in rows] == ["p0/2", "p0/3", "p1/2", "p1/3", "p2/2", "p2/3"]
    assert rows[0]["text"] == "kept"
    assert not list(tmp_path.glob("*.partial"))


class Breaking(Counted):
    def draw(self, block: Block, missing: list) -> object:
        if self.blocks:
            raise RuntimeError("the second block")
        yield from super().draw(block, missing)


def test_finished_blocks_are_not_drawn_again_when_a_later_one_fails(tmp_path: Path) -> None:
    works = [work(tmp_path, 0), work(tmp_path, 1)]
    with (
        pytest.raises(RuntimeError, match="the second block"),
        journals(works, lambda entry, new: None) as found,
    ):
        draw_all(found, Breaking(), None)
    before = works[0].output.read_bytes()
    source = Counted()
    with journals(works, lambda entry, new: None) as found:
        draw_all(found, source, None)
    assert [len(each) for each in source.blocks] == [6]
    assert works[0].output.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_several_blocks_need_several_names() -> None:
    assert outputs(Path("a/out.jsonl"), [3]) == [Path("a/out.jsonl")]
    assert outputs(Path("a/b-{block}.jsonl"), [3, 1]) == [Path("a/b-3.jsonl"), Path("a/b-1.jsonl")]
    with pytest.raises(UserError, match="for 2 blocks") as error:
        outputs(Path("a/out.jsonl"), [0, 1])
    assert "out.block-{block}.jsonl" in error.value.mend
    with pytest.raises(UserError, match="each block once"):
        outputs(Path("b-{block}.jsonl"), [1, 1])


def test_verdicts_are_told_and_never_end_a_job() -> None:
    verdicts = Verdicts('numeric_error={"tolerance": 1}')
    assert str(verdicts) == ""
    for text in ("<answer>5</answer>", "<answer>8</answer>", "no idea"):
        verdicts.add(completion("p0/0", text), "5")
    verdicts.add(completion("p0/0", "", "failed"), "5")
    assert str(verdicts) == "33.3 % passed, mean error 1.5, 1 not drawn"
    exact = Verdicts("exact_answer")
    exact.add(completion("p0/0", "<answer>5</answer>"), "5")
    assert str(exact) == "100.0 % passed"
    with pytest.raises(UserError, match="unknown"):
        Verdicts("exact_anser")
