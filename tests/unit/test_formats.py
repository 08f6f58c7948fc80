"""Training-data formats: every row reads back as what was selected, or the export fails."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import formats, jsonl, scoring
from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Conversation
from winnow.records import Prompt

text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["<think>\n1</think><answer>é</answer>", "]\n", ",", "[", "a\u2028b\x85c\r\nd\\", '"},\n{"', ""]
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": text}),
    max_size=3,
)
conversation = st.builds(Conversation, messages, text, st.none() | st.lists(text, max_size=2))
NAMES = formats.names()


@pytest.mark.parametrize("name", NAMES)
@given(rows=st.lists(conversation, max_size=4))
def test_round_trip(name, rows, tmp_path_factory):
    fmt = formats.find(name)
    path = tmp_path_factory.mktemp("formats") / fmt.filename
    files.write(path, fmt, rows)
    assert list(files.read(path, fmt)) == rows
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        parsed = json.loads(content)
    else:
        parsed = [json.loads(line) for line in content.split("\n")[:-1]]
    assert [fmt.from_row(row) for row in parsed] == rows


def test_the_shapes_that_trainers_know():
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    done = {"role": "assistant", "content": "a"}
    found = {name: formats.find(name).to_row(Conversation(asked, "a", ["1.png", "0.png"])) for name in NAMES}
    images = {"images": ["1.png", "0.png"]}
    assert found == {
        "messages": {"messages": [*asked, done], **images},
        "prompt_completion": {"prompt": asked, "completion": [done], **images},
        "sharegpt": {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"},
            ],
            **images,
        },
    }  # fmt: skip
    assert all("images" not in formats.find(name).to_row(Conversation(asked, "a")) for name in NAMES)
    filenames = {formats.find(name).filename for name in NAMES}
    assert filenames == {"messages.jsonl", "prompt_completion.jsonl", "sharegpt.json"}


def test_unknown_formats_are_named():
    with pytest.raises(UserError, match="did you mean 'sharegpt'"):
        formats.find("share_gpt")


PROMPTS = [
    Prompt(f"p{i}", [{"role": "user", "content": f"{i} + {i}?"}], reference=str(2 * i)) for i in range(3)
]
SCORERS = scoring.parse(["exact_answer", 'numeric_error={"tolerance": 0.5}'])


def selected() -> list[files.Source]:
    """One right completion a prompt, scored."""
    sources = []
    for i, prompt in enumerate(PROMPTS):
        completion = f"<think>{i} + {i}</think>\n<answer>{2 * i}</answer>"
        scores = {
            name: {"value": s.value, "passed": s.passed}
            for name, s in ((n, scorer.score(completion, prompt.reference)) for n, scorer in SCORERS.items())
        }
        row = {"id": f"{prompt.id}/0", "prompt_id": prompt.id, "text": completion, "scores": scores}
        sources.append((row, prompt, Conversation(prompt.messages, completion, None)))
    return sources


def strip_tags(row):
    return json.loads(json.dumps(row).replace("<think>", "").replace("</think>", ""))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: [strip_tags(row) for row in rows], r"completion p0/0: its row does not read back"),
        (lambda rows: [rows[0], rows[2], rows[1]], r"completion p1/0: its row"),
        (lambda rows: rows[:2], r"completion p2/0: its row"),
        (lambda rows: [*rows, rows[2]], "more than the 3 rows"),
        (lambda rows: json.loads(json.dumps(rows).replace("1 + 1?", "1 + 2?")), r"completion p1/0: its row"),
        (lambda rows: [{**row, "images": ["x.png"]} for row in rows], r"completion p0/0: its row"),
    ],
    ids=["stripped tag", "exchanged", "missing", "extra", "other question", "image from nowhere"],
)
def test_a_file_that_differs_is_caught(name, edit, message, tmp_path):
    fmt = formats.find(name)
    path = tmp_path / fmt.filename
    files.write(path, fmt, (conversation for _, _, conversation in selected()))
    assert files.verify(path, fmt, selected(), SCORERS) == 3
    rows = edit([fmt.to_row(c) for c in files.read(path, fmt)])
    if path.suffix == ".json":
        path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    else:
        path.write_bytes(b"".join(map(jsonl.dumps, rows)))
    with pytest.raises(UserError, match=message):
        files.verify(path, fmt, selected(), SCORERS)


@pytest.mark.parametrize("change", [{"value": 0.0}, {"passed": False}])
@pytest.mark.parametrize("scorer", list(SCORERS))
def test_a_verifier_that_says_otherwise_now_is_caught(tmp_path, change, scorer):
    fmt = formats.find("messages")
    sources = selected()
    files.write(tmp_path / "a.jsonl", fmt, (conversation for _, _, conversation in sources))
    recorded = sources[1][0]["scores"][scorer]
    if change == {"value": recorded["value"]}:
        change = {"value": 7.0}
    recorded.update(change)
    with pytest.raises(UserError, match=rf"completion p1/0: {scorer} now gives"):
        files.verify(tmp_path / "a.jsonl", fmt, sources, SCORERS)


def test_a_scorer_that_never_scored_is_named(tmp_path):
    fmt = formats.find("messages")
    sources = selected()
    files.write(tmp_path / "a.jsonl", fmt, (conversation for _, _, conversation in sources))
    del sources[0][0]["scores"]["numeric_error"]
    with pytest.raises(UserError, match=r"p0/0.*numeric_error"):
        files.verify(tmp_path / "a.jsonl", fmt, sources, SCORERS)


def test_completions_meet_their_prompts_in_order(tmp_path):
    path = tmp_path / "accepted.jsonl"
    rows = [row for row, _, _ in selected()]
    path.write_bytes(b"".join(map(jsonl.dumps, [rows[0], rows[0], rows[2]])))
    assert [p.id for _, p, _ in files.conversations(path, PROMPTS)] == ["p0", "p0", "p2"]
    path.write_bytes(b"".join(map(jsonl.dumps, [rows[1], rows[0]])))
    with pytest.raises(UserError, match=r"accepted\.jsonl, line 2: prompt 'p0' is not in the prompt files"):
        list(files.conversations(path, PROMPTS))
