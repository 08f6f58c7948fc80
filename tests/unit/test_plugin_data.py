"""A user's own adapter and format, held to what the built-in ones promise."""

from __future__ import annotations

import textwrap

import pytest
from own_modules import ADAPTER, FORMAT, module, refused

from winnow import adapters, formats, jsonl
from winnow.formats import Conversation, Pair, files

pytestmark = pytest.mark.usefixtures("working_directory")


def test_an_adapter_by_its_import_path():
    read = adapters.adapter(module(ADAPTER) + ":adapt")
    assert read({"ask": "q", "gold": 4}, "here") == adapters.Example(prompt="q", reference="4")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("adapt = 5", "a int for adapter(row, where)"),
        ("def adapt(row): ...", "cannot be called as adapter(row, where)"),
    ],
)
def test_what_is_no_adapter(code, words):
    assert words in refused(adapters.adapter, module(code) + ":adapt").found


def test_fields_are_for_the_built_in_adapters():
    name = module(ADAPTER) + ":adapt"
    for fields in (("ask", None), (None, "gold")):
        assert "leave both out" in refused(adapters.adapter, name, *fields).mend


def test_rows_that_an_adapter_cannot_read():
    name = module(ADAPTER) + ":adapt"
    error = refused(adapters.adapter(name), {"gold": 4}, "d.jsonl, line 7")
    assert error.where == "d.jsonl, line 7"
    assert f"adapter {name!r} raised KeyError: 'ask' (" in error.found
    own = "from winnow.errors import UserError\ndef adapt(row, where): raise UserError(where, 'b', 'c', 'd')"
    assert refused(adapters.adapter(module(own) + ":adapt"), {}, "line 7").found == "b"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("{'prompt': 'q'}", "a dict"),
        ("Example()", "neither a prompt nor messages"),
        ("Example(prompt='q', messages=[{'role': 'user', 'content': 'q'}])", "both a prompt and messages"),
        ("Example(prompt=' ')", "the prompt ' '"),
        ("Example(prompt=3)", "the prompt 3"),
        ("Example(messages=[])", "messages that are not"),
        ("Example(messages=['q'])", "messages that are not"),
        ("Example(prompt='q', reference=4)", "the reference 4 (int)"),
        ("Example(prompt='q', id=4)", "the id 4 (int)"),
        ("Example(prompt='q', images='a.png')", "the images 'a.png'"),
        ("Example(prompt='q', images=[1])", "the images [1]"),
    ],
)
def test_what_is_no_example(what, words):
    code = f"from winnow.adapters import Example\ndef adapt(row, where): return {what}"
    error = refused(adapters.adapter(module(code) + ":adapt"), {}, "line 1")
    assert words in error.found
    assert "returned" in error.found


def test_a_format_by_its_import_path(tmp_path):
    fmt = formats.find(module(FORMAT) + ":Pair")
    rows = [Conversation([{"role": "user", "content": f"q{i}"}], "a") for i in range(3)]
    files.write(tmp_path / fmt.filename, fmt, rows)
    assert list(jsonl.rows("pair.jsonl")) == [{"q": f"q{i}", "a": "a"} for i in range(3)]
    assert list(files.read(tmp_path / "pair.jsonl", fmt)) == rows


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("class Pair:", "def Pair(): ...\nclass Other:", "a function"),
        ('filename = "pair.jsonl"', "", "filename None"),
        ("pair.jsonl", "pair.csv", "filename 'pair.csv'"),
        ("pair.jsonl", "pair.jsonl.gz", "filename 'pair.jsonl.gz'"),
        ("pair.jsonl", "../pair.jsonl", "filename '../pair.jsonl'"),
        ("pair.jsonl", "{n}.jsonl", "filename '{n}.jsonl'"),
        ("pair.jsonl", "a b.jsonl", "filename 'a b.jsonl'"),
        ("def to_row", "def to_rows", "a NoneType for to_row(conversation)"),
        ("def from_row(self, row)", "def from_row(self)", "cannot be called as from_row(row)"),
        ('filename = "pair.jsonl"', 'filename = "a.jsonl"; takes = "both"', "takes 'both'"),
        ('filename = "pair.jsonl"', "def __init__(self): 1 / 0", "its constructor raises ZeroDivisionError"),
    ],
)
def test_what_is_no_format(old, new, words):
    code = textwrap.dedent(FORMAT)
    assert old in code
    assert words in refused(formats.find, module(code.replace(old, new)) + ":Pair").found


def test_two_formats_of_one_file():
    one, two = (module(FORMAT) + ":Pair" for _ in range(2))
    assert [fmt.filename for fmt in formats.find_all(["messages", one])] == ["messages.jsonl", "pair.jsonl"]
    error = refused(formats.find_all, ["messages", one, two])
    assert error.where == f"format {two!r}"
    assert error.found == f"writes pair.jsonl, as {one!r} does"
    assert "messages" in refused(formats.find_all, ["messages", "messages"]).found


def test_a_format_of_pairs(tmp_path):
    code = """
        from winnow.formats import Conversation, Pair

        class Duel:
            filename = "duel.jsonl"
            takes = "pairs"

            def to_row(self, pair):
                return {"won": pair.chosen.completion, "lost": pair.rejected.completion}

            def from_row(self, row):
                return Pair(Conversation([], row["won"]), Conversation([], row["lost"]))
    """
    name = module(code) + ":Duel"
    fmt = formats.find(name)
    pair = Pair(Conversation([], "a"), Conversation([], "b"))
    files.write(tmp_path / fmt.filename, fmt, [pair])
    assert list(files.read(tmp_path / fmt.filename, fmt)) == [pair]
    assert formats.needs_pairs(["messages", name]) == [name]


TWO = [Conversation([{"role": "user", "content": q}], "a") for q in ("1", "2")]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("raise KeyError('x')", ["row 1: format 'plug", "to_row raised KeyError: 'x'"]),
        ("return [1]", ["row 1: format 'plug", "to_row returned a list"]),
        ("return {'x': {1}}", ["row 1", "cannot be written as JSON"]),
        ("return {'x': [1, 2][int(conversation.messages[0]['content'])]}", ["row 2", "IndexError"]),
    ],
)
def test_rows_that_a_format_cannot_write(tmp_path, new, words):
    code = FORMAT.replace('return {"q"', f'{new}\n            return {{"q"')
    fmt = formats.find(module(code) + ":Pair")
    message = str(refused(files.write, tmp_path / "x.jsonl", fmt, TWO))
    for word in ["x.jsonl", *words]:
        assert word in message
    assert not list(tmp_path.glob("x.jsonl*"))


def test_rows_that_a_format_cannot_read_back(tmp_path):
    fmt = formats.find(module(FORMAT.replace('row["q"]', 'row["question"]')) + ":Pair")
    files.write(tmp_path / "x.jsonl", fmt, TWO)
    message = str(refused(list, files.read(tmp_path / "x.jsonl", fmt)))
    assert "x.jsonl, line 1: format 'plug" in message
    assert "from_row raised KeyError: 'question'" in message


def test_a_format_may_refuse_a_conversation(tmp_path):
    code = "from winnow.errors import UserError\n" + textwrap.dedent(
        FORMAT.replace('return {"q"', "raise UserError('messages', 'b', 'c', 'd')\n            return {\"q\"")
    )
    error = refused(files.write, tmp_path / "x.jsonl", formats.find(module(code) + ":Pair"), TWO)
    assert error.where == f"{tmp_path / 'x.jsonl'}, row 1: messages"
    assert error.found == "b"
