"""Make the prompts of the arithmetic example: sums of three two-digit numbers.

    python examples/arithmetic/make_prompts.py

writes `data/train.jsonl` (2,000 rows) and `data/heldout.jsonl` (400 rows) beside this file, within a second.
A row is `{"id": "train-0000", "problem": "47+85+36", "answer": "168"}`. The same seed gives the same files.

No two rows hold the same three numbers, in whatever order: 47+85+36 and 85+36+47 are the same sum.
`make_models.py` asks `reserved_operands` for the numbers that its models must not meet in their training.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SEED = 20240
TRAIN_ROWS = 2_000
HELDOUT_ROWS = 400
SMALLEST, LARGEST = 10, 99

Operands = tuple[int, int, int]


class Splits(NamedTuple):
    """The operands of each split, in the order of its rows."""

    train: list[Operands]
    heldout: list[Operands]


def draw_operands(rng: random.Random) -> Operands:
    """Draw three two-digit numbers."""
    return (rng.randint(SMALLEST, LARGEST), rng.randint(SMALLEST, LARGEST), rng.randint(SMALLEST, LARGEST))


def unordered(operands: Operands) -> Operands:
    """Name the sum regardless of the order of its numbers."""
    first, second, third = sorted(operands)
    return first, second, third


def fresh_operands(rng: random.Random, seen: set[Operands]) -> Iterator[Operands]:
    """Draw operands for ever, leaving out those in `seen` and adding to it what is drawn."""
    while True:
        operands = draw_operands(rng)
        if unordered(operands) not in seen:
            seen.add(unordered(operands))
            yield operands


def draw_splits(seed: int = SEED) -> Splits:
    """Draw the operands of both splits."""
    draws = fresh_operands(random.Random(seed), set())
    return Splits(
        train=[next(draws) for _ in range(TRAIN_ROWS)],
        heldout=[next(draws) for _ in range(HELDOUT_ROWS)],
    )


def reserved_operands(seed: int = SEED) -> frozenset[Operands]:
    """Return the operands of both splits, each sorted: what pre-training has to leave out."""
    splits = draw_splits(seed)
    return frozenset(unordered(operands) for operands in splits.train + splits.heldout)


def problem_text(operands: Operands) -> str:
    """Write the sum as a problem: `47+85+36`."""
    return "+".join(map(str, operands))


def rows(split: str, operands: list[Operands]) -> list[dict[str, str]]:
    """Name each problem of a split, with its answer."""
    digits = len(str(len(operands) - 1))
    return [
        {"id": f"{split}-{index:0{digits}d}", "problem": problem_text(numbers), "answer": str(sum(numbers))}
        for index, numbers in enumerate(operands)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the draw (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "data",
        help="folder to write to (default: data, beside this file)",
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for split, operands in draw_splits(arguments.seed)._asdict().items():
        path = arguments.output / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows(split, operands)), encoding="utf-8")
        print(f"{path}: {len(operands):,} rows")


if __name__ == "__main__":
    main()
