"""A user's own adapter, a function or a class, held to what the built-in ones promise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from winnow import plugins
from winnow.adapters.example import Adapter, Example, is_conversation
from winnow.adapters.indexed import Indexed
from winnow.errors import UserError


def is_indexed(found: Any) -> bool:
    """Whether a plug-in is a class that reads a data set by index."""
    return isinstance(found, type) and hasattr(found, "get_prompt")


def plugin_adapter(name: str, found: Any, options: Mapping[str, Any]) -> Adapter:
    """The adapter behind an import path, with its options.

    Raises:
        UserError: it cannot be called; and for a row on which it raises or of which it makes no `Example`.
    """
    where = f"adapter {name!r}"
    if is_indexed(found):
        for method in ("get_prompt", "get_metadata"):
            plugins.check_call(where, getattr(found, method, None), f"{method}(idx)", None, 0)
        adapt: Callable[..., Any] = Indexed(found, options)
    else:
        adapt = functools.partial(found, **options) if options else found
        plugins.check_call(where, adapt, "adapter(row, where)", {}, "")

    def read(row: Mapping[str, Any], where: str) -> Example:
        try:
            example = adapt(row, where)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                where,
                f"adapter {name!r} raised {plugins.told(error)}",
                "an adapter that reads every row, or raises UserError with what is wrong with it",
                "mend the row, or the adapter",
            ) from error
        fault = _fault(example)
        if fault:
            raise UserError(
                where,
                f"adapter {name!r} returned {fault}",
                "winnow.adapters.Example: a prompt or messages, text or None for the rest, paths of images",
                "correct what the adapter returns",
            )
        return example  # type: ignore[no-any-return]

    return read


def _fault(example: Any) -> str | None:
    """What is wrong with an adapter's answer, or None."""
    if not isinstance(example, Example):
        return f"a {type(example).__name__}"
    if (example.prompt is None) == (example.messages is None):
        return "both a prompt and messages" if example.messages else "neither a prompt nor messages"
    if example.messages is not None and not is_conversation(example.messages):
        return "messages that are not a list of {role, content}"
    if example.prompt is not None and (not isinstance(example.prompt, str) or not example.prompt.strip()):
        return f"the prompt {example.prompt!r:.80}"
    for key, value in (("reference", example.reference), ("id", example.id)):
        if not isinstance(value, str | None):
            return f"the {key} {value!r:.80} ({type(value).__name__})"
    images = example.images
    if images is not None and not (isinstance(images, list) and all(isinstance(i, str) for i in images)):
        return f"the images {images!r:.80}"
    if not isinstance(example.metadata, dict | None):
        return f"the metadata {example.metadata!r:.80}"
    return None
