"""Make the pictures and the prompts of both image examples: `examples/agiqa` and `examples/hpdv3`.

    python examples/agiqa/make_images.py

writes `data` in both folders within a few seconds: grey PNG files of 32 × 32 pixels, and what is asked of
them. The same seed gives the same files.

- agiqa: `train.jsonl` and `heldout.jsonl`, a picture a row with its mean opinion score, in the fields of
  AGIQA's rows: `{"id", "problem": "<image>…", "images": [path], "answer": "3.2"}`.
- hpdv3: pairs of pictures of one scene. `train.json` and `heldout.json` have the form of HPDv3: `path1` is
  the preferred one. `train.jsonl` and `heldout.jsonl` show each pair in a random order, drawn here once and
  for all: `{"id", "prompt", "images": [first shown, second shown], "answer": "Image 2 is better", …}`.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from conversations import RATE, opinion, verdict
from pictures import draw_scene, draw_score, noisy
from PIL import Image

SEED = 20260
RATED = {"train": 240, "heldout": 96}
"""Pictures of agiqa."""
SCENES = {"train": 40, "heldout": 24}
"""Scenes of hpdv3; each is drawn by every model, and every two of them are compared."""
DRAWN_BY = ("drawer-a", "drawer-b", "drawer-c", "drawer-d")
LEAST_DIFFERENCE = 0.5
"""Of the scores of a pair: nobody can tell nearer ones apart."""
RATERS = 20

Row = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A picture of a scene.

    Attributes:
        path: relative to the data folder.
        model: that drew it.
        score: its mean opinion score.
    """

    path: str
    model: str
    score: float


def rated(split: str, folder: Path, rng: np.random.Generator) -> Iterator[Row]:
    """Pictures with their mean opinion scores."""
    for index in range(RATED[split]):
        name, score = f"{split}-{index:03d}", draw_score(rng)
        path = f"images/{name}.png"
        Image.fromarray(noisy(draw_scene(rng), score, rng)).save(folder / path, optimize=True)
        yield {"id": name, "problem": RATE, "images": [path], "answer": f"{score:.1f}"}


def compared(split: str, folder: Path, rng: np.random.Generator) -> Iterator[Row]:
    """Pairs in HPDv3's form, the preferred picture first."""
    for index in range(SCENES[split]):
        scene = draw_scene(rng)
        drawn = []
        for model in DRAWN_BY:
            score = draw_score(rng)
            path = f"images/{split}-{index:02d}-{model}.png"
            Image.fromarray(noisy(scene, score, rng)).save(folder / path, optimize=True)
            drawn.append(Drawn(path, model, score))
        for one, other in itertools.combinations(drawn, 2):
            better, worse = (one, other) if one.score > other.score else (other, one)
            if better.score - worse.score < LEAST_DIFFERENCE:
                continue
            votes = sum(opinion(better.score, rng) > opinion(worse.score, rng) for _ in range(RATERS))
            yield {
                "path1": better.path,
                "path2": worse.path,
                "prompt": scene.caption,
                "confidence": votes / RATERS,
                "choice_dist": [votes, RATERS - votes],
                "model1": better.model,
                "model2": worse.model,
            }


def shown(split: str, pairs: list[Row], rng: np.random.Generator) -> Iterator[Row]:
    """The same pairs, each in the order in which it is shown."""
    for index, pair in enumerate(pairs):
        preferred_first = bool(rng.random() < 0.5)
        images = [pair["path1"], pair["path2"]]
        yield {
            "id": f"{split}-{index:03d}",
            "prompt": pair["prompt"],
            "images": images if preferred_first else images[::-1],
            "answer": verdict(1, 0) if preferred_first else verdict(0, 1),
            "confidence": pair["confidence"],
        }


def write_rows(path: Path, rows: list[Row]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows):,} rows")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the draw (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent.parent,
        help="folder that gets agiqa/data and hpdv3/data (default: the examples)",
    )
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rating, comparing = (arguments.output / name / "data" for name in ("agiqa", "hpdv3"))
    for folder in (rating, comparing):
        (folder / "images").mkdir(parents=True, exist_ok=True)
    for split in ("train", "heldout"):
        write_rows(rating / f"{split}.jsonl", list(rated(split, rating, rng)))
        pairs = list(compared(split, comparing, rng))
        (comparing / f"{split}.json").write_text(json.dumps(pairs, indent=1) + "\n", encoding="utf-8")
        write_rows(comparing / f"{split}.jsonl", list(shown(split, pairs, rng)))


if __name__ == "__main__":
    main()
