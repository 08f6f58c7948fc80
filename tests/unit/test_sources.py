"""Where rows come from: JSON, CSV, Parquet, and a hub by its endpoint; cut, streamed, and named in errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading_hub import hub
from test_adapters import png, refused

from winnow.adapters import json_rows, read_dataset

ROOT = Path(__file__).parents[2]
ROWS = [{"question": f"{i}?", "answer": str(i)} for i in range(7)]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def rows(path, **options):
    return [row for _, row in read_dataset(str(path), **options)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("json")


@settings(max_examples=60, deadline=None)
@given(
    given_rows=st.lists(st.dictionaries(st.text(), values), max_size=6),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
    escaped=st.booleans(),
    listed=st.booleans(),
)
def test_json_is_read_as_json_reads_it(folder, given_rows, chunk, indent, escaped, listed):
    path = folder / "d.json"
    encode = {"indent": indent, "ensure_ascii": escaped}
    text = (
        json.dumps(given_rows, **encode)
        if listed
        else "\n".join(json.dumps(row, **encode) for row in given_rows)
    )
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    before, json_rows.CHUNK = json_rows.CHUNK, chunk
    try:
        assert list(json_rows.objects(path)) == given_rows
    finally:
        json_rows.CHUNK = before


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ('[{"a": 1}, {"a": 2]', 1, "not JSON"),
        ('[{"a": 1}, {"a": "2}]', 1, "not JSON (Unterminated string"),
        ('[{"a": 1} {"a": 2}]', 1, "'{' behind the row before"),
        ('[{"a": 1},]', 1, "']'"),
        ('[{"a": 1}, 3]', 1, "'3]'"),
        ('[{"a": 1}, [2]]', 1, "'[2]]'"),
        ('[{"a": 1}', 1, "the file ends"),
        ('[{"a": 1}] [', 1, "behind the list"),
        ('[{"a": NaN}]', 0, "NaN is no JSON"),
        ("null", 0, "'null'"),
        ('{"a": 1}\n{"a"', 1, "not JSON"),
        ('[{"a": 1}, {"a": ' + "[" * 100_000, 1, "not JSON"),
    ],
)
def test_json_that_is_none_is_named_by_its_row(tmp_path, text, row, words):
    path = tmp_path / "d.json"
    path.write_text(text)
    error = refused(rows, path)
    assert error.where == f"{path}, row {row}"
    assert words in error.found


@given(
    st.integers(-(10**40), 10**40)
    | st.integers(-(1 << 63) - 2, -(1 << 63) + 2)
    | st.integers(2**64 - 3, 2**64 + 3)
)
def test_integers_keep_every_digit_in_lines_as_in_a_list(folder, number):
    row = {"id": number, "deep": [{"answer": number, "text": str(number)}]}
    (folder / "d.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "d.json").write_text(json.dumps([row]))
    [of_lines], [of_list] = rows(folder / "d.jsonl"), rows(folder / "d.json")
    assert of_lines == of_list
    held = number if -(1 << 63) <= number < 1 << 64 else str(number)
    assert of_lines == {"id": held, "deep": [{"answer": held, "text": str(number)}]}
    # Every record can hold it.
    assert orjson.loads(orjson.dumps(of_lines)) == of_lines


def test_integers_of_hundreds_of_digits_and_rows_that_are_too_deep(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"answer": ' + "7" * 300 + "}\n")
    assert rows(path) == [{"answer": "7" * 300}]
    path.write_text('{"id": ' + "7" * 30 + ', "deep": ' + "[" * 1000 + "]" * 1000 + "}\n")
    assert "line 1" in refused(rows, path).where


def test_what_is_no_utf_8_is_named(tmp_path):
    path = tmp_path / "d.json"
    path.write_bytes(b'[{"a": "\xff"}]')
    assert refused(rows, path).where == f"{path}, row 0"
    path = tmp_path / "d.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 5000 + b'"3\n",\xff\n' + b"1,2\n" * 5000)
    error = refused(rows, path)
    assert error.where == f"{path}, line 5003"
    assert "not UTF-8" in error.found


def test_a_row_that_never_ends_is_not_read_to_the_files_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "CHUNK", 1 << 10)
    monkeypatch.setattr(json_rows, "LARGEST_ROW", 1 << 16)
    path = tmp_path / "d.json"
    path.write_text('[{"a": "' + "x" * (1 << 22))
    tracemalloc.start()
    refused(rows, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_memory_does_not_grow_with_a_list(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "CHUNK", 1 << 14)
    peaks = []
    for count in (1_000, 20_000):
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps([{"text": "x" * 200, "i": i} for i in range(count)]))
        tracemalloc.start()
        assert sum(1 for _ in read_dataset(str(path))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_every_kind_of_file_gives_the_same_rows_cut_alike(tmp_path):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "d.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, mark in (("d.csv", ","), ("d.tsv", "\t")):
        lines = [mark.join(("question", "answer")), *(mark.join(row.values()) for row in ROWS)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert rows(path) == ROWS, path
        assert rows(path, start=2, count=3) == ROWS[2:5], path
        where = [where for where, _ in read_dataset(str(path), start=5)]
        told = {".jsonl": "line 6", ".csv": "line 7", ".tsv": "line 7"}.get(path.suffix, "row 5")
        assert where[0] == f"{path}, {told}"
        assert rows(path, start=9) == []
    for name in ("gone.json", "gone.csv", "gone.parquet", "gone.jsonl"):
        assert "gone" in refused(rows, tmp_path / name).where


def test_cells_stay_what_they_are(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('\ufeffproblem,answer,note\n"1, or\n2?",007,\nb,3,"say ""x"""\nc,,\n', encoding="utf-8")
    assert rows(path) == [
        {"problem": "1, or\n2?", "answer": "007", "note": None},
        {"problem": "b", "answer": "3", "note": 'say "x"'},
        {"problem": "c", "answer": None, "note": None},
    ]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", ", line 3", "3 cells"),
        ("a,b\n1,2\n1\n", ", line 3", "1 cells"),
        ("a,b,a\n1,2,3\n", ", line 1", "'a' twice"),
        ('a,b\n1,2\n"1,2\n', ", line 3", "cannot be read"),
        ('a,b\n1,2\n"1,2\n3,4\n', ", lines 3 to 4", "cannot be read"),
        ('a,b\n"1\n2\n\n3",4\n"5\n6"\n', ", lines 6 to 7", "1 cells"),
        ("\na,b\n\n\n1\n", ", line 5", "1 cells"),
        ("a,b\r\n1,2\r\n\r\n1\r\n", ", line 4", "1 cells"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, where, words):
    path = tmp_path / "d.csv"
    path.write_text(text)
    error = refused(rows, path)
    assert error.where == f"{path}{where}"
    assert words in error.found


def test_lines_of_cells_that_hold_line_breaks(tmp_path):
    """What a reader of the file is told is where an editor shows the row."""
    path = tmp_path / "d.csv"
    cells = ["1", "2\n3", "4\r\n\r\n5", "", "6"]
    path.write_text("a,b\n" + "".join(f'"{cell}",x\n' for cell in cells), newline="")
    lines = path.read_text().split("\n")
    for where, row in read_dataset(str(path)):
        first, _, last = where.rpartition("line")[2].lstrip("s ").partition(" to ")
        shown = "\n".join(lines[int(first) - 1 : int(last or first)])
        assert shown == f'"{(row["a"] or "").replace(chr(13), "")}",x'


def test_images_of_a_parquet_file_are_not_decoded(tmp_path):
    from datasets import Dataset, Features, Image, List, Value

    path = tmp_path / "d.parquet"
    held = [{"bytes": png(shade), "path": None} for shade in (1, 2)]
    features = Features({"image": Image(), "images": List(Image()), "problem": Value("string")})
    table = {"image": held, "images": [held, held[:1]], "problem": ["a", "b"]}
    Dataset.from_dict(table, features=features).to_parquet(path)
    found = rows(path)
    assert [row["image"] for row in found] == held
    assert [row["images"] for row in found] == [held, held[:1]]


def prompts_of(dataset: str, folder: Path, endpoint: str, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "0",
    }
    for name in ("HF_TOKEN", "HF_DATASETS_OFFLINE", "HF_DATASETS_CACHE", "HF_HUB_CACHE"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "scripts/prompts.py", "--dataset", dataset, "--output_dir", folder / "out", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_data_set_of_a_hub_by_its_endpoint(tmp_path):
    """HF_ENDPOINT is honoured, and no more is fetched than is taken."""
    content = "".join(json.dumps({"problem": f"{i}?", "answer": str(i)}) + "\n" for i in range(50))
    with hub("somebody/problems", {"train.jsonl": content.encode()}) as (endpoint, asked):
        flags = ("--dataset_adapter", "deepscaler", "--start_idx", "10", "--num_samples", "5")
        done = prompts_of("somebody/problems", tmp_path, endpoint, *flags)
    assert done.returncode == 0, done.stderr
    assert any(request.startswith("GET /datasets/somebody/problems/resolve/") for request in asked), asked
    made = (tmp_path / "out" / "00000-of-00001.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["reference"] for line in made] == ["10", "11", "12", "13", "14"]


def test_images_of_a_hub_are_written_below_the_image_root(tmp_path):
    from datasets import Dataset, Features, Image, List, Value

    features = Features({"images": List(Image()), "problem": Value("string"), "answer": Value("float64")})
    held = [{"bytes": png(shade), "path": "x.png"} for shade in range(3)]
    table = {"images": [[each] for each in held], "problem": ["a", "b", "c"], "answer": [1.5, 2.0, 3.25]}
    Dataset.from_dict(table, features=features).to_parquet(tmp_path / "t.parquet")
    images, content = tmp_path / "images", (tmp_path / "t.parquet").read_bytes()
    with hub("somebody/scores", {"train.parquet": content}) as (endpoint, _):
        flags = ("--dataset_adapter", "agiqa", "--image_root", str(images))
        done = prompts_of("somebody/scores", tmp_path, endpoint, *flags)
    assert done.returncode == 0, done.stderr
    made = [*map(orjson.loads, (tmp_path / "out" / "00000-of-00001.jsonl").read_bytes().splitlines())]
    assert [prompt["reference"] for prompt in made] == ["1.5", "2.0", "3.25"]
    assert [(images / prompt["images"][0]).read_bytes() for prompt in made] == [
        each["bytes"] for each in held
    ]


def test_a_data_set_that_the_hub_has_not(tmp_path):
    with hub("somebody/problems", {"train.jsonl": b"{}\n"}) as (endpoint, _):
        done = prompts_of("somebody/probelms", tmp_path, endpoint)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for part in ("somebody/probelms", "cannot be read as a data set", "HF_ENDPOINT"):
        assert part in done.stderr


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_rows_are_read_from_a_list_as_from_lines(tmp_path, split):
    lines = ROOT / "examples" / "gsm8k" / "data" / f"{split}.jsonl"
    listed = tmp_path / "d.json"
    listed.write_bytes(orjson.dumps(rows(lines)))
    assert rows(listed) == rows(lines)
    assert next(read_dataset(str(listed)))[0] == f"{listed}, row 0"
