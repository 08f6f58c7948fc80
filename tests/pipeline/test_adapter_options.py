"""Adapters through Snakemake: options and the seed remake prompts where they matter, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from workspace import Workspace

pytestmark = pytest.mark.slow

PROMPTS = "results/small/prompts/train/00000-of-00001.jsonl"
PAIRS = [{"path1": f"{i}-a.png", "path2": f"{i}-b.png", "prompt": f"cat {i}"} for i in range(24)]


@pytest.fixture
def pairs(tmp_path: Path) -> Workspace:
    space = Workspace.fresh(tmp_path)
    (space.root / "pairs.json").write_text(json.dumps(PAIRS))
    (space.root / "pictures").mkdir()
    for row in PAIRS:
        for key in ("path1", "path2"):
            (space.root / "pictures" / row[key]).write_bytes(b"x")
    configure(space)
    return space


def configure(space: Workspace, seed: int = 3, **options: object) -> None:
    def change(config: dict) -> None:
        config["seed"] = seed
        config["data"] = {
            "adapter": "hpdv3",
            "adapter_options": options,
            "image_root": "pictures",
            "train": {"path": "pairs.json"},
            "heldout": {"path": "pairs.json"},
        }
        config["prompt"] = {}

    space.configure(change)


def made(space: Workspace) -> list[dict]:
    space.run(PROMPTS)
    return [orjson.loads(line) for line in (space.root / PROMPTS).read_bytes().splitlines()]


def test_pairs_and_what_remakes_them(pairs: Workspace) -> None:
    before = made(pairs)
    for row, prompt in zip(PAIRS, before, strict=True):
        place = prompt["images"].index(row["path1"])
        assert prompt["reference"] == f"Image {place + 1} is better"
    assert "<think>" in before[0]["messages"][0]["content"]
    assert pairs.snakemake("-n", PROMPTS).nothing_to_do
    configure(pairs, use_cot=False)
    assert pairs.plan(PROMPTS).jobs == {"prompts_train": 1}
    answer_alone = made(pairs)
    assert "<think>" not in answer_alone[0]["messages"][0]["content"]
    assert [p["images"] for p in answer_alone] == [p["images"] for p in before]
    configure(pairs, seed=4)
    assert [p["images"] for p in made(pairs)] != [p["images"] for p in before]


def test_a_missing_image_is_named_when_prompts_are_made(pairs: Workspace) -> None:
    (pairs.root / "pictures" / "7-b.png").unlink()
    outcome = pairs.snakemake(PROMPTS)
    assert outcome.code != 0
    for part in ("pairs.json, row 7", "'7-b.png' is not in", "to mend:"):
        assert part in outcome.text
    assert not (pairs.root / PROMPTS).exists()


def test_another_seed_reads_no_text_again(pairs: Workspace) -> None:
    pairs.configure()
    target = "results/small/prompts/train/00000-of-00002.jsonl"
    pairs.run(target)
    pairs.configure(lambda config: config.update(seed=99))
    assert pairs.snakemake("-n", target).nothing_to_do
