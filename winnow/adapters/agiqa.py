"""Images with a mean opinion score, as the AGIQA data sets have them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from winnow.adapters.example import Adapter, Example
from winnow.adapters.fields import first, has, id_of, text_of
from winnow.adapters.image_files import ImageFiles, holds_image
from winnow.errors import UserError

IMAGE_FIELDS = ("image", "images")
SCORE_FIELDS = ("answer", "mos", "score", "reference", "solution")


def agiqa(
    prompt_field: str | None = None,
    response_field: str | None = None,
    image_field: str | None = None,
    image_root: str | None = None,
) -> Adapter:
    """Rows of an image, a problem text and a number.

    Args:
        prompt_field: the field of the problem; None finds it by its usual names.
        response_field: the field of the score; None finds it by its usual names.
        image_field: the field of the image, a path or ``{bytes, path}``, or a list of one; None finds it.
        image_root: where images that a row holds as bytes are written.
    """
    files = ImageFiles(image_root)

    def read(row: Mapping[str, Any], where: str) -> Example:
        name = image_field or first(row, IMAGE_FIELDS)
        image = None if name is None else row.get(name)
        shown = image if isinstance(image, list) else [image]
        if len(shown) != 1 or shown[0] is None:
            raise UserError(
                where,
                f"{0 if image is None else len(shown)} images ({has(row)})",
                f"one image in {image_field or ' or '.join(IMAGE_FIELDS)}",
                "set the adapter's option image_field to the right name, or mend the row",
            )
        return Example(
            prompt=text_of(row, prompt_field, where),
            reference=_score(row, response_field, where),
            id=id_of(row),
            images=[files.path(shown[0], where)],
            metadata={k: v for k, v in row.items() if k not in (name, "id") and not holds_image(v)},
        )

    return read


def _score(row: Mapping[str, Any], field: str | None, where: str) -> str:
    """The score as text, out of its tags where it stands in ``<answer>…</answer>``."""
    name = field or first(row, SCORE_FIELDS)
    given = None if name is None else row.get(name)
    text = str(given).strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    if isinstance(given, bool) or not _is_number(text):
        raise UserError(
            where,
            f"the score {given!r:.80} ({has(row)})",
            f"a number in {field or 'one of ' + ', '.join(SCORE_FIELDS)}",
            "set response_field to the right name, or mend the row",
        )
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
