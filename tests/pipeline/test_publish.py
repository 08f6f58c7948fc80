"""publish.py on a run that Snakemake made: the card's commands are those that Snakemake recorded."""

from __future__ import annotations

import orjson
from workspace import Workspace


def test_the_card_of_a_real_run(finished: Workspace) -> None:
    arguments = ("--results", "results/small", "--repo_id", "someone/small", "--dry_run")
    outcome = finished.program("publish", *arguments)
    assert outcome.code == 0, outcome.text
    folder = finished.results / "training_data/step-middle/policy/n-4"
    rows = len((folder / "messages.jsonl").read_bytes().splitlines())
    cells = f"| {rows} | {(folder / 'messages.jsonl').stat().st_size:,} |"
    assert cells in outcome.text
    manifest = orjson.loads((finished.results / "models/policy-middle/manifest.json").read_bytes())
    for told in (
        f"| policy-middle | models/middle | {manifest['model']} |",
        "| data set | examples/arithmetic/data/train.jsonl |",
        "scripts/select.py",
        "--strategy correct",
        "--max_new_tokens 48",
        "Seed of drawing: 3; of the selection: 3.",
        "verified with exact\\_answer, numeric\\_error: what scores a text alone scored it again",
    ):
        assert told in outcome.text, told
    assert "no record" not in outcome.text and "the card lacks" not in outcome.text
    noted = orjson.loads((finished.results / "logs/snakemake.json").read_bytes())
    assert noted == [{"folder": str(finished.root), "results": "results/small"}]
    assert str(finished.root) not in outcome.text
