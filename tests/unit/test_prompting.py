"""From a data set's rows to prompts: adapters, templates, ids."""

from __future__ import annotations

import json

import pytest

from winnow.adapters import adapter, read_dataset
from winnow.adapters.fields import PROMPT_FIELDS, RESPONSE_FIELDS
from winnow.errors import UserError
from winnow.prompting import PromptTemplates, read_prompts
from winnow.templates import render

TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
ANSWER = {"role": "assistant", "content": "a"}


def prompts(*rows, templates=PromptTemplates(), read=None):  # noqa: B008 (frozen)
    numbered = [(f"d.jsonl, line {number}", row) for number, row in enumerate(rows, start=1)]
    return list(read_prompts(numbered, read or adapter("auto"), templates))


@pytest.mark.parametrize("field", PROMPT_FIELDS)
def test_auto_finds_the_prompt(field):
    assert adapter("auto")({"x": 1, field: "q"}, "here").prompt == "q"


@pytest.mark.parametrize("field", RESPONSE_FIELDS)
def test_auto_finds_the_reference(field):
    assert adapter("auto")({"problem": "q", field: 18}, "here").reference == "18"


def test_the_short_answer_goes_before_the_worked_solution():
    row = {"problem": "q", "answer": "4", "solution": "2 + 2 = 4"}
    assert adapter("auto")(row, "here").reference == "4"


def test_given_fields_win():
    row = {"problem": "no", "ask": "q", "answer": "no", "gold": "4", "images": ["a.png"], "id": 0}
    example = adapter("generic", "ask", "gold")(row, "here")
    assert (example.prompt, example.reference, example.id, example.images) == ("q", "4", "0", ["a.png"])
    assert adapter("auto", "ask")({**row, "messages": TALK}, "here").prompt == "q"


@pytest.mark.parametrize(("name", "field"), [("auto", None), ("messages", None), ("messages", "answer")])
def test_conversations(name, field):
    row = {"messages": [*TALK, ANSWER], **({"answer": "9"} if field else {})}
    example = adapter(name, response_field=field)(row, "here")
    assert example.messages == TALK
    assert example.reference == ("9" if field else "a")
    assert adapter(name)({"messages": TALK}, "here").reference is None


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"x": "q"}, ("auto",), r"the prompt field is missing \(the row has 'x'\)"),
        ({}, ("auto",), "the row has no fields"),
        ({"prompt": " "}, ("auto",), "is empty or not text"),
        ({"prompt": 3}, ("auto",), "is empty or not text"),
        ({"prompt": "q"}, ("generic", "ask"), "the prompt in 'ask'"),
        ({"prompt": "q"}, ("auto", None, "gold"), "no field 'gold'"),
        ({"prompt": "q"}, ("messages",), "'messages' is missing"),
        ({"messages": []}, ("auto",), "'messages' is missing"),
        ({"messages": [{"role": "user"}]}, ("auto",), "'messages' is missing"),
    ],
)
def test_rows_that_cannot_be_read_are_named(row, options, message):
    with pytest.raises(UserError, match=message) as error:
        adapter(*options)(row, "d.jsonl, line 7")
    assert error.value.where == "d.jsonl, line 7"


def test_adapters_are_checked():
    with pytest.raises(UserError, match="did you mean 'generic'"):
        adapter("generik")
    with pytest.raises(UserError, match="without prompt_field"):
        adapter("generic")


def test_templates_show_student_and_teacher_what_they_may_see():
    templates = PromptTemplates(
        "What is {{ prompt }}?", "Sys {{ level }}", "{{ prompt }} = {{ reference }}", None
    )
    [prompt] = prompts({"problem": "1+1", "answer": "2", "level": 3}, templates=templates)
    assert prompt.messages == [
        {"role": "system", "content": "Sys 3"}, {"role": "user", "content": "What is 1+1?"}
    ]  # fmt: skip
    assert prompt.teacher_messages == [{"role": "user", "content": "1+1 = 2"}]
    assert prompt.reference == "2"
    assert prompt.metadata == {"problem": "1+1", "answer": "2", "level": 3}
    assert prompts({"problem": "1+1"})[0].teacher_messages is None


def test_a_teachers_system_prompt_alone_keeps_the_students_question():
    [prompt] = prompts({"prompt": "q"}, templates=PromptTemplates(teacher_system="t"))
    assert prompt.teacher_messages == [{"role": "system", "content": "t"}, {"role": "user", "content": "q"}]


def test_a_conversation_keeps_its_turns_for_the_teacher():
    templates = PromptTemplates(teacher="{{ prompt }} ({{ reference }})")
    [prompt] = prompts({"messages": [*TALK, ANSWER]}, templates=templates)
    assert prompt.messages == TALK
    assert prompt.teacher_messages == [TALK[0], {"role": "user", "content": "u (a)"}]


def test_ids_are_the_rows_own_or_a_hash_of_what_is_asked():
    rows = [{"id": "x", "prompt": "1"}, {"prompt": "2", "note": 1}, {"prompt": "3"}]
    ids = [prompt.id for prompt in prompts(*rows)]
    assert ids[0] == "x"
    # Another order, another note, another teacher: the same ids, so that nothing is drawn anew.
    templates = PromptTemplates(teacher="other")
    again = [prompt.id for prompt in prompts(rows[2], {"prompt": "2"}, templates=templates)]
    assert again == [ids[2], ids[1]]
    assert len(set(ids)) == 3
    assert prompts({"prompt": "2", "images": ["a"]})[0].id != ids[1]


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "x", "prompt": "1"}, {"id": "y", "prompt": "1"}, {"id": "x", "prompt": "2"}],
        [{"prompt": "1"}, {"prompt": "2"}, {"prompt": "1", "note": 3}],
        [{"id": 5, "prompt": "1"}, {"prompt": "1"}, {"id": "5", "prompt": "2"}],
    ],
)
def test_duplicates_name_both_lines(rows):
    with pytest.raises(UserError, match=r"^d\.jsonl, line 3: id .* stands already in d\.jsonl, line 1"):
        prompts(*rows)


def test_templates_leave_braces_of_mathematics_alone():
    assert render(r"\boxed{ {{ x }} } {1, 2}" + "\n", {"x": 3}, "here") == r"\boxed{ 3 } {1, 2}" + "\n"


@pytest.mark.parametrize(
    ("template", "where", "message"),
    [
        ("{{ refrence }}", "line 7", "'refrence' is undefined"),
        ("{{ x.y }}", "line 7", "wants a field that is missing"),
        ("{{ x", "template '{{ x'", "end of template|expected"),
        ("{{ x | nonsense }}", "template", "nonsense"),
    ],
)
def test_bad_templates_are_explained(template, where, message):
    with pytest.raises(UserError, match=message) as error:
        render(template, {"x": 3}, "line 7")
    assert error.value.where.startswith(where)


def test_a_data_set_is_cut_and_its_lines_are_named(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"prompt": str(i)}) + "\n" for i in range(6)))
    assert [row["prompt"] for _, row in read_dataset(str(path), start=2, count=3)] == ["2", "3", "4"]
    assert [where for where, _ in read_dataset(str(path), start=4)] == [f"{path}, line 5", f"{path}, line 6"]
    with pytest.raises(UserError, match="no such file"):
        list(read_dataset(str(tmp_path / "gone.jsonl")))


def test_a_conversation_and_a_students_template_are_refused_not_ignored():
    for templates in (PromptTemplates(student="Solve: {{ prompt }}"), PromptTemplates(student_system="s")):
        with pytest.raises(UserError, match="a conversation is shown as it stands"):
            prompts({"messages": TALK}, templates=templates)
