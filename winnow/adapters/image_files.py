"""Images as rows of a data set hold them: paths, or bytes that get a file below the image root."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.images import LARGEST, file_type

FOLDER = "images-of-rows"
"""Below the image root: what rows held as bytes."""


def holds_image(value: Any) -> bool:
    """Whether a field is an image as `datasets` gives it undecoded, ``{"bytes", "path"}``, or a list."""
    if isinstance(value, list):
        return bool(value) and all(map(holds_image, value))
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


class ImageFiles:
    """Paths of images, relative to the image root.

    Args:
        root: the image root; None refuses bytes, for which there is no place.
    """

    def __init__(self, root: str | None) -> None:
        self._root = None if root is None else Path(root)

    def path(self, image: Any, where: str) -> str:
        """The path of an image, which is written first if the row holds it as bytes.

        Files are named by a hash of their content: the same image is written once, whoever has it.

        Raises:
            UserError: neither a path nor bytes; bytes that are no image, or have no place.
        """
        if isinstance(image, Mapping) and image.get("bytes") is not None:
            return self._written(image["bytes"], where)
        path = image.get("path") if isinstance(image, Mapping) else image
        if not isinstance(path, str) or not path:
            raise UserError(
                where,
                f"the image {image!r:.80}",
                "a path, or {bytes, path} as `datasets` gives it",
                "correct the row, or name the field of its image",
            )
        return path

    def _written(self, content: Any, where: str) -> str:
        if self._root is None:
            raise UserError(
                where,
                "an image as bytes, and no folder for it",
                "image_root, below which it is written",
                "set data.image_root (--image_root) to a folder with room for the images",
            )
        if not isinstance(content, bytes) or len(content) > LARGEST:
            size = f"{len(content):,} bytes" if isinstance(content, bytes) else type(content).__name__
            raise UserError(where, f"an image of {size}", f"at most {LARGEST:,} bytes", "mend the row")
        kind = file_type(content, Path("its image"), where).removeprefix("image/")
        name = hashlib.sha256(content).hexdigest()[:32]
        # So many files in one folder slow shared file systems down: 256 folders.
        file = self._root / FOLDER / name[:2] / f"{name}.{kind}"
        if not file.resolve().is_relative_to(self._root.resolve()):
            raise UserError(
                where,
                f"{file.parent} leads out of {self._root}",
                "a folder of its own below the image root",
                "remove the link that stands there",
            )
        if not file.is_file() or file.stat().st_size != len(content):
            _write(file, content)
        return str(file.relative_to(self._root))


def _write(file: Path, content: bytes) -> None:
    """Write a file whole; jobs that write the same one side by side do not meet."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with jsonl.disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
