"""Records: what is written is read, and what is not a record is named."""

from __future__ import annotations

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.records import Completion, Prompt, completion_id, completion_seed, content_id

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.lists(st.fixed_dictionaries({"role": text, "content": text}), max_size=3)
prompts = st.builds(
    Prompt,
    id=text,
    messages=messages,
    teacher_messages=st.none() | messages,
    reference=st.none() | text,
    images=st.none() | st.lists(text, max_size=2),
    metadata=st.dictionaries(text, st.none() | text | st.integers(-9, 9), max_size=3),
)
count = st.integers(0, 2**53)
completions = st.builds(
    Completion,
    id=text, prompt_id=text, sample=count, seed=st.integers(0, 2**63 - 1), text=text, finish_reason=text,
    prompt_tokens=count, completion_tokens=count, step=text, alpha=text, model=text,
    teacher=st.none() | text, token_ids=st.none() | st.lists(count, max_size=4), detail=st.none() | text,
)  # fmt: skip
PROMPT = {"id": "p", "messages": []}


@given(prompts | completions)
def test_round_trip(record):
    row = orjson.loads(orjson.dumps(record.to_row()))
    assert type(record).from_row(row, "here") == record
    assert None not in row.values()


@pytest.mark.parametrize("kind", [Prompt, Completion])
def test_each_required_key_is_missed_by_name(kind):
    whole = {key: kind.types[key][0]() for key in kind.types}
    assert kind.from_row(whole, "here")
    for key in kind.required:
        for row in ({**whole, key: None}, {k: v for k, v in whole.items() if k != key}):
            with pytest.raises(UserError, match=rf"^a\.jsonl, line 3: a {kind.kind} without '{key}'"):
                kind.from_row(row, "a.jsonl, line 3")


def test_unknown_keys_and_other_types_are_named():
    with pytest.raises(UserError, match=r"line 3: a prompt whose 'refrence' is str\n.*no such key"):
        Prompt.from_row({**PROMPT, "refrence": "4"}, "line 3")
    with pytest.raises(UserError, match=r"a prompt whose 'reference' is int\n.*str for 'reference'"):
        Prompt.from_row({**PROMPT, "reference": 4}, "line 3")


def test_every_field_has_a_type():
    for kind in (Prompt, Completion):
        assert list(kind.types) == [field.name for field in dataclasses.fields(kind)]


def test_seeds_depend_on_run_prompt_and_sample():
    keys = [(run, f"p{p}", s) for run in range(5) for p in range(40) for s in range(40)]
    seeds = [completion_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62, "63 bits, not 62"
    # Another hash would draw other completions for every finished run.
    assert completion_seed(17, "p", 3) == 3890292477814809513
    assert completion_seed(1, "1", 1) != completion_seed(11, "", 1)


def test_ids():
    assert completion_id("p/1", 12) == "p/1/12"
    assert content_id("a") == content_id("a") != content_id("b")
    assert len(content_id("é")) == 16
