"""What an image model's own processor does with a prompt: tokens in place of images, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from winnow.images import in_parts, opened
from winnow.records import Message


class Vision:
    """The processor of a model that reads images.

    Pixels are made when a prompt is read by the model and forgotten after: memory does not grow with
    the data set.

    Args:
        processor: of transformers.
        image_token: the id that stands for a part of an image in the model's input; None where it has none.
    """

    def __init__(self, processor: Any, image_token: int | None) -> None:
        self._processor = processor
        self._image_token = image_token

    def tokenize(self, messages: Sequence[Message], images: Sequence[Path], where: str) -> list[int]:
        """Token ids of a conversation with images, up to where the assistant's turn begins.

        Raises:
            UserError: images and ``<image>`` do not match, or a file is no image.
        """
        text = self._processor.apply_chat_template(
            in_parts(messages, len(images), where), add_generation_prompt=True, tokenize=False
        )
        found = self._processor(
            text=[text],
            # Not an empty list: some processors would look for its first image.
            images=[opened(file, where) for file in images] or None,
            add_special_tokens=False,
            return_tensors="pt",
        )
        ids: list[int] = found["input_ids"][0].tolist()
        return ids

    def inputs(
        self, ids: Tensor, images: Sequence[Path], device: torch.device, dtype: torch.dtype
    ) -> dict[str, Any]:
        """What the model's forward pass wants beside token ids [1, tokens] of one prompt."""
        pictures = [opened(file, str(file)) for file in images]
        found = dict(self._processor.image_processor(images=pictures, return_tensors="pt"))
        kinds = {} if self._image_token is None else {"mm_token_type_ids": (ids == self._image_token).long()}
        return {
            **kinds,
            **{
                name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
                for name, value in found.items()
                if isinstance(value, Tensor)
            },
        }
