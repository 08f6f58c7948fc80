"""Dealing prompts over shards: every row once, in turn, and none of it in memory for long."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import dealing as dealings
from winnow import jsonl
from winnow.adapters import adapter
from winnow.dealing import dealing
from winnow.errors import UserError
from winnow.prompting import PromptTemplates, read_prompts
from winnow.shards import PromptFiles

ROOT = Path(__file__).parents[2]


def rows_of(path: Path) -> list:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@given(
    rows=st.lists(st.text(max_size=30), max_size=40), num_shards=st.integers(1, 7), held=st.integers(0, 200)
)
def test_rows_go_round_in_order_however_much_is_held_back(tmp_path_factory, rows, num_shards, held):
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealings, "HELD_BYTES", held)
        with dealing(folder, num_shards) as deal:
            for row in rows:
                deal(row)
    names = [f"{index:05d}-of-{num_shards:05d}.jsonl" for index in range(num_shards)]
    assert sorted(path.name for path in folder.iterdir()) == names
    for index, name in enumerate(names):
        assert rows_of(folder / name) == rows[index::num_shards]


def test_what_is_held_back_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(dealings, "HELD_BYTES", 1000)
    with dealing(tmp_path, 4) as deal:
        for index in range(500):
            deal({"id": index, "text": "x" * 50})
            written = sum(path.stat().st_size for path in tmp_path.iterdir())
            dealt = sum(len(orjson.dumps({"id": i, "text": "x" * 50})) + 1 for i in range(index + 1))
            assert dealt - written <= 1000


def test_an_error_leaves_no_shard_and_an_old_partial_is_not_continued(tmp_path):
    with pytest.raises(ValueError, match="stop"), dealing(tmp_path / "new", 3) as deal:
        deal({"id": 1})
        raise ValueError("stop")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "00000-of-00001.jsonl.partial").write_bytes(b'{"id": "left by a kill"}\n')
    with dealing(tmp_path, 1) as deal:
        deal({"id": 2})
    assert rows_of(tmp_path / "00000-of-00001.jsonl") == [{"id": 2}]


def test_more_shards_than_files_may_be_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with dealing(tmp_path, 200) as deal:
            for index in range(400):
                deal({"id": index})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rows_of(tmp_path / "00199-of-00200.jsonl") == [{"id": 199}, {"id": 399}]


@pytest.mark.parametrize("apart", [1, 30_000])
def test_a_duplicate_is_found_far_from_the_first_beyond_what_memory_holds(apart, monkeypatch):
    monkeypatch.setattr("winnow.duplicates.SEEN_KIB", 16)

    def dataset():
        for number in range(apart):
            yield f"d.jsonl, line {number + 1}", {"id": f"p\0{number}", "prompt": "x"}
        yield f"d.jsonl, line {apart + 1}", {"id": "p\x000", "prompt": "x"}

    prompts = read_prompts(dataset(), adapter("auto"), PromptTemplates())
    for _ in range(apart):
        next(prompts)
    with pytest.raises(UserError, match=rf"line {apart + 1}: id .* stands already in d\.jsonl, line 1\n"):
        next(prompts)


def peak(dataset: Path, output: Path) -> int:
    """Peak resident KiB of prompts.py."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    program = [sys.executable, str(ROOT / "scripts/prompts.py"), "--num_shards", "20"]
    command = [*program, "--dataset", str(dataset), "--output_dir", str(output)]
    return int(subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True).stdout)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def write(count: int) -> Path:
        path = tmp_path / f"{count}.jsonl"
        line = b'{"id": "train-%08d", "prompt": "%s"}\n'
        path.write_bytes(b"".join(line % (index, b"x" * 700) for index in range(count)))
        return path

    few, many = (peak(write(count), tmp_path / str(count)) for count in (10_000, 40_000))
    # 30,000 ids and places alone would be 5 MB in a dict; the rows 25 MB.
    assert many - few < 3_000


def test_prompt_files_are_read_anew_for_each_pass(tmp_path):
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    rows = [{"id": f"p{index}", "messages": [{"role": "user", "content": "x"}]} for index in range(5)]
    rows[3]["images"] = ["a.png"]
    one.write_bytes(b"".join(map(jsonl.dumps, rows[:3])))
    two.write_bytes(b"".join(map(jsonl.dumps, rows[3:])))
    found = PromptFiles([one, two])
    assert len(found) == 5
    assert found.images
    assert not PromptFiles([one]).images
    assert [prompt.id for prompt in found] == [prompt.id for prompt in found] == [row["id"] for row in rows]
    assert next(iter(found)) in found
    two.write_bytes(jsonl.dumps(rows[4]))
    with pytest.raises(UserError, match="changed since this job began"):
        iter(found)
