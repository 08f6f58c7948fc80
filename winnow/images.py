"""Images of prompts: where they lie, and that they stay there. Needs neither torch nor Pillow to import."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.records import Message

PLACEHOLDER = "<image>"
"""Stands in a message's text where an image is shown."""
LARGEST = 64 * 2**20
"""Bytes of an image file, at most."""
MOST_PIXELS = 50_000_000
"""Of an image: decoded, so many take 150 MB."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened. Not whatever Pillow knows: for some it runs other programs."""

SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (8, b"WEBP", "webp"),
    (0, b"GIF8", "gif"),
    (0, b"BM", "bmp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
)
"""(place, bytes, kind) by which `FORMATS` are known."""


class ImageError(UserError):
    """Images of one prompt that cannot be shown; the other prompts can still be drawn."""


def located(paths: Sequence[str], root: Path, where: str) -> tuple[Path, ...]:
    """The files of a prompt's images, under their root.

    Args:
        paths: relative to the root.
        root: where the data set's images lie.
        where: the prompt, for the message.

    Raises:
        ImageError: a path that leaves the root, a file that is not there, or one that is too large.
    """
    return tuple(_located(path, root.resolve(), where) for path in paths)


def _located(path: str, root: Path, where: str) -> Path:
    if not isinstance(path, str) or "\0" in path:
        raise ImageError(where, f"the image {path!r}", "a path", "correct the list of images")
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise ImageError(
            where,
            f"the image {path!r} lies outside {root}",
            "a path below it",
            "correct the path, or --image_root",
        )
    if not file.is_file():
        raise ImageError(
            where, f"the image {path!r} is not in {root}", "a file", "correct the path, or --image_root"
        )
    size = file.stat().st_size
    if size > LARGEST:
        raise ImageError(
            where,
            f"the image {path!r} has {size / 2**20:.0f} MiB",
            f"at most {LARGEST // 2**20} MiB",
            "shrink it: models scale images down anyway",
        )
    return file


def opened(file: Path, where: str) -> Any:
    """An image as RGB (a Pillow image).

    Raises:
        ImageError: it is not an image, or cut off.
    """
    return _read(file, where, lambda image: image.convert("RGB"))


def dimensions(file: Path, where: str) -> tuple[int, int]:
    """Width and height of an image, in pixels, by its header alone.

    Raises:
        ImageError: it is not an image.
    """
    width, height = _read(file, where, lambda image: image.size)
    return int(width), int(height)


def _read(file: Path, where: str, take: Callable[[Any], Any]) -> Any:
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{width} × {height} pixels, more than {MOST_PIXELS:,}")
            return take(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            where,
            f"{file} cannot be read: {error}",
            "a whole image file (PNG, JPEG, WebP …)",
            "replace the file",
        ) from None


def data_url(file: Path, where: str) -> str:
    """An image file as a data URL.

    Raises:
        UserError: its content is no image of a kind that servers take.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(
            where, f"{file} cannot be read: {error.strerror}", "an image file", "replace it"
        ) from None
    return f"data:{file_type(content, file, where)};base64,{base64.b64encode(content).decode()}"


def file_type(content: bytes, file: Path, where: str) -> str:
    """The media type of an image, by its first bytes: names lie.

    Raises:
        ImageError: none of those that servers take, or one that is cut off.
    """
    for offset, mark, name in SIGNATURES:
        if content.startswith(mark, offset):
            if not _ends(content, name):
                raise ImageError(
                    where,
                    f"{file} is cut off after {len(content):,} bytes",
                    f"a whole {name.upper()} file",
                    "replace the file",
                )
            return f"image/{name}"
    raise ImageError(
        where,
        f"{file} is no image: it begins with {content[:8]!r}",
        f"one of {', '.join(sorted({name for _, _, name in SIGNATURES}))}",
        "replace the file",
    )


def _ends(content: bytes, name: str) -> bool:
    """Whether the end of the file is there, as far as its bytes tell without decoding it.

    A server may take what a download has left of an image, and the model would see half of it.
    """
    if name == "webp":
        return len(content) >= 8 + int.from_bytes(content[4:8], "little")
    if name == "jpeg":
        return b"\xff\xd9" in content[_scan(content) :]
    # Some programs write more behind the end. Of the others no mark is rare enough to be told from data.
    return name != "png" or b"IEND" in content


def _scan(content: bytes) -> int:
    """Where the picture of a JPEG begins: behind its segments, of which one may hold a small picture."""
    place = 2
    while content[place : place + 1] == b"\xff" and place + 4 <= len(content):
        if content[place + 1] == 0xDA:
            return place
        place += 1 if content[place + 1] == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4])
    return len(content)


def placeholders(messages: Sequence[Message], count: int, where: str) -> int:
    """How often ``<image>`` stands in some messages: once for each image, or never.

    Raises:
        ImageError: another number of them than there are images.
    """
    marks = sum(_text(message).count(PLACEHOLDER) for message in messages)
    if marks not in (0, count):
        raise ImageError(
            where,
            f"{count} images, and {marks} times {PLACEHOLDER} in its messages",
            "one for each image, or none",
            "correct the messages, or the list of images",
        )
    return marks


def in_parts(messages: Sequence[Message], count: int, where: str) -> list[Message]:
    """Messages as templates of image models want them: text and images as parts of the content.

    Each ``<image>`` in a text is one image, in order; without any, all images stand before the text of
    the last user message.

    Raises:
        ImageError: another number of ``<image>`` than there are images.
    """
    marks = placeholders(messages, count, where)
    last = max(
        (i for i, message in enumerate(messages) if message["role"] == "user"), default=len(messages) - 1
    )
    shown: list[Message] = []
    for index, message in enumerate(messages):
        parts: list[dict[str, str]] = []
        if not marks and index == last:
            parts = [{"type": "image"}] * count
        for place, text in enumerate(_text(message).split(PLACEHOLDER)):
            parts += [{"type": "image"}] * (place > 0)
            parts += [{"type": "text", "text": text}] * bool(text)
        shown.append({**message, "content": parts})
    return shown


def _text(message: Message) -> str:
    return str(message["content"])
