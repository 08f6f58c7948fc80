"""What a chat template may do to a row, and what it may not."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from templates_in_python import rendering

from winnow.errors import UserError
from winnow.formats.format import Conversation
from winnow.formats.rendering import Rendering, _tokenizer_of

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples/arithmetic/models/policy-step-460"
COMPLETION = "<think>\na b\n</think>\n<answer>4</answer>\n"
QUOTING = "Write <think>…</think> and <answer>…</answer>: what is 2+2?"


def talk(completion=COMPLETION, asked=QUOTING, system=None, images=None):
    messages = [{"role": "system", "content": system}] * bool(system)
    return Conversation([*messages, {"role": "user", "content": asked}], completion, images)


def refused(made, conversation):
    with pytest.raises(UserError) as error:
        made.check(conversation)
    assert error.value.where == "chat template of models/mine"
    return error.value.found


def test_a_whole_conversation_passes():
    made = rendering()
    made.check(talk())
    made.check(talk(system="s"))
    made.check(talk(completion=""))
    made.check(talk(asked="<image> is this a cat? <image>", images=["a", "b"]))
    made.check(talk(asked="is this a cat?", images=["a"]))
    assert made.respaced == 0


def test_white_space_is_told_of_and_no_fault(caplog):
    made = rendering(change=str.strip)
    made.check(talk())
    made.check(talk(completion="<answer>4</answer>"))
    assert made.respaced == 1
    with caplog.at_level(logging.WARNING):
        made.summary(Path("m.jsonl"))
    assert "m.jsonl: the chat template of models/mine changes white space in 1 completions" in caplog.text
    assert made.respaced == 0


def test_tags_that_the_prompt_quotes_do_not_stand_in_for_those_of_the_completion():
    dropped = rendering(change=lambda text: text.split("</think>")[-1])
    assert refused(dropped, talk()) == "<think> of the completion is lost, with what it delimits"
    repeated = talk(asked=COMPLETION)
    assert "<think> of the completion is lost" in refused(dropped, repeated)


def test_what_is_not_rendered():
    assert "system role not supported" in refused(rendering(system=False), talk(system="s"))
    mute = rendering(mute="system")
    assert "the system message is not in the rendered text" in refused(mute, talk(system="Be brief."))
    mute = rendering(mute="user")
    assert "the user message is not in the rendered text" in refused(mute, talk())
    mute = rendering(mute="assistant")
    assert "the completion is not in the rendered text" in refused(mute, talk(completion="4"))
    with pytest.raises(UserError, match="2 images, and 1 times <image>"):
        rendering().check(talk(asked="<image>", images=["a", "b"]))


def test_where_a_tokenizer_lies(tmp_path):
    assert _tokenizer_of(str(MODEL)) == (str(MODEL), "main")
    assert _tokenizer_of("org/name") == ("org/name", "main")
    assert _tokenizer_of("org/name@v1") == ("org/name", "v1")
    manifest = tmp_path / "checkpoint/manifest.json"
    (tmp_path / "checkpoint/model").mkdir(parents=True)
    (tmp_path / "checkpoint/model/tokenizer.json").write_text("{}")
    for directory, found in (
        ("model", (str(manifest.parent / "model"), "main")),
        (str(MODEL), (str(MODEL), "main")),
        ("org/name@v1", ("org/name", "v1")),
    ):
        manifest.write_text(json.dumps({"directory": directory}))
        assert _tokenizer_of(str(manifest)) == found
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    assert _tokenizer_of(str(adapter)) == ("org/base", "main")
    with pytest.raises(UserError, match="no such model directory"):
        _tokenizer_of("nowhere")


KEEPING_THE_LAST = """\
{%- for m in messages -%}
{%- if m.role == 'assistant' and '</think>' in m.content and loop.last -%}
<|assistant|><think>
{{ m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') }}
</think>

{{ m.content.split('</think>')[-1].lstrip('\\n') }}<|im_end|>
{%- else -%}
<|{{ m.role }}|>{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}<|im_end|>
{%- endif -%}
{%- endfor -%}"""
"""As Qwen3's: reasoning is kept in the last turn, on lines of its own."""
DROPPING = """\
{%- for m in messages -%}
<|{{ m.role }}|>{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}<|im_end|>
{%- endfor -%}"""
"""As DeepSeek-R1's."""
NO_SYSTEM = "{%- if messages[0].role == 'system' -%}{{ raise_exception('no system role') }}{%- endif -%}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "words"),
    [
        (KEEPING_THE_LAST, None),
        (DROPPING, "<think> of the completion is lost"),
        (NO_SYSTEM + KEEPING_THE_LAST, "no system role"),
        (None, "it has none"),
    ],
    ids=["keeps the last", "drops", "no system", "none"],
)
def test_templates_as_transformers_renders_them(template, words, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model, ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "chat_template.jinja").unlink()
    if template:
        (model / "chat_template.jinja").write_text(template)
    made = Rendering(str(model))
    if words is None:
        made.check(talk(completion="<think>a</think><answer>4</answer>", system="s"))
        assert made.respaced == 1
        return
    with pytest.raises(UserError) as error:
        made.check(talk(system="s"))
    assert error.value.where == f"chat template of {model}"
    assert words in error.value.found
