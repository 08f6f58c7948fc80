"""The files of a run's results folder, as far as they are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from winnow.arms import Arm
from winnow.errors import UserError
from winnow.formats import dataset_info, files

Line = tuple[Path, int]
"""A file, and a line of it from 1."""


@dataclass(frozen=True)
class Narrowed:
    """Which arms to look at; None is any."""

    step: str | None = None
    alpha: str | None = None
    n: int | None = None

    def holds(self, arm: Arm) -> bool:
        """Whether an arm is one of them."""
        wanted = ((self.step, arm.step), (self.alpha, arm.alpha), (self.n, arm.n))
        return all(asked is None or asked == found for asked, found in wanted)


class Run:
    """A results folder.

    Raises:
        UserError: it is none.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / "prompts").is_dir() and not (root / "selected").is_dir():
            raise UserError(
                root,
                "no prompts/ and no selected/ in it",
                "the folder of a run, as results/arithmetic",
                "name the run's folder by --results",
            )

    def arms(self, wanted: Narrowed) -> list[Arm]:
        """The selected arms that are wanted, smaller n first.

        Raises:
            UserError: there is none.
        """
        found = [_arm(path.parent) for path in sorted(self.root.glob("selected/step-*/*/n-*/ledger.jsonl"))]
        kept = sorted((arm for arm in found if wanted.holds(arm)), key=lambda a: (a.step, a.alpha, a.n))
        if not kept:
            there = ", ".join(arm.path for arm in found) or "none"
            raise UserError(
                self.root, f"no selected arm that is asked for (it has {there})", "an arm with its ledger",
                "correct --step, --alpha or --n, or select it first",
            )  # fmt: skip
        return kept

    def selected(self, arm: Arm, name: str) -> Path:
        """A file of an arm's selection."""
        return self.root / "selected" / arm.path / name

    def prompts(self) -> list[Path]:
        """The shards of the training prompts."""
        return sorted(self.root.glob("prompts/train/*.jsonl"))

    def blocks(self, stage: str, arm: Arm) -> list[Path]:
        """The blocks of an arm in `completions` or `scored`."""
        return [
            path
            for path in sorted(self.folder(stage, arm).glob("*.jsonl"))
            if not path.name.endswith(".diagnostics.jsonl")
        ]

    def folder(self, stage: str, arm: Arm) -> Path:
        """The folder of the blocks of `completions` or `scored` that an arm looks at."""
        return self.root / stage / "train" / f"step-{arm.step}" / arm.alpha

    def manifests(self) -> Iterator[Path]:
        """The manifests of its models: described ones and trained ones."""
        yield from sorted(self.root.glob("models/*/manifest.json"))
        yield from sorted(self.root.glob("checkpoints/step-*/*/n-*/manifest.json"))

    def training_data(self, arm: Arm) -> list[Path]:
        """The training data of an arm: the files that have rows."""
        folder = self.root / "training_data" / arm.path
        suffixes = (".jsonl", ".json", files.TABLE)
        return [
            path
            for path in sorted(folder.glob("*"))
            if path.suffix in suffixes and path.name != dataset_info.FILENAME
        ]


def _arm(folder: Path) -> Arm:
    return Arm(
        folder.parent.parent.name.removeprefix("step-"),
        folder.parent.name,
        int(folder.name.removeprefix("n-")),
    )
