"""Models and prompts that are not quite right: named, or served all the same."""

from __future__ import annotations

import json
import shutil

import pytest
from direct import ask, sampler, samples

from winnow.errors import UserError
from winnow.records import Prompt


def without(directory, target, file: str, *keys: str):
    """A copy of a model, one of whose JSON files lacks some keys."""
    shutil.copytree(directory, target)
    content = json.loads((target / file).read_text())
    (target / file).write_text(json.dumps({key: value for key, value in content.items() if key not in keys}))
    return target


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_a_tokenizer_without_a_pad_token_draws_the_same(student, teacher, tmp_path, whose):
    models = {"student": student, "teacher": teacher}
    rows = [
        row
        for prompt in (ask("abcd", "a"), ask("b", "dddd", "q"))
        for row in samples(sampler(student, teacher, "kl_symmetry", 8), prompt, 5)
    ]

    def drawn():
        source = sampler(models["student"], models["teacher"], "kl_symmetry", 8)
        return {each.row.id: each.token_ids for each in source.draw(rows, 7)}, source

    expected, _ = drawn()
    models[whose] = without(models[whose], tmp_path / "m", "tokenizer_config.json", "pad_token")
    found, source = drawn()
    assert getattr(source, {"student": "theta", "teacher": "t"}[whose]).tokenizer.pad_token_id is None
    assert found == expected


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_a_prompt_that_renders_to_nothing_is_named(student, teacher, tmp_path, whose):
    models = {"student": student, "teacher": teacher}
    shutil.copytree(models[whose], tmp_path / "silent")
    (tmp_path / "silent" / "chat_template.jinja").write_text("{% if false %}x{% endif %}")
    models[whose] = tmp_path / "silent"
    source = sampler(models["student"], models["teacher"], "kl_symmetry")
    with pytest.raises(UserError) as error:
        source.row(Prompt("p7", [{"role": "user", "content": "ab"}]), "p7/0", 0)
    assert error.value.where == "prompt p7"
    assert f"renders its {whose} messages to nothing" in error.value.found
    assert str(tmp_path / "silent") in error.value.found


def test_a_model_without_a_template_is_refused(student, tmp_path):
    shutil.copytree(student, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        sampler(tmp_path / "plain", None, "policy")


def test_more_slots_than_rows_and_no_rows_at_all(student, teacher):
    source = sampler(student, teacher, "kl_symmetry", 8)
    assert list(source.draw([], 8)) == []
    rows = samples(source, ask("ab"), 3)
    assert len(list(source.draw(rows, 10**12))) == 3


def test_a_conversation_that_the_template_refuses_is_named(student, tmp_path):
    target = shutil.copytree(student, tmp_path / "strict")
    (target / "chat_template.jinja").write_text("{{ raise_exception('no system message') }}")
    drawing = sampler(target, None, "policy")
    with pytest.raises(UserError, match="no system message"):
        drawing.row(ask("ab", name="p7"), "p7/0", 0)


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.json", b"{"), ("model.safetensors", b"torn"), ("config.json", b'{"model_type": "unheard"}')],
)
def test_a_damaged_model_is_named(student, tmp_path, file, content):
    target = shutil.copytree(student, tmp_path / "damaged")
    (target / file).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        sampler(target, None, "policy")
