"""Decontamination: what shares a run of words with a test set, and which record it is."""

from __future__ import annotations

import json

import pyarrow
import pytest
from pyarrow import parquet

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import Prompt
from winnow.selection.contamination import Decontamination, read_test_set

SOLD = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


@pytest.fixture
def against(tmp_path):
    """A function: rows or lines → what is kept clear of them."""

    def make(*rows, n=13, name="test.jsonl"):
        path = tmp_path / name
        lines = [jsonl.dumps(each) if isinstance(each, dict) else f"{each}\n".encode() for each in rows]
        path.write_bytes(b"".join(lines))
        return Decontamination([read_test_set("gsm", [path], n)], n)

    return make


def prompt(content, system="You solve problems.", **metadata):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    return Prompt("p", messages, metadata=metadata)


def test_a_shared_run_is_found_in_prompt_and_completion_and_its_record_told(against):
    tests = against({"question": "short one", "answer": "1"}, {"question": SOLD, "answer": "72"})
    copied = "So: NATALIA sold clips to 48 of her friends in april -- and then she, as you know, left."
    found = tests.of_prompt(prompt(copied))
    assert found.reason == "prompt shares 13 words with gsm"
    assert found.detail.endswith(
        "test.jsonl, line 2: 'natalia sold clips to 48 of her friends in april and then she'"
    )
    assert tests.of_completion(copied).reason == "completion shares 13 words with gsm"
    assert tests.of_completion("Natalia sold clips to 48 of her friends in April, and before") is None


def test_twelve_words_are_not_thirteen(against):
    tests = against({"question": "a b c d e f g h i j k l m n"})
    assert tests.of_completion("x a b c d e f g h i j k l x") is None
    assert tests.of_completion("x a b c d e f g h i j k l m x") is not None


def test_short_texts_count_as_wholes_and_in_prompts_alone(against):
    tests = against({"question": "What is 3 + 4?", "answer": "7"})
    found = tests.of_prompt(prompt("what is 3+4"))
    assert (found.reason, found.detail.rpartition("/")[2]) == ("prompt stands in gsm", "test.jsonl, line 1")
    assert tests.of_prompt(prompt("What is 3 + 4 + 5?")) is None
    assert tests.of_completion("7") is None
    assert tests.of_completion("What is 3 + 4?") is None


@pytest.mark.parametrize("stored", ["What is 3+4?", "3 + 4"])
def test_a_short_prompt_is_known_with_its_template_and_without(against, stored):
    tests = against({"question": stored})
    assert tests.of_prompt(prompt("What is 3+4?", problem="3+4", answer="7")) is not None
    assert tests.of_prompt(prompt("What is 3+5?", problem="3+5", answer="7")) is None


TEMPLATE = "Solve the following problem step by step and put your final answer in a box at the end: "


def test_a_template_that_all_share_is_no_contamination(against):
    rows = [{"question": f"{TEMPLATE} {' '.join(f'q{i}w{j}' for j in range(20))}"} for i in range(30)]
    tests = against(*rows)
    assert tests.of_prompt(prompt(TEMPLATE + "something quite new")) is None
    assert tests.of_prompt(prompt(rows[3]["question"])) is not None


def test_of_the_runs_own_prompts_the_data_sets_text_counts(against):
    held = prompt(TEMPLATE + "Ann has one apple.", problem="Ann has one apple.", answer="1")
    tests = against(held.to_row())
    assert tests.of_prompt(prompt(TEMPLATE + "Bob has two pears.", problem="Bob has two pears.")) is None
    found = tests.of_prompt(prompt(TEMPLATE + "Ann has one apple!", problem="Ann has one apple!"))
    assert found.reason == "prompt stands in gsm"


def test_systems_prompts_are_not_asked(against):
    tests = against({"question": SOLD})
    assert tests.of_prompt(prompt("Hello", system=SOLD)) is None


def test_text_files_and_scripts_without_spaces(against):
    tests = against(SOLD, "", "小明有三个苹果他给了小红一个还剩几个", name="set.txt")
    assert tests.of_completion(SOLD).detail.partition(":")[0].endswith("set.txt, line 1")
    found = tests.of_completion("题目:小明有三个苹果,他给了小红一个,还剩几个?")
    assert found.detail.partition(":")[0].endswith("set.txt, line 3")


def test_every_kind_of_rows_is_the_same_test_set(tmp_path):
    rows = [
        {"prompt": "short", "answer": 4, "path1": "a.png", "more": None},
        {"prompt": SOLD, "answer": None, "path1": "b.png", "more": [{"deep": "Another text of the row."}]},
    ]
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "objects.json").write_text("\n\n".join(map(json.dumps, rows)))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "table.parquet")
    places = {
        "list.json": "row 1",
        "objects.json": "row 1",
        "lines.jsonl": "line 2",
        "table.parquet": "row 1",
    }
    known = read_test_set("s", [tmp_path / "lines.jsonl"], 13)
    for name, place in places.items():
        found = read_test_set("s", [tmp_path / name], 13)
        assert found.hashes.tolist() == known.hashes.tolist() and found.short.tolist() == known.short.tolist()
        told = Decontamination([found], 13).of_completion(SOLD).detail
        assert told.startswith(f"{tmp_path / name}, {place}: ")
    # Of a set of several files, each by its own count.
    both = read_test_set("s", [tmp_path / "table.parquet", tmp_path / "list.json"], 13)
    assert [both.place(each) for each in range(4)] == [
        f"{tmp_path / name}, row {row}" for name in ("table.parquet", "list.json") for row in (0, 1)
    ]


def test_files_of_one_set_are_told_apart(tmp_path):
    for name, text in (("a.txt", "one\ntwo\n"), ("b.txt", f"three\n{SOLD}\n")):
        (tmp_path / name).write_text(text)
    tests = Decontamination([read_test_set("s", [tmp_path / "a.txt", tmp_path / "b.txt"], 13)], 13)
    assert "b.txt, line 2: " in tests.of_completion(SOLD).detail


def test_sets_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_test_set("s", [tmp_path / "none.txt"], 13)
    with pytest.raises(UserError, match="no such file"):
        read_test_set("s", [tmp_path / "none.jsonl"], 13)
    for name, words in (("none.json", "no such file"), ("none.parquet", "cannot be read")):
        with pytest.raises(UserError, match=words):
            read_test_set("s", [tmp_path / name], 13)
    (tmp_path / "torn.json").write_text('[{"a": "b"}')
    with pytest.raises(UserError, match="cut off"):
        read_test_set("s", [tmp_path / "torn.json"], 13)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="no records"):
        read_test_set("s", [tmp_path / "empty.txt"], 13)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_test_set("s", [tmp_path / "binary.txt"], 13)
