"""What determines a training run, and where its files lie. Needs no torch."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.locks import locked
from winnow.training.attention import check_precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """All that a checkpoint depends on. It stands in the checkpoint's manifest.

    Attributes:
        parent: the `model` hash of the checkpoint to start from.
        train_data: SHA-256 of the training file.
        code: fingerprint of the program.
        max_epochs: passes over the data.
        train_batch_size: examples for each optimizer step, over all devices.
        micro_train_batch_size: examples for each forward pass of a device.
        learning_rate, lr_scheduler, warmup_ratio, weight_decay: of AdamW.
        max_length: examples are cut to so many tokens, those with images left out; None is no limit.
        max_prompt_length: examples with a longer prompt are left out; None is no limit.
        dtype: of the weights while training.
        bf16, gradient_checkpointing: to save memory.
        attn_implementation: how attention is computed; None is what transformers chooses.
        seed: of the order of the examples, and of dropout.
        save_steps: optimizer steps between the checkpoints that a killed run resumes from.
        image_root: the folder of the examples' images; None where they have none.
    """

    parent: str
    train_data: str
    code: str
    max_epochs: float = 3.0
    train_batch_size: int = 32
    micro_train_batch_size: int = 8
    learning_rate: float = 1e-5
    lr_scheduler: str = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    max_length: int | None = None
    max_prompt_length: int | None = None
    dtype: str = "float32"
    bf16: bool = False
    gradient_checkpointing: bool = False
    attn_implementation: str | None = None
    seed: int = 0
    save_steps: int = 50
    image_root: str | None = None

    def __post_init__(self) -> None:
        if self.train_batch_size % self.micro_train_batch_size:
            raise UserError(
                "--train_batch_size",
                f"{self.train_batch_size} is no multiple of --micro_train_batch_size "
                f"{self.micro_train_batch_size}",
                "whole micro-batches in each optimizer step",
                "change one of the two",
            )
        check_precision(self.attn_implementation, self.dtype, self.bf16)


@dataclass(frozen=True)
class Workplace:
    """The files of one training run. Only `manifest` is known to Snakemake; it comes last."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The finished checkpoint's description."""
        return self.root / "manifest.json"

    @property
    def model(self) -> Path:
        """The finished checkpoint."""
        return self.root / "model"

    @property
    def unfinished(self) -> Path:
        """The trainer's own checkpoints, kept until the run is finished."""
        return self.root / "unfinished"

    @property
    def recipe(self) -> Path:
        """The recipe of the unfinished run."""
        return self.unfinished / "recipe.json"

    @property
    def fitting(self) -> Path:
        """Which rows of the training file the unfinished run is trained on."""
        return self.unfinished / "fitting.json"

    @property
    def examples(self) -> Path:
        """How many rows were trained on, and how many were left out."""
        return self.root / "examples.json"

    @property
    def losses(self) -> Path:
        """The loss at each logged step."""
        return self.root / "losses.json"


@contextmanager
def alone(workplace: Workplace) -> Iterator[bool]:
    """Hold the workplace's lock; yields whether another process, waited for, has finished the run."""
    workplace.root.mkdir(parents=True, exist_ok=True)
    with (workplace.root / "train.lock").open("w") as lock:
        waited = locked(lock, f"{workplace.root}: another process trains here", log)
        yield waited and workplace.manifest.exists() and not workplace.recipe.exists()


def claim(workplace: Workplace, recipe: Recipe) -> None:
    """Make the workplace ready for this recipe, or to go on with it.

    Raises:
        UserError: an unfinished run of another recipe lies there.
    """
    wanted: dict[str, Any] = asdict(recipe)
    if not workplace.recipe.exists():
        # Checkpoints without their recipe are of a run that nobody can name.
        discard(workplace.unfinished)
        jsonl.write_json(workplace.recipe, wanted)
        return
    found = jsonl.read_json(workplace.recipe)
    if found == wanted:
        return
    differing = [
        f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    raise UserError(
        workplace.unfinished,
        "an unfinished run of another recipe: " + "; ".join(differing),
        "unfinished work of this run's own recipe",
        "train with the former settings to finish it, or delete this folder to start anew",
    )


def discard(folder: Path) -> None:
    """Delete a folder; killed half-way, it leaves nothing under the folder's own name."""
    doomed = folder.with_name(f"{folder.name}.discarded")
    shutil.rmtree(doomed, ignore_errors=True)
    if folder.exists():
        folder.replace(doomed)
        shutil.rmtree(doomed)


def last_whole_checkpoint(workplace: Workplace) -> Path | None:
    """The newest checkpoint that was saved to its end (it carries the mark `whole`)."""
    marked = [mark.parent for mark in workplace.unfinished.glob("checkpoint-*/whole")]
    return max(marked, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
