"""Float64: a completion depends on its id, not on shards, batches or order."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from workspace import Workspace

pytestmark = pytest.mark.slow

DRAWING = [
    "--model_theta", "models/middle", "--model_t", "models/teacher", "--alpha_method", "kl_symmetry",
    "--num_rollout", "3", "--max_new_tokens", "48", "--dtype", "float64", "--seed", "3",
]  # fmt: skip


def texts(space: Workspace, name: str, shards: int, batch_size: int, reverse: bool = False) -> dict[str, str]:
    """Prompts dealt over shards, drawn with one batch size; id → text."""
    data = space.root / f"{name}.jsonl"
    rows = (space.root / "examples/arithmetic/data/train.jsonl").read_bytes().splitlines(keepends=True)[:30]
    data.write_bytes(b"".join(reversed(rows) if reverse else rows))
    prompts = space.root / f"prompts-{name}"
    made = space.program(
        "prompts", "--dataset", str(data), "--num_shards", str(shards), "--output_dir", str(prompts),
        "--prompt_template", "What is {{ problem }}?",
        "--teacher_template", "What is {{ problem }}? The answer is {{ reference }}.",
    )  # fmt: skip
    assert made.code == 0, made.text
    found = {}
    for shard in sorted(prompts.glob("*.jsonl")):
        output = space.root / f"{name}-{shard.name}"
        files = ("--prompts", str(shard), "--output", str(output))
        drawn = space.program("generate", *DRAWING, *files, "--batch_size", str(batch_size))
        assert drawn.code == 0, drawn.text
        for line in output.read_bytes().splitlines():
            row = orjson.loads(line)
            found[row["id"]] = row["text"]
    return found


def test_shards_batch_sizes_and_order(tmp_path: Path) -> None:
    space = Workspace.fresh(tmp_path)
    one = texts(space, "one-32", shards=1, batch_size=32)
    assert len(one) == 90
    assert len(set(one.values())) > 30
    assert texts(space, "one-1", shards=1, batch_size=1) == one
    assert texts(space, "two-7", shards=2, batch_size=7) == one
    assert texts(space, "five-32", shards=5, batch_size=32) == one
    assert texts(space, "reversed-7", shards=1, batch_size=7, reverse=True) == one
