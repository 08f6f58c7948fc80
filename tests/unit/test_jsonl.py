"""JSON lines: errors that name the line, outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl
from winnow.errors import UserError, closest

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
objects = st.lists(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), scalars), max_size=5)


@given(objects)
def test_what_is_written_is_read(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    with jsonl.writer(path) as write:
        for value in values:
            write(value)
    assert list(jsonl.rows(path)) == values
    assert [number for number, _ in jsonl.numbered(path)] == list(range(1, len(values) + 1))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"a": 1', "a torn line"),
        (b"hello\n", "not JSON"),
        (b"\n", "not JSON"),
        (b'{"a": "\xff"}\n', "not JSON"),
        (b"[1, 2]\n", "a JSON list"),
        (b"3\n", "a JSON int"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, found):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 0}\n{"a": 1}\n' + line)
    rows = jsonl.rows(path)
    assert [next(rows), next(rows)] == [{"a": 0}, {"a": 1}]
    with pytest.raises(UserError) as error:
        next(rows)
    assert error.value.where == f"{path}, line 3"
    assert error.value.found.startswith(found)
    assert "object" in error.value.expected
    assert error.value.mend


def test_a_whole_last_line_needs_no_newline(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": 0}\n{"a": 1}')
    assert list(jsonl.rows(tmp_path / "rows.jsonl")) == [{"a": 0}, {"a": 1}]


@pytest.mark.parametrize("read", [lambda path: list(jsonl.rows(path)), jsonl.read_json])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(UserError, match=r"gone\.json.*no such file"):
        read(tmp_path / "gone.json")


def test_a_broken_document_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not JSON"):
        jsonl.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("before", [None, "old"])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "rows.jsonl"
    if before:
        path.write_text(before)
    with pytest.raises(RuntimeError), jsonl.writer(path) as write:
        write({"a": 1})
        assert path.exists() == bool(before), "nothing under the final name yet"
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == (["rows.jsonl"] if before else [])
    assert not before or path.read_text() == before


def test_a_writer_replaces_what_was_there(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    for number in range(2):
        with jsonl.writer(path) as write:
            write({"a": number})
    assert list(jsonl.rows(path)) == [{"a": 1}]
    assert [p.name for p in path.parent.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, code):
    def full(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "rows.jsonl"
    with pytest.raises(UserError) as error, jsonl.writer(path) as write:
        write({"a": 1})
    assert str(error.value).startswith(f"{path}: the disk is full")
    assert "free space" in error.value.mend
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_forbidden_path_is_told(tmp_path, monkeypatch, code):
    with pytest.raises(UserError, match="cannot be written"), jsonl.disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_pass(tmp_path):
    with pytest.raises(OSError, match="bad"), jsonl.disk_errors(tmp_path):
        raise OSError(errno.EIO, "bad")


def test_documents_and_texts(tmp_path):
    jsonl.write_json(tmp_path / "a.json", {"é": [1, None]})
    assert jsonl.read_json(tmp_path / "a.json") == {"é": [1, None]}
    jsonl.write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()


def test_infinite_numbers_become_null():
    assert jsonl.dumps({"a": float("inf"), "b": float("nan")}) == b'{"a":null,"b":null}\n'


def test_a_near_word_is_suggested():
    assert closest("temprature", ["temperature", "seed"]) == " (did you mean 'temperature'?)"
    assert closest("zzz", ["temperature", "seed"]) == ""
