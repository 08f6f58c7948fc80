"""The formats by name: the built-in ones, and by its import path a user's own."""

from __future__ import annotations

from collections.abc import Iterable

from winnow import plugins
from winnow.errors import UserError
from winnow.formats.format import Format
from winnow.formats.plugin import PluginFormat


def _formats() -> dict[str, Format]:
    from winnow.formats.messages import Messages
    from winnow.formats.prompt_completion import PromptCompletion
    from winnow.formats.sharegpt import ShareGpt

    known = (Messages(), PromptCompletion(), ShareGpt())
    return {entry.name: entry for entry in known}


def names() -> list[str]:
    """The names of the built-in formats."""
    return list(_formats())


def find(name: str) -> Format:
    """A format by name.

    Raises:
        UserError: an unknown name (a near one is suggested), or a plug-in that is no format.
    """
    if plugins.is_import_path(name):
        return PluginFormat(name)
    known = _formats()
    if name not in known:
        raise plugins.unknown("format", name, known)
    return known[name]


def find_all(names: Iterable[str]) -> list[Format]:
    """Formats by name, in order.

    Raises:
        UserError: as `find`, or two that write the same file.
    """
    found: dict[str, str] = {}
    formats = []
    for name in names:
        fmt = find(name)
        if fmt.filename in found:
            raise UserError(
                f"format {name!r}",
                f"writes {fmt.filename}, as {found[fmt.filename]!r} does",
                "another file for each format",
                "leave one out, or give your own another filename",
            )
        found[fmt.filename] = name
        formats.append(fmt)
    return formats
