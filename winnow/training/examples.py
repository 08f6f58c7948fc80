"""The examples that a trainer is shown: those that fit, and with their images as the model saw them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.images import dimensions, in_parts, located, opened
from winnow.records import Message
from winnow.training.recipe import Recipe

log = logging.getLogger("train")

Row = Mapping[str, Any]
"""Of prompt_completion: `prompt` and `completion` as messages, and `images` where there are any."""


@dataclass(frozen=True)
class Fitting:
    """Which rows of the training file are trained on.

    Attributes:
        kept: their places in the file, from 0.
        prompt_too_long: rows left out for the length of their prompt alone.
        too_long: rows with images left out for their whole length.
    """

    kept: list[int]
    prompt_too_long: int
    too_long: int

    def to_row(self) -> dict[str, int]:
        """The counts."""
        return {"examples": len(self.kept), **{k: v for k, v in asdict(self).items() if k != "kept"}}


class Lengths:
    """How many tokens a conversation takes, its images included.

    How many stand for an image depends on its size alone, so the processor is asked once for each size.

    Args:
        reader: the model's processor, or its tokenizer where it reads text alone.
        image_root: the folder of the images; None where the model reads text alone.
    """

    def __init__(self, reader: Any, image_root: Path | None) -> None:
        self._reader, self._root = reader, image_root
        self._tokenizer = getattr(reader, "tokenizer", reader)
        self._more: dict[tuple[tuple[int, int], ...], int] = {}

    def prompt(self, row: Row, where: str) -> int:
        """Tokens up to where the assistant's turn begins."""
        images = row.get("images") or []
        shown = self._shown(row["prompt"], len(images), where)
        return self._count(shown, images, where, add_generation_prompt=True)

    def whole(self, row: Row, where: str) -> int:
        """Tokens of prompt and completion."""
        images = row.get("images") or []
        shown = self._shown(row["prompt"], len(images), where) + self._shown(row["completion"], 0, where)
        return self._count(shown, images, where)

    def _count(self, messages: Sequence[Message], images: Sequence[str], where: str, **options: Any) -> int:
        text = self._reader.apply_chat_template(list(messages), tokenize=False, **options)
        count = len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return count + (self._for_images(text, images, count, where) if images else 0)

    @property
    def with_images(self) -> bool:
        """Whether rows may have images, of which the trainer cuts nothing."""
        return self._root is not None

    def _shown(self, messages: Sequence[Message], count: int, where: str) -> list[Message]:
        return list(messages) if self._root is None else in_parts(messages, count, where)

    def _for_images(self, text: str, images: Sequence[str], count: int, where: str) -> int:
        assert self._root is not None
        files = located(images, self._root, where)
        sizes = tuple(dimensions(file, where) for file in files)
        if sizes not in self._more:
            pictures = [opened(file, where) for file in files]
            found = self._reader(text=[text], images=pictures, add_special_tokens=False)
            self._more[sizes] = len(found["input_ids"][0]) - count
        return self._more[sizes]


def fitting(rows: Iterable[Row], lengths: Lengths, recipe: Recipe, where: str) -> Fitting:
    """Leave out the rows that are too long: never cut a prompt, nor through an image.

    Without any images in the file, the trainer cuts text to `max_length`; with them it cuts nothing, and a
    longer row is left out.

    Args:
        rows: of the training file.
        lengths: in tokens.
        recipe: with the limits.
        where: the training file, for messages.

    Raises:
        UserError: none fits.
    """
    kept: list[int] = []
    prompt_too_long = too_long = longest = 0
    for index, row in enumerate(rows):
        place = f"{where}, line {index + 1}"
        prompt = lengths.prompt(row, place) if recipe.max_prompt_length else 0
        longest = max(longest, prompt)
        if prompt > (recipe.max_prompt_length or prompt):
            prompt_too_long += 1
        elif recipe.max_length and lengths.with_images and lengths.whole(row, place) > recipe.max_length:
            too_long += 1
        else:
            kept.append(index)
    if not kept:
        raise UserError(
            where,
            f"no row fits: {prompt_too_long} have prompts of more than {recipe.max_prompt_length} tokens, "
            f"{too_long} are longer than {recipe.max_length}",
            "at least one",
            "raise max_prompt_length or max_length under training in the config"
            + (f" (the longest prompt has {longest})" if longest else ""),
        )
    return Fitting(kept, prompt_too_long, too_long)


@dataclass(frozen=True)
class Shown:
    """Turns a batch of rows into what TRL's trainer takes for an image model, when it is needed.

    Images stay files until then, so memory does not grow with the data set.

    Attributes:
        image_root: their folder.
        where: the training file, for messages.
    """

    image_root: Path
    where: str

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Columns `prompt`, `completion` and `images`, the images opened in the order shown."""
        images = [names or [] for names in batch.get("images") or [None] * len(batch["prompt"])]
        return {
            "prompt": [
                in_parts(messages, len(names), self.where)
                for messages, names in zip(batch["prompt"], images, strict=True)
            ],
            "completion": [in_parts(messages, 0, self.where) for messages in batch["completion"]],
            "images": [
                [opened(file, self.where) for file in located(names, self.image_root, self.where)]
                for names in images
            ],
        }
