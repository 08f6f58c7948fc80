"""trace.py on the files of every format: each row is walked back to the completions that it was made of."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import own_modules
import pyarrow.parquet
import pytest
from format_samples import NAMES, scored
from PIL import Image

from winnow import formats, jsonl
from winnow.adapters import json_rows
from winnow.diagnostics.rollouts import FILENAME, write_results
from winnow.errors import UserError
from winnow.formats.vespo import METRICS
from winnow.records import Prompt
from winnow.selection.groups import read_groups
from winnow.tracing import made_of
from winnow.tracing.rows import row_at, row_numbered, rows_of

ROOT = Path(__file__).parents[2]
N, BLOCK, IDS = 4, 2, ("a", "b", "c", "d")
ARM = "step-460/kl_symmetry/n-4"
SCORERS = ["exact_answer", 'numeric_error={"tolerance": 0.5}']
EXPECTED = {
    "chosen": [[f"{p}/{s}"] for p in IDS for s in (0, 2)],
    "pairs": [[f"{p}/{s}", f"{p}/{s + 1}"] for p in IDS for s in (0, 2)],
    "prompts": [[f"{p}/0", f"{p}/2"] for p in IDS],
    "all": [[f"{p}/{s}"] for p in IDS for s in range(N)],
}
"""What a format's rows are made of, by what it takes."""


def program(name: str) -> ModuleType:
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location(f"program_{name}", ROOT / f"scripts/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(jsonl.dumps, rows)))


def prompt_of(name: str) -> Prompt:
    """Of four prompts, of which c and d are alike but for their ids."""
    place = "abcc"[IDS.index(name)]
    return Prompt(
        name,
        [{"role": "user", "content": f"Scene {place}: which is better?"}],
        reference="Image 1 is better" if place != "b" else "Image 2 is better",
        images=["a.png", "b.png"] if place != "b" else ["b.png", "a.png"],
        metadata={"prompt": f"scene {place}", "path1": "a.png", "path2": "b.png"},
    )


def drawn(prompt: Prompt, sample: int) -> dict[str, Any]:
    """Of four completions, of which 0 and 2 are right and alike, 1 and 3 wrong and alike."""
    said = str(prompt.reference) if sample in (0, 2) else "Image 3 is better"
    row = scored(prompt, sample, said) | {"prompt_tokens": 1, "completion_tokens": 2, "seed": sample}
    row |= {"step": "460", "alpha": "kl_symmetry", "model": "hash1"}
    row["text"] = row["text"].replace(f"Try {sample} of {prompt.id}", f"Try {sample % 2}")
    return row


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards and two blocks, exported in every format."""
    root = tmp_path_factory.mktemp("run") / "results/x"
    accepted, ledger = [], []
    for shard, names in enumerate(("abc", "d")):
        prompts = [prompt_of(name) for name in names]
        stem = f"{shard:05d}-of-00002"
        write(root / f"prompts/train/{stem}.jsonl", [each.to_row() for each in prompts])
        for block in range(N // BLOCK):
            samples = range(block * BLOCK, (block + 1) * BLOCK)
            rows = [drawn(prompt, sample) for prompt in prompts for sample in samples]
            arm = "train/step-460/kl_symmetry"
            write(root / f"scored/{arm}/{stem}.block-{block}.jsonl", rows)
            plain = [{key: value for key, value in row.items() if key != "scores"} for row in rows]
            write(root / f"completions/{arm}/{stem}.block-{block}.jsonl", plain)
            told = [
                {"id": row["id"], "prompt_id": row["prompt_id"], **dict.fromkeys(METRICS, 0.5)}
                for row in rows
            ]
            write(root / f"completions/{arm}/{stem}.block-{block}.diagnostics.jsonl", told)
        for prompt in prompts:
            for sample in range(N):
                role = {"pair": sample // 2, "role": ("chosen", "rejected")[sample % 2]}
                accepted.append(drawn(prompt, sample) | role)
                entry = {"stage": "select", "outcome": "accepted", "reason": "best_worst", **role}
                ledger.append({"id": f"{prompt.id}/{sample}", **entry})
    write(root / "selected" / ARM / "accepted.jsonl", accepted)
    write(root / "selected" / ARM / "ledger.jsonl", ledger)
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(root / f"{name}.png")
    export(root, root / "training_data" / ARM)
    files = sorted((root / "scored/train/step-460/kl_symmetry").glob("*.jsonl"))
    groups = read_groups(sorted((root / "prompts/train").glob("*.jsonl")), files, N, BLOCK)
    (root / "diagnostics" / ARM).mkdir(parents=True)
    write_results(root / "diagnostics" / ARM / FILENAME, groups, "exact_answer")
    return root


def export(root: Path, out: Path) -> None:
    arm = "train/step-460/kl_symmetry"
    module = program("export")
    flags = ["--accepted", root / "selected" / ARM / "accepted.jsonl", "--prompts", root / "prompts/train"]
    flags += ["--scored", root / "scored" / arm, "--diagnostics", root / "completions" / arm]
    flags += ["--num_shards", 2, "--n", N, "--block_size", BLOCK, "--output_dir", out]
    flags += ["--image_root", root, "--scorer", "exact_answer", "--scorers", *SCORERS, "--formats", *NAMES]
    module.main(module.flags().parse_args([str(each) for each in flags]))


@pytest.fixture(scope="module")
def traced(root: Path) -> Any:
    """A function: file and flags → the ids of the completions that trace.py shows."""
    module = program("trace")

    def call(file: Path, *flags: object) -> list[str]:
        given = ["--results", root, "--file", file, *flags]
        found = module.traces(module.flags().parse_args([str(each) for each in given]))
        return [each.ledger[1]["id"] for each in found]

    return call


def file_of(root: Path, name: str) -> Path:
    return root / "training_data" / ARM / formats.find(name).filename


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_every_format(root: Path, traced: Any, name: str) -> None:
    file, expected = file_of(root, name), EXPECTED[formats.find(name).takes]
    assert [traced(file, "--row", number) for number in range(1, len(expected) + 1)] == expected
    first = 2 if file.suffix == ".json" else 1
    assert [traced(file, "--line", first + index) for index in range(len(expected))] == expected
    with pytest.raises(UserError, match=f"no such row: it has {len(expected)}"):
        traced(file, "--row", len(expected) + 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_completion_names_its_rows(root: Path, name: str) -> None:
    """And no other: rows that read alike are told apart by their place."""
    file, expected = file_of(root, name), EXPECTED[formats.find(name).takes]
    module = program("trace")
    for completion in {each for ids in expected for each in ids}:
        (found,) = module.traces(module.flags().parse_args([completion, "--results", str(root)]))
        rows = [each.number for each in found.examples if each.path == file]
        assert rows == [number for number, ids in enumerate(expected, start=1) if completion in ids]


@pytest.mark.parametrize("name", NAMES)
def test_a_neighbour_in_its_place_is_no_source(
    root: Path, traced: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeded fault: records that are off by a prompt never answer for the row that stands there."""
    true = made_of.grouped

    def shifted(takes: Any, sources: Any) -> Any:
        units = list(true(takes, sources))
        step = {"all": N, "prompts": 1}.get(takes, 2)
        return iter(units[step:] + units[:step])

    monkeypatch.setattr(made_of, "grouped", shifted)
    expected = EXPECTED[formats.find(name).takes][0]
    assert expected[0] in traced(file_of(root, name), "--row", 1)


@pytest.mark.parametrize("name", ["messages", "preference", "lightrft", "agiqa", "open_instruct_scores"])
def test_a_file_in_another_order(root: Path, traced: Any, name: str, tmp_path: Path) -> None:
    """A row that is not at its place is of all that read like it."""
    file = file_of(root, name)
    rows = [row.content for row in rows_of(file)]
    moved = tmp_path / "other.json"
    moved.write_bytes(orjson.dumps(rows[::-1]))
    found = traced(moved, "--row", len(rows), "--format", name)
    expected = EXPECTED[formats.find(name).takes]
    alike = [ids for ids, row in zip(expected, rows, strict=True) if row == rows[0]]
    assert found == list(dict.fromkeys(each for ids in alike for each in ids))


@pytest.mark.parametrize("indent", [0, 2, "\t"])
def test_lists_that_are_laid_out(root: Path, traced: Any, tmp_path: Path, indent: Any) -> None:
    """Any line of the row; brackets of the list are of none."""
    rows = json.loads(file_of(root, "lightrft").read_bytes())
    file = tmp_path / "rejection_sampling_train.json"
    file.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 3 * len(rows)
    found = {}
    for row in rows_of(file):
        assert row.lines is not None
        first, last = row.lines
        assert json.loads("\n".join(lines[first - 1 : last]).rstrip().rstrip(",")) == row.content
        for line in (first, (first + last) // 2, last):
            found[line] = row_at(file, line).number
    assert sorted(set(found.values())) == list(range(1, len(rows) + 1))
    assert traced(file, "--line", 3) == EXPECTED["chosen"][0]
    for line in (1, len(lines)):
        with pytest.raises(UserError, match="a bracket of the list"):
            row_at(file, line)
    with pytest.raises(UserError, match="no such line"):
        row_at(file, len(lines) + 1)


def test_lines_of_large_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are counted across the pieces in which a file is read."""
    rows = [{"text": "line\nbreak" * size, "more": [size]} for size in (0, 1, 40, 3)]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if line == " {"]
    for chunk in (1, 2, 7, 1 << 20):
        monkeypatch.setattr(json_rows, "CHUNK", chunk)
        found = list(json_rows.placed(file))
        assert [first for first, _, _ in found] == starts
        assert [row for _, _, row in found] == rows


def test_rows_that_share_a_line(root: Path, traced: Any, tmp_path: Path) -> None:
    file = tmp_path / "sharegpt.json"
    file.write_text(json.dumps(json.loads(file_of(root, "sharegpt").read_bytes())))
    with pytest.raises(UserError, match=r"rows 1 to 8 share this line(?s:.*)by --row"):
        traced(file, "--line", 1)
    assert traced(file, "--row", 5) == EXPECTED["chosen"][4]


def test_rollouts_are_of_all_that_have_an_error(root: Path, traced: Any) -> None:
    file = root / "diagnostics" / ARM / FILENAME
    # By exact_answer the wrong ones have the smallest value.
    assert [traced(file, "--line", line) for line in range(2, 6)] == [
        [f"{p}/{s}" for s in (1, 0, 2, 3)] for p in IDS
    ]


def test_a_row_that_was_changed(root: Path, traced: Any, tmp_path: Path) -> None:
    for name in NAMES:
        fmt, row = formats.find(name), row_numbered(file_of(root, name), 1).content
        if name in ("parquet", "vespo_diagnostics"):
            continue
        text = orjson.dumps(row).replace(b"cene a", b"cene z").replace(b"Try 0", b"Try 9")
        (tmp_path / fmt.filename).write_bytes(text + b"\n")
        with pytest.raises(UserError, match=r"no completion of .* reads like this row"):
            traced(tmp_path / fmt.filename, "--row", 1)
    table = pyarrow.parquet.read_table(file_of(root, "parquet"))
    changed = table.set_column(6, "responses", [["other"]] * len(table))
    pyarrow.parquet.write_table(changed, tmp_path / "train.parquet")
    with pytest.raises(UserError, match="reads like this row"):
        traced(tmp_path / "train.parquet", "--row", 1)


def test_a_row_of_another_format(root: Path, traced: Any) -> None:
    with pytest.raises(UserError, match=r"messages\.jsonl, line 1: no row of this format"):
        traced(file_of(root, "messages"), "--row", 1, "--format", "parquet")
    with pytest.raises(UserError, match="did you mean 'messages'"):
        traced(file_of(root, "messages"), "--row", 1, "--format", "message")


def test_files_that_are_none(root: Path, traced: Any, tmp_path: Path) -> None:
    torn = tmp_path / "train.parquet"
    torn.write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match="no table"):
        traced(torn, "--row", 1)
    with pytest.raises(UserError, match="cannot be read"):
        traced(tmp_path / "none.parquet", "--line", 1)
    with pytest.raises(UserError, match="both a line and a row"):
        traced(torn, "--row", 1, "--line", 1)


def test_a_file_outside_of_its_arm(root: Path, traced: Any, tmp_path: Path) -> None:
    """Of arms that have other completions which read alike, one has to be named; an n is only a view."""
    copy = tmp_path / "run"
    shutil.copytree(root, copy)
    narrow, other = "step-460/kl_symmetry/n-3", "step-460/policy/n-4"
    shutil.copytree(copy / "selected" / ARM, copy / "selected" / narrow)
    file = shutil.copy(file_of(root, "preference"), tmp_path)
    module = program("trace")

    def ids(*flags: object) -> list[str]:
        given = ["--results", copy, "--file", file, "--row", 1, *flags]
        found = module.traces(module.flags().parse_args([str(each) for each in given]))
        return [each.ledger[1]["id"] for each in found]

    assert ids() == ["a/0", "a/1"]
    shutil.copytree(copy / "selected" / ARM, copy / "selected" / other)
    with pytest.raises(UserError, match=rf"completions of several arms read like this row: .*{other}"):
        ids()
    assert ids("--alpha", "policy") == ["a/0", "a/1"]


OWN = """
    from winnow.formats import Conversation

    class Upside:
        filename = "upside.jsonl"

        def to_row(self, conversation):
            asked = conversation.messages[0]["content"]
            return {"text": f"{conversation.completion} <- {asked}", "seen": conversation.images}

        def from_row(self, row):
            said, _, asked = row["text"].rpartition(" <- ")
            return Conversation([{"role": "user", "content": asked}], said, row["seen"])
"""


def test_a_format_of_ones_own(
    root: Path, traced: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by its import path; without it, by texts that have to be there as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = own_modules.module(OWN) + ":Upside"
    fmt = formats.find(name)
    rows = [fmt.to_row(formats.find("messages").from_row(row)) for row in contents(root)]
    write(tmp_path / "upside.jsonl", rows)
    expected = EXPECTED["chosen"]
    found = [traced(tmp_path / "upside.jsonl", "--row", n + 1, "--format", name) for n in range(len(rows))]
    assert found == expected
    with pytest.raises(UserError, match="reads like this row"):
        traced(tmp_path / "upside.jsonl", "--row", 1)
    write(tmp_path / "whole.jsonl", contents(root))
    assert traced(tmp_path / "whole.jsonl", "--line", 3) == ["b/0", "b/2"], "both read so"


def contents(root: Path) -> list[dict[str, Any]]:
    return [row.content for row in rows_of(file_of(root, "messages"))]


@pytest.mark.parametrize("format_name", ["open_instruct_completions", "messages"])
def test_shards_of_another_number_lie_there_still(
    root: Path, tmp_path: Path, format_name: str, traced: Any
) -> None:
    """data.train.shards was 1 and then 2; of the one, prompts and half of the scored blocks are left."""
    older = tmp_path / "results/x"
    shutil.copytree(root, older)
    name = "00000-of-00001"
    for path in (
        older / f"prompts/train/{name}.jsonl",
        older / f"scored/train/step-460/kl_symmetry/{name}.block-0.jsonl",
    ):
        path.write_bytes(b"".join(jsonl.dumps(prompt_of(each).to_row()) for each in IDS))
        os.utime(path, (1, 1))
    fmt = formats.find(format_name)
    file = older / "training_data" / ARM / fmt.filename
    expected = EXPECTED[fmt.takes]
    for row in (1, len(expected)):
        assert traced(file, "--results", older, "--row", row) == expected[row - 1]
