"""The journal survives any truncation, and refuses what it cannot vouch for."""

from __future__ import annotations

import errno
import multiprocessing
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.journal import FinishedElsewhere, Journal

PARAMETERS = {"seed": 17, "model": "abc", "temperature": 1.0}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
entries = st.dictionaries(texts, texts, min_size=1, max_size=5)


def write(output, items):
    with Journal(output, PARAMETERS) as journal:
        for item, text in items.items():
            journal.append(item, {"text": text})
        return journal.path


@given(entries, st.data())
def test_cut_at_any_byte_every_whole_line_survives(tmp_path_factory, items, data):
    output = tmp_path_factory.mktemp("journal") / "out.jsonl"
    path = write(output, items)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    kept = dict(list(items.items())[: max(0, lines - 1)])
    with Journal(output, PARAMETERS) as journal:
        assert len(journal) == len(kept)
        assert {item: journal.read(item)["text"] for item in kept} == kept
        for item, text in items.items():
            assert (item in journal) == (item in kept)
            if item not in journal:
                journal.append(item, {"text": text})
        assert {item: journal.read(item)["text"] for item in items} == items
    assert path.read_bytes() == whole, "as if nothing had happened"


def test_every_cut_of_one_journal(tmp_path):
    items = {"a": "x\ny", "b": "é", "c": ""}
    path = write(tmp_path / "out", items)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Journal(tmp_path / "out", PARAMETERS) as journal:
            assert len(journal) == max(0, whole[:cut].count(b"\n") - 1)


def test_reading_while_appending(tmp_path):
    with Journal(tmp_path / "out", PARAMETERS) as journal:
        for number in range(20):
            journal.append(str(number), {"n": number})
            assert journal.read(str(number // 2)) == {"id": str(number // 2), "n": number // 2}


def test_an_entry_outlives_the_process(tmp_path):
    with Journal(tmp_path / "out", PARAMETERS) as journal:
        journal.append("a", {"text": "x"})
        assert journal.path.read_bytes().endswith(b'{"id":"a","text":"x"}\n'), "flushed, not buffered"


def test_other_parameters_are_refused_and_named(tmp_path):
    path = write(tmp_path / "out", {"a": "x"})
    before = path.read_bytes()
    other = {"seed": 17, "model": "abd", "top_k": 3}
    with pytest.raises(UserError) as error, Journal(tmp_path / "out", other):
        pass
    message = str(error.value)
    assert str(path) in message
    assert "model was 'abc', now 'abd'" in message
    assert "temperature was 1.0, now 'absent'" in message
    assert "top_k was 'absent', now 3" in message
    assert "seed" not in message
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"id": "b", "te\n', "line 3"),
        (b"[1]\n", "line 3"),
        (b"\n", "line 3"),
        (b'{"text": "x"}\n', "line 3"),
    ],
    ids=["torn", "list", "empty", "no id"],
)
def test_damage_before_the_last_line_is_refused(tmp_path, line, problem):
    path = write(tmp_path / "out", {"a": "x", "b": "y"})
    header, first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + first + line + second)
    with pytest.raises(UserError, match=problem), Journal(tmp_path / "out", PARAMETERS):
        pass
    assert path.read_bytes() == header + first + line + second, "nothing is lost"


@pytest.mark.parametrize("header", [b"[]\n", b"{}\n", b'{"journal": 3}\n', b"not json\n"])
def test_a_file_that_is_no_journal_is_refused(tmp_path, header):
    (tmp_path / "out.partial").write_bytes(header)
    with pytest.raises(UserError, match=r"out\.partial"), Journal(tmp_path / "out", PARAMETERS):
        pass


def test_a_doubled_id_keeps_its_first_entry(tmp_path):
    path = write(tmp_path / "out", {"a": "first"})
    path.write_bytes(path.read_bytes() + orjson.dumps({"id": "a", "text": "second"}) + b"\n")
    with Journal(tmp_path / "out", PARAMETERS) as journal:
        assert (len(journal), journal.read("a")["text"]) == (1, "first")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch, code):
    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, line):
            self._file.write(line[:5])
            self._file.flush()
            raise OSError(code, "no space")

    with (
        pytest.raises(UserError, match=r"out\.partial: the disk is full"),
        Journal(tmp_path / "out", PARAMETERS) as j,
    ):
        j.append("a", {"text": "x"})
        j._file = Full(j._file)
        j.append("b", {"text": "y"})
    with Journal(tmp_path / "out", PARAMETERS) as journal:
        assert "a" in journal
        assert "b" not in journal


def hold(output, parameters, items, seconds, ready, finish):
    """Another process: takes the journal, works a while, perhaps finishes the job."""
    with Journal(output, parameters) as journal:
        ready.set()
        time.sleep(seconds)
        for item in items:
            journal.append(item, {})
        if finish:
            output.write_text("finished")
            journal.remove()


@pytest.mark.parametrize("case", ["goes on", "finished", "finished, other parameters"])
def test_waits_for_another_process(tmp_path, case):
    context = multiprocessing.get_context("fork")
    ready, output = context.Event(), tmp_path / "out"
    theirs = {"seed": 1} if case.endswith("other parameters") else PARAMETERS
    process = context.Process(target=hold, args=(output, theirs, ["a"], 0.5, ready, case != "goes on"))
    process.start()
    assert ready.wait(10)
    start = time.monotonic()
    try:
        if case == "finished":
            with pytest.raises(FinishedElsewhere, match="out"), Journal(output, PARAMETERS):
                pass
            assert not (tmp_path / "out.partial").exists()
        else:
            with Journal(output, PARAMETERS) as journal:
                assert ("a" in journal) == (case == "goes on")
                journal.append("b", {})
                assert "b" in journal
        assert time.monotonic() - start > 0.3, "it waited"
    finally:
        process.join()


def test_remove(tmp_path):
    with Journal(tmp_path / "out", PARAMETERS) as journal:
        journal.remove()
        assert not journal.path.exists()
