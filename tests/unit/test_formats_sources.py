"""What rows are made of, and what is told of them beside the files."""

from __future__ import annotations

import json

import pytest
from format_samples import PROMPTS, selected

from winnow import jsonl
from winnow.errors import UserError
from winnow.formats import dataset_info, sources
from winnow.formats.diagnostics import Diagnostics


def test_completions_meet_their_prompts_in_order(tmp_path):
    path = tmp_path / "accepted.jsonl"
    rows = [each.row for each in selected()]
    path.write_bytes(b"".join(map(jsonl.dumps, [rows[0], rows[1], rows[4]])))
    assert [each.prompt.id for each in sources.accepted(path, PROMPTS)] == ["p0", "p0", "p2"]
    path.write_bytes(b"".join(map(jsonl.dumps, [rows[2], rows[0]])))
    with pytest.raises(UserError, match=r"accepted\.jsonl, line 2: prompt 'p0' is not in the prompt files"):
        list(sources.accepted(path, PROMPTS))


def ids(takes, members):
    return [[each.row["id"] for each in found] for _, found in sources.grouped(takes, members)]


def test_what_formats_take():
    members = selected()
    again = members[0]._replace(row={**members[0].row, "pair": 1})
    second = members[1]._replace(row={**members[1].row, "pair": 1, "id": "p0/2"})
    paired = [*members[:2], again, second, *members[2:]]
    assert ids("pairs", paired)[:3] == [["p0/0", "p0/1"], ["p0/0", "p0/2"], ["p1/0", "p1/1"]]
    assert ids("chosen", paired) == [["p0/0"], ["p1/0"], ["p2/0"]]
    assert ids("all", members) == [[each.row["id"]] for each in members]
    plain = [each._replace(row={k: v for k, v in each.row.items() if k != "role"}) for each in members]
    assert ids("prompts", plain) == [["p0/0", "p0/1"], ["p1/0", "p1/1"], ["p2/0", "p2/1"]]
    assert [unit.origin.index for unit, _ in sources.grouped("prompts", plain)] == [0, 1, 2]


def test_a_completion_that_stands_there_twice(tmp_path):
    path = tmp_path / "accepted.jsonl"
    rows = [each.row for each in selected()][:2]
    again = [row | {"pair": 1} for row in rows]
    path.write_bytes(b"".join(map(jsonl.dumps, [*rows, *again])))
    assert len(list(sources.accepted(path, PROMPTS))) == 4, "one of several pairs"
    path.write_bytes(b"".join(map(jsonl.dumps, [*rows, rows[0]])))
    with pytest.raises(UserError, match=r"accepted\.jsonl, line 3: completion p0/0 .* already in line 1"):
        list(sources.accepted(path, PROMPTS))
    single = {key: value for key, value in rows[0].items() if key not in ("pair", "role")}
    path.write_bytes(jsonl.dumps(single) * 2)
    with pytest.raises(UserError, match=r"line 2: completion p0/0 stands already in line 1"):
        list(sources.accepted(path, PROMPTS))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda members: members[:1],
        lambda members: members[1:],
        lambda members: [members[0], members[3]],
        lambda members: [members[0], members[1]._replace(row={**members[1].row, "pair": 1})],
        lambda members: [each._replace(row={**each.row, "role": None}) for each in members],
    ],
    ids=["alone", "headless", "of two prompts", "of two pairs", "no pairs"],
)
def test_pairs_that_are_none(spoil):
    with pytest.raises(UserError, match=r"(?s)p0/[01] \(pair .* followed by .*of the same pair"):
        ids("pairs", spoil(selected()))


def test_what_llama_factory_is_told(tmp_path):
    (tmp_path / "mine.json").write_text("[]")
    told = {"mine": {"file_name": "mine.json"}, "gone": {"file_name": "gone.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(told))
    dataset_info.write(tmp_path, {"sharegpt.json": True, "messages.jsonl": False})
    found = json.loads((tmp_path / "dataset_info.json").read_text())
    assert list(found) == ["messages", "mine", "sharegpt"]
    assert found["sharegpt"] == {
        "file_name": "sharegpt.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
    }
    assert found["messages"]["columns"] == {"messages": "messages"}
    assert found["messages"]["tags"]["assistant_tag"] == "assistant"
    dataset_info.write(tmp_path, {"messages.jsonl": True})
    assert "messages" not in json.loads((tmp_path / "dataset_info.json").read_text())


def test_diagnostics_meet_their_completions(tmp_path):
    """Two shards of two blocks; p1 has none in its second block, p4 nowhere."""
    told = [["p0/0", "p1/0"], ["p0/1"], ["p2/0", "p3/0"], ["p2/1", "p3/1"]]
    paths = [tmp_path / str(place) for place in range(4)]
    for path, found in zip(paths, told, strict=True):
        path.write_bytes(b"".join(jsonl.dumps({"id": each, "prompt_id": each[:2]}) for each in found))
    diagnostics = Diagnostics(paths, 2)
    wanted = {
        "p0": ["p0/0", "p0/1"],
        "p1": ["p1/0"],
        "p2": ["p2/0", "p2/1"],
        "p3": ["p3/0", "p3/1"],
        "p4": [],
    }
    assert {prompt: sorted(diagnostics.of(prompt)) for prompt in wanted} == wanted
