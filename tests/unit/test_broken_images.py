"""A prompt whose image cannot be shown costs its own completions, not the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from winnow import jsonl
from winnow.adapters import adapter
from winnow.errors import UserError
from winnow.generation import Block, Terms, completions, finish, generate
from winnow.journal import Journal
from winnow.prompting import PromptTemplates, read_prompts
from winnow.qstar import OptimalSampler, SamplingParameters
from winnow.records import Prompt

MODEL = Path(__file__).parents[2] / "examples" / "agiqa" / "models" / "policy-step-110"


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (32, 32), 100).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:40])
    return folder


@pytest.fixture
def sampler(root) -> OptimalSampler:
    return OptimalSampler(
        MODEL, None, "policy", parameters=SamplingParameters(max_new_tokens=3), image_root=root
    )


def ask(name: str, *images: str, marks: int = 1) -> Prompt:
    return Prompt(name, [{"role": "user", "content": "<image>" * marks + "?"}], images=list(images))


PROMPTS = [
    ask("whole", "whole.png"),
    ask("cut", "cut.png"),
    ask("missing", "missing.png"),
    ask("other", "whole.png"),
    ask("two", "whole.png", marks=2),
]
BLOCK = Block(PROMPTS, range(2), 3, "110", "policy", "hash", None)


def draw(output: Path, sampler: OptimalSampler, share: float) -> list[dict]:
    terms = Terms(4, max_failed_fraction=share)
    with Journal(output, BLOCK.parameters()) as journal:
        generate(BLOCK, journal, lambda missing: completions(BLOCK, missing, sampler, terms))
        finish(BLOCK, journal, output, None)
    return list(jsonl.rows(output))


def test_the_others_are_drawn_and_the_reason_is_told(tmp_path, sampler, caplog):
    rows = draw(tmp_path / "out.jsonl", sampler, 0.6)
    assert [row["id"] for row in rows] == [f"{each.id}/{i}" for each in PROMPTS for i in range(2)]
    failed = {row["prompt_id"]: row["detail"] for row in rows if row["finish_reason"] == "failed"}
    assert list(failed) == ["cut", "missing", "two"]
    assert "prompt cut: " in failed["cut"] and "cannot be read" in failed["cut"]
    assert "'missing.png' is not in" in failed["missing"]
    assert "1 images, and 2 times <image>" in failed["two"]
    assert all("\n" not in told for told in failed.values())
    assert "6 completions failed; the ledger has them" in caplog.text
    assert all(row["completion_tokens"] for row in rows if row["prompt_id"] in ("whole", "other"))


def test_too_many_end_the_job_and_none_of_them_is_kept(tmp_path, sampler, root):
    output = tmp_path / "out.jsonl"
    with pytest.raises(UserError, match=r"at most 5 that fail \(--max_failed_fraction\)") as error:
        draw(output, sampler, 0.5)
    assert error.value.where == "prompt two"
    Image.new("L", (32, 32)).save(root / "missing.png")
    # Mended: it is drawn by the same command.
    rows = draw(output, sampler, 0.5)
    assert {row["prompt_id"] for row in rows if row["finish_reason"] == "failed"} == {"cut", "two"}


def test_without_a_share_one_is_too_many(tmp_path, sampler):
    with pytest.raises(UserError, match=r"prompt cut: .*2 completions have failed so far"):
        draw(tmp_path / "out.jsonl", sampler, 0.0)


def test_rows_whose_images_and_placeholders_do_not_match_are_named(caplog):
    def read(template: str, row: dict) -> list[Prompt]:
        return list(read_prompts([("train.jsonl, line 7", row)], adapter("auto"), PromptTemplates(template)))

    row = {"id": "p7", "prompt": "Which?", "images": ["a.png", "b.png"]}
    with pytest.raises(UserError, match="2 images, and 1 times <image>") as error:
        read("<image>{{ prompt }}", row)
    assert error.value.where == "train.jsonl, line 7: prompt p7"
    assert read("<image><image>{{ prompt }}", row)[0].images == ["a.png", "b.png"]
    assert read("{{ prompt }}", row)
    assert not caplog.text
    # Text about images is text.
    assert read("{{ prompt }}", {"prompt": "What does <image> mean?"})
    # Or an image under another name, which nobody would see.
    assert (
        "1 prompts have <image> in their text and no images, the first in train.jsonl, line 7" in caplog.text
    )
