"""Messages whose content is a list of parts, as OpenAI's interface has them, brought to text and images."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from winnow.adapters.image_files import ImageFiles
from winnow.errors import UserError
from winnow.images import PLACEHOLDER
from winnow.records import Message


def joined(messages: list[Message], files: ImageFiles, where: str) -> tuple[list[Message], list[str]]:
    """Messages with text for content, in which placeholders stand for images; and the images that parts name.

    A part of an image without a path or a data URL stands for the next of the row's own images.

    Raises:
        UserError: content that is neither text nor parts, a part of another kind, or an image that would have
            to be downloaded.
    """
    images: list[str] = []
    told = []
    for message in messages:
        content = message["content"]
        if isinstance(content, list):
            content = "".join(_text(part, files, images, where) for part in content)
        if not isinstance(content, str):
            raise UserError(
                where,
                f"a message of {message['role']!r} with the content {content!r:.60}",
                "text, or a list of parts",
                "mend the row, or write an adapter of your own",
            )
        told.append({**message, "content": content})
    return told, images


def _text(part: Any, files: ImageFiles, images: list[str], where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind not in ("image", "image_url"):
        raise UserError(
            where,
            f"a message with the part {part!r:.80}",
            "parts of type text, image or image_url",
            "mend the row, or write an adapter of your own",
        )
    image = part.get(kind)
    image = image.get("url") if kind == "image_url" and isinstance(image, Mapping) else image
    if image is not None:
        images.append(files.path(_inline(image, where) or image, where))
    return PLACEHOLDER


def _inline(image: Any, where: str) -> dict[str, bytes] | None:
    """The content of a data URL; None for what is none.

    Raises:
        UserError: another URL, or one that holds no base64.
    """
    scheme, colon, rest = image.partition(":") if isinstance(image, str) else ("", "", "")
    if not colon or (scheme != "data" and not rest.startswith("//")):
        return None
    mark, _, encoded = rest.partition(",")
    try:
        if scheme == "data" and mark.endswith(";base64"):
            return {"bytes": base64.b64decode(encoded, validate=True)}
    except binascii.Error:
        pass
    raise UserError(
        where,
        f"the image {image!r:.60}",
        "a path below the image root, or data:image/png;base64,…",
        "download the images, and name their files",
    )
