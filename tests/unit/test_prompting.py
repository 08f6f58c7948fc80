"""From a data set's rows to prompts: adapters, templates, ids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from winnow.adapters import adapter, read_dataset
from winnow.adapters.fields import PROMPT_FIELDS, RESPONSE_FIELDS
from winnow.errors import UserError
from winnow.prompting import PromptTemplates, read_prompts
from winnow.templates import render

ROOT = Path(__file__).parents[2]
TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
ANSWER = {"role": "assistant", "content": "a"}


def prompts(*rows, templates=PromptTemplates(), read=None, drop=False):  # noqa: B008 (frozen)
    numbered = [(f"d.jsonl, line {number}", row) for number, row in enumerate(rows, start=1)]
    return list(read_prompts(numbered, read or adapter("auto"), templates, drop_duplicates=drop))


@pytest.mark.parametrize("field", PROMPT_FIELDS)
def test_auto_finds_the_prompt(field):
    assert adapter("auto")({"x": 1, field: "q"}, "here").prompt == "q"


@pytest.mark.parametrize("field", RESPONSE_FIELDS)
def test_auto_finds_the_reference(field):
    assert adapter("auto")({"problem": "q", field: 18}, "here").reference == "18"


def test_the_short_answer_goes_before_the_worked_solution():
    row = {"problem": "q", "answer": "4", "solution": "2 + 2 = 4"}
    assert adapter("auto")(row, "here").reference == "4"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["4"], "4"),
        ([4], "4"),
        ([0.5], "0.5"),
        (["a", "b"], None),
        ([], None),
        ({"x": 4}, None),
        ([["4"]], None),
        ([None], None),
        ([{"x": 4}], None),
        (b"4", None),
    ],
)
def test_a_reference_is_one_text_or_an_error(answer, expected):
    for name in ("auto", "deepscaler"):
        read = adapter(name)
        if expected is not None:
            assert read({"problem": "q", "answer": answer}, "d.jsonl, line 3").reference == expected
            continue
        with pytest.raises(UserError, match="one answer") as error:
            read({"problem": "q", "answer": answer}, "d.jsonl, line 3")
        assert error.value.where == "d.jsonl, line 3" and "'answer' is " in error.value.found
        assert "adapter" in error.value.mend


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


@pytest.mark.parametrize(
    ("templates", "role"),
    [
        (PromptTemplates(student="  "), "student"),
        (PromptTemplates(student="{{ hint | default('') }}"), "student"),
        (PromptTemplates(teacher="{{ hint | default('') }}", teacher_system="Be brief."), "teacher"),
    ],
)
def test_a_question_of_nothing_is_refused(templates, role):
    with pytest.raises(UserError, match=f"the {role}'s question is empty") as error:
        prompts({"prompt": "q", "hint": "h"}, {"prompt": "r"}, templates=templates)
    assert (
        error.value.where == f"d.jsonl, line {2 if 'hint' in (templates.teacher or templates.student) else 1}"
    )


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


def test_the_error_names_the_option_unless_the_rows_are_not_equal():
    with pytest.raises(UserError) as error:
        prompts({"prompt": "1"}, {"prompt": "1"})
    assert "data.duplicates" in error.value.mend and "--duplicates drop" in error.value.mend
    with pytest.raises(UserError, match="another question") as error:
        prompts({"id": 1, "prompt": "1"}, {"id": 1, "prompt": "2"})
    assert "data.duplicates" not in error.value.mend


def test_duplicates_are_dropped_and_counted(caplog):
    rows = [{"prompt": "1", "note": 1}, {"prompt": "2"}, {"prompt": "1"}, {"prompt": "3"}, {"prompt": "1"}]
    kept = prompts(*rows, drop=True)
    assert [(each.messages[0]["content"], each.metadata.get("note")) for each in kept] == [
        ("1", 1), ("2", None), ("3", None),
    ]  # fmt: skip
    [told] = caplog.messages
    assert told.startswith("2 duplicate rows are dropped, the first in d.jsonl, line 3 (stands already in")
    assert "d.jsonl, line 1" in told


def test_nothing_is_told_where_nothing_is_dropped(caplog):
    assert len(prompts({"prompt": "1"}, {"prompt": "2"}, drop=True)) == 2
    assert not caplog.messages


def test_dropped_rows_of_another_reference_are_told_apart(caplog):
    rows = [{"prompt": "1", "answer": a} for a in ("4", "4", "5")]
    assert [each.reference for each in prompts(*rows, drop=True)] == ["4"]
    assert caplog.messages[0].startswith("2 duplicate rows")
    assert caplog.messages[1].startswith("1 of them have another reference")
    assert "d.jsonl, line 3" in caplog.messages[1]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"prompt": "2", "answer": "4"}, "question"),
        ({"prompt": "1", "answer": "5"}, "reference"),
        ({"prompt": "1"}, "reference"),
        ({"prompt": "1", "answer": "4", "images": ["a.png"]}, "question"),
    ],
)
def test_an_id_of_two_contents_stays_an_error_where_duplicates_are_dropped(other, what):
    row = {"id": "x", "prompt": "1", "answer": "4"}
    assert len(prompts(row, dict(row), drop=True)) == 1
    with pytest.raises(UserError, match=f"id 'x' stands already in d.jsonl, line 1, with another {what}"):
        prompts(row, {"id": "x", **other}, drop=True)


def test_duplicates_of_adapters_that_make_ids_of_the_content_are_dropped():
    pair = {"path1": "a.png", "path2": "b.png", "prompt": "a dog"}
    rows = [pair, {**pair, "confidence": 0.5}, {**pair, "path1": "b.png", "path2": "a.png"}]
    assert len(prompts(*rows, read=adapter("hpdv3"), drop=True)) == 2
    problem = {"problem": "q", "answer": "4", "solution": ""}
    kept = prompts(problem, {**problem, "solution": "2 + 2"}, read=adapter("deepscaler"), drop=True)
    assert len(kept) == 1


def test_the_program_drops_duplicates_where_it_is_told_to(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"prompt": "1"}\n' * 3 + '{"prompt": "2"}\n')
    command = [sys.executable, str(ROOT / "scripts/prompts.py"), "--dataset", str(tmp_path / "d.jsonl")]
    command += ["--output_dir", str(tmp_path / "p")]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2 and "--duplicates drop" in failed.stderr
    done = subprocess.run([*command, "--duplicates", "drop"], capture_output=True, text=True, check=True)
    assert "2 duplicate rows are dropped" in done.stderr and "2 prompts in 1 shards" in done.stderr


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
