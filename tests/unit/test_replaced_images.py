"""An image that is replaced under its name: no job shows the new one where the old one was read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from format_samples import SCORERS, selected
from own_modules import refused
from PIL import Image

from winnow import formats, jsonl
from winnow.adapters import adapter
from winnow.formats import files
from winnow.formats.sources import grouped, source
from winnow.formats.verification import Checks, verify
from winnow.generation import Block, Terms, completions, finish, generate
from winnow.images import ImageError
from winnow.journal import Journal
from winnow.prompt_images import ReplacedImage, images_of
from winnow.prompting import PromptTemplates, read_prompts
from winnow.qstar import OptimalSampler, SamplingParameters
from winnow.records import Prompt
from winnow.scoring.judge.question import with_images
from winnow.serving.client import Client, Limits, Service
from winnow.serving.endpoint import Endpoint
from winnow.serving.requests import asks, body

MODEL = Path(__file__).parents[2] / "examples" / "agiqa" / "models" / "policy-step-110"
ROWS = [
    {"id": "text", "messages": [{"role": "user", "content": "What?"}]},
    {"id": "one", "messages": [{"role": "user", "content": "<image>?"}], "images": ["a.png"]},
    {
        "id": "two",
        "messages": [{"role": "user", "content": "<image> or <image>?"}],
        "images": ["b.png", "a.png"],
    },
]


def paint(file, shade):
    Image.new("L", (32, 32), shade).save(file)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for shade, name in enumerate("ab"):
        paint(folder / f"{name}.png", shade)
    return folder


def prompts(root):
    rows = [(f"line {i}", dict(row)) for i, row in enumerate(ROWS)]
    return list(read_prompts(rows, adapter("messages"), PromptTemplates(), root and str(root)))


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_prompts_record_what_their_images_hold(root):
    a, b = (sha256(root / f"{name}.png") for name in "ab")
    found = prompts(root)
    assert [prompt.image_sha256 for prompt in found] == [None, [a], [b, a]]
    assert [Prompt.from_row(prompt.to_row(), "x") for prompt in found] == found
    paint(root / "a.png", 9)
    again = prompts(root)
    assert [one == other for one, other in zip(found, again, strict=True)] == [True, False, False]
    # The ids are of what is asked, and stay.
    assert [prompt.id for prompt in again] == [prompt.id for prompt in found]


def test_records_and_journals_without_images_are_what_they_were(root):
    for prompt in (prompts(root)[0], *prompts(None)):
        assert "image_sha256" not in prompt.to_row()
        keys = ("id", "messages", "teacher_messages", "reference", "images", "metadata")
        before = orjson.dumps({key: getattr(prompt, key) for key in keys})
        told = Block([prompt], range(1), 0, "1", "policy", "m", None).parameters()
        assert told["prompts"] == hashlib.sha256(before).hexdigest()[:16]
    one, other = prompts(root)[1], replace(prompts(root)[1], image_sha256=["0"])
    headers = [Block([each], range(1), 0, "1", "policy", "m", None).parameters() for each in (one, other)]
    assert headers[0] != headers[1]


def test_a_touched_file_is_the_same(root):
    prompt = prompts(root)[1]
    os.utime(root / "a.png", (1, 1))
    assert images_of(prompt, root) == (root / "a.png",)
    state = (root / "a.png").stat()
    content = bytearray((root / "a.png").read_bytes())
    content[-1] ^= 1
    (root / "a.png").write_bytes(content)
    os.utime(root / "a.png", (2, 2))
    assert (root / "a.png").stat().st_size == state.st_size
    with pytest.raises(ReplacedImage, match="is another since the prompts were read"):
        images_of(prompt, root)
    (root / "a.png").unlink()
    with pytest.raises(ImageError, match="is not in"):
        images_of(prompt, root)


def draw(output, block, sampler):
    with Journal(output, block.parameters()) as journal:
        # Every one may fail, and yet this ends the job.
        terms = Terms(1, max_failed_fraction=1.0)
        generate(block, journal, lambda missing: completions(block, missing, sampler, terms))
        finish(block, journal, output, None)
    return list(jsonl.rows(output))


def test_generation_stops_and_goes_on_when_the_file_is_back(root, tmp_path):
    sampler = OptimalSampler(
        MODEL, None, "policy", parameters=SamplingParameters(max_new_tokens=3), image_root=root
    )
    block = Block(prompts(root), range(2), 3, "110", "policy", "hash", None)
    content = (root / "b.png").read_bytes()
    paint(root / "b.png", 200)
    error = refused(draw, tmp_path / "out.jsonl", block, sampler)
    assert error.where == "prompt two" and "b.png is another" in error.found
    assert not (tmp_path / "out.jsonl").exists()
    # Read again, these are other prompts: what was begun is not taken for theirs.
    with Journal(tmp_path / "out.jsonl", block.parameters()) as journal:
        journal.append("text/0", {"completion": {}})
    again = Block(prompts(root), range(2), 3, "110", "policy", "hash", None)
    assert "prompts was" in refused(draw, tmp_path / "out.jsonl", again, sampler).found
    (tmp_path / "out.jsonl.partial").unlink()
    assert "failed" not in {row["finish_reason"] for row in draw(tmp_path / "new.jsonl", again, sampler)}
    (root / "b.png").write_bytes(content)
    rows = draw(tmp_path / "out.jsonl", block, sampler)
    assert len(rows) == 6 and "failed" not in {row["finish_reason"] for row in rows}


def test_a_file_that_is_replaced_while_the_block_is_drawn(root):
    sampler = OptimalSampler(
        MODEL, None, "policy", parameters=SamplingParameters(max_new_tokens=3), image_root=root
    )
    rows = [row for prompt in prompts(root) for row in sampler.rows(prompt, [(f"{prompt.id}/0", 1)])]
    paint(root / "a.png", 9)
    error = refused(lambda: list(sampler.draw(rows, 1)))
    assert "a.png is another" in error.found


def test_no_server_and_no_judge_is_shown_it(root):
    found = prompts(root)[2]
    paint(root / "a.png", 77)
    endpoint = Endpoint("http://127.0.0.1:1/v1", "k", "m")
    service = Service(
        "/chat/completions", lambda ask, at: body(ask, at, SamplingParameters(), root), lambda *_: []
    )
    client = Client([lambda: endpoint], service, Limits(1, 0, 5.0))
    error = refused(list, client.draw(asks([(found, 0, "two/0")], False, 0, 1)))
    assert error.where == "prompt two" and "a.png is another" in error.found
    question = [{"role": "user", "content": "Which?"}]
    assert "a.png is another" in refused(with_images, question, found, root).found


@pytest.mark.parametrize("name", ["messages", "sharegpt", "preference", "agiqa"])
def test_no_row_is_exported_with_it(name, root, tmp_path):
    known = {f"{letter}{i}.png": None for i in range(3) for letter in "ab"}
    for shade, file in enumerate(known):
        paint(root / file, shade)
        known[file] = sha256(root / file)
    members = [
        source(each.row, replace(each.prompt, image_sha256=[known[file] for file in each.prompt.images]))
        for each in selected()
    ]
    fmt = formats.find(name)
    path = tmp_path / fmt.filename
    files.write(path, fmt, (unit for unit, _ in grouped(fmt.takes, members)))
    checks = Checks(SCORERS, image_root=root)
    assert verify(path, fmt, members, checks).images
    paint(root / "b1.png", 99)
    assert "b1.png is another" in refused(verify, path, fmt, members, checks).found
