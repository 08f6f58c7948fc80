"""Seeded faults: a file of training data that differs from what was selected never gets its name."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import replace

import pytest
from format_samples import NAMES, PROMPTS, SCORERS, selected, write
from PIL import Image
from templates_in_python import rendering

from winnow import formats
from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.sources import source
from winnow.formats.verification import Checks, verify

TEXTS = Checks(SCORERS)
WITH_TEXT = [name for name in NAMES if name not in ("agiqa", "vespo_diagnostics")]
PAIRS = [name for name in NAMES if formats.find(name).takes == "pairs"]
TEXTLESS = {"agiqa", "vespo_diagnostics"}
ASKING = {*NAMES} - {"lightrft_samples", "vespo_diagnostics"}
RENDERED = sorted({*WITH_TEXT} - {"lightrft_samples", "open_instruct_completions", "open_instruct_scores"})
SCORED = {"open_instruct", "open_instruct_scores"}


def rewrite(path, fmt, edit):
    """Change the rows of a file as a fault would."""
    rows = edit([row for _, row in files.rows(path)])
    if path.suffix == ".parquet":
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows, schema=fmt.schema()), path)
    elif path.suffix == ".json":
        path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def replaced(old, new):
    """An edit of every text in the rows."""
    return lambda rows: json.loads(json.dumps(rows).replace(old, new))


def swapped(rows):
    """The images of every row the other way round, wherever the format keeps them."""
    return json.loads(
        re.sub(
            r"(a)(\d)\.png|(b)(\d)\.png",
            lambda m: f"{'b' if m[1] else 'a'}{m[2] or m[4]}.png",
            json.dumps(rows),
        )
    )


def exchanged(rows):
    return [rows[0], rows[2], rows[1], *rows[3:]]


def chosen_and_rejected(rows):
    return json.loads(
        json.dumps(rows).replace('"chosen', '"@').replace('"rejected', '"chosen').replace('"@', '"rejected')
    )


def references(rows):
    rows = copy.deepcopy(rows)
    first, last = rows[0], rows[-1]
    for key in ("reference_completion", "reward_model", "answer"):
        if key in first:
            first[key], last[key] = last[key], first[key]
    return rows


FAULTS = {
    "images in another order": (swapped, {*NAMES} - {"vespo_diagnostics"}),
    "two rows exchanged": (exchanged, {*NAMES}),
    "a row missing": (lambda rows: rows[:-1], {*NAMES}),
    "a row twice": (lambda rows: [*rows, rows[-1]], {*NAMES}),
    "a tag stripped": (replaced("</think>", ""), {*NAMES} - TEXTLESS),
    "a character less": (replaced("</answer>", "</answer"), {*NAMES} - TEXTLESS),
    "another question": (
        replaced('1 + 1?"', '1 + 2?"'),
        {*NAMES} - {"lightrft_samples", "vespo_diagnostics"},
    ),
    "a reference swapped": (references, {n for n in NAMES if n.startswith("open_instruct")} | {"parquet"}),
    "chosen and rejected exchanged": (chosen_and_rejected, {*PAIRS}),
    "an index skipped": (replaced('"sample_idx": 1', '"sample_idx": 2'), {"vespo", "vespo_diagnostics"}),
    "a score changed": (
        replaced('"exact_answer": 1.0', '"exact_answer": 0.5'),
        {"open_instruct", "open_instruct_scores"},
    ),
    "a field changed": (replaced('"level": 1', '"level": 2'), {"vespo", "lightrft_samples"}),
}
CASES = [(fault, name) for fault, (_, caught) in FAULTS.items() for name in NAMES if name in caught]


@pytest.mark.parametrize(("fault", "name"), CASES)
def test_a_file_that_differs_is_caught(fault, name, tmp_path):
    members = selected()
    path, fmt = write(tmp_path, name, members)
    rows = [row for _, row in files.rows(path)]
    assert verify(path, fmt, members, TEXTS).rows == len(rows)
    rewrite(path, fmt, lambda same: same)
    assert verify(path, fmt, members, TEXTS).rows == len(rows)
    rewrite(path, fmt, FAULTS[fault][0])
    assert [row for _, row in files.rows(path)] != rows
    with pytest.raises(UserError, match=r"completion p\d/\d: |more than the|no <answer>") as error:
        verify(path, fmt, members, TEXTS)
    assert path.name in str(error.value)


def test_the_message_names_what_differs(tmp_path):
    members = selected()
    for name, edit, words in (
        ("messages", swapped, "another images"),
        ("sharegpt", replaced("</answer>", "</answer"), "another completion"),
        ("preference", chosen_and_rejected, "another chosen"),
        ("open_instruct", references, "another chosen origin reference"),
        (
            "open_instruct_completions",
            replaced('"model_completion": "<', '"model_completion": "<<'),
            "another 'model_completion'",
        ),
    ):
        path, fmt = write(tmp_path, name, members)
        rewrite(path, fmt, edit)
        with pytest.raises(UserError, match="does not read back as what was selected: " + words):
            verify(path, fmt, members, TEXTS)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_reference_swapped_in_the_prompts_is_caught(name, tmp_path):
    """What the file was made of has changed with it: only the verifiers notice."""
    prompts = [replace(PROMPTS[0], reference="4"), PROMPTS[1], replace(PROMPTS[2], reference="0")]
    spoilt = [source(each.row, prompts[int(each.prompt.id[1:])]) for each in selected()]
    path, fmt = write(tmp_path, name, spoilt)
    with pytest.raises(UserError, match=r"completion p0/0: verification: exact_answer now gives 0\.0"):
        verify(path, fmt, spoilt, TEXTS)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_completion_changed_in_the_records_is_caught(name, tmp_path):
    members = selected()
    row = members[2].row
    members[2] = source({**row, "text": row["text"].replace("<answer>2", "<answer>7")}, members[2].prompt)
    path, fmt = write(tmp_path, name, members)
    with pytest.raises(UserError, match=r"completion p1/0: verification: exact_answer now gives"):
        verify(path, fmt, members, TEXTS)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"a{i}.png")
        Image.new("RGB", (4, 4), (0, i, 9)).save(folder / f"b{i}.png")
    return folder


def hashed(folder, members):
    """The same with the SHA-256 of each image as it was shown."""
    told = {
        each.prompt.id: [
            hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in each.prompt.images
        ]
        for each in members
    }
    return [
        source(
            each.row,
            replace(each.prompt, metadata={**each.prompt.metadata, "image_sha256": told[each.prompt.id]}),
        )
        for each in members
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vespo_diagnostics"])
def test_images_are_resolved_again(name, tmp_path, pictures):
    members = hashed(pictures, selected())
    path, fmt = write(tmp_path, name, members)
    checks = Checks(SCORERS, image_root=pictures)
    assert verify(path, fmt, members, checks).images
    one, other = (pictures / f"{letter}1.png" for letter in "ab")
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    with pytest.raises(
        UserError, match=r"(?s)completion p1/0: prompt 'p1': image 1 of 2, 'a1\.png', has SHA-256"
    ):
        verify(path, fmt, members, checks)
    one.unlink()
    with pytest.raises(UserError, match=r"completion p1/0: prompt 'p1': the image 'a1\.png' is not in"):
        verify(path, fmt, members, checks)
    one.symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"completion p1/0: prompt 'p1': the image 'a1\.png' lies outside"):
        verify(path, fmt, members, checks)


@pytest.mark.parametrize("name", RENDERED)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.split("</think>")[-1], "<think> of the completion is lost"),
        (lambda text: text.replace("</think>", ""), "</think> of the completion is lost"),
        (lambda text: text.replace("<answer>", ""), "<answer> of the completion is lost"),
        (lambda text: text[:-1], "</answer> of the completion is lost"),
        (lambda text: text.replace("Try", "try"), "the completion is not in the rendered text as it stands"),
    ],
    ids=["reasoning dropped", "tag stripped", "other tag stripped", "cut", "reworded"],
)
def test_a_template_that_changes_the_completion_is_caught(name, change, words, tmp_path):
    members = selected()
    path, fmt = write(tmp_path, name, members)
    assert verify(path, fmt, members, Checks(SCORERS, rendering())).rows == 3
    with pytest.raises(UserError) as error:
        verify(path, fmt, members, Checks(SCORERS, rendering(change=change)))
    message = str(error.value)
    for part in (path.name, "completion p0/0", "chat template of models/mine", words):
        assert part in message
