"""The formats by name: the built-in ones, and by its import path a user's own."""

from __future__ import annotations

from collections.abc import Iterable

from winnow import plugins
from winnow.errors import UserError
from winnow.formats import dataset_info
from winnow.formats.format import Format
from winnow.formats.plugin import PluginFormat


def _formats() -> dict[str, Format]:
    from winnow.formats import lightrft, open_instruct, sharegpt, vespo
    from winnow.formats.agiqa import Agiqa
    from winnow.formats.messages import Messages
    from winnow.formats.preference import Preference
    from winnow.formats.prompt_completion import PromptCompletion
    from winnow.formats.verl import Parquet

    known: list[tuple[str, Format]] = [
        (each.name, each)
        for each in (
            Messages(),
            PromptCompletion(),
            Preference(),
            sharegpt.ShareGpt(),
            sharegpt.ShareGptPreference(),
            Parquet(),
            Agiqa(),
            lightrft.LightRft(),
            lightrft.LightRftSamples(),
            vespo.Vespo(),
            vespo.VespoDiagnostics(),
            open_instruct.OpenInstruct(),
            open_instruct.OpenInstructCompletions(),
            open_instruct.OpenInstructScores(),
        )
    ]
    return dict(known)


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


def of_file(filename: str) -> Format | None:
    """The built-in format that writes a file of this name, if any does."""
    return next((fmt for fmt in _formats().values() if fmt.filename == filename), None)


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


def filenames(names: Iterable[str]) -> list[str]:
    """The files that an export in these formats writes: one each, and what goes with them."""
    formats = find_all(names)
    beside = [statistics for fmt in formats if (statistics := getattr(fmt, "statistics", None))]
    listed = [dataset_info.FILENAME] if any(map(dataset_info.lists, formats)) else []
    return [fmt.filename for fmt in formats] + beside + listed


def needs_scored(names: Iterable[str]) -> list[str]:
    """Those that look at every scored completion, not only at the accepted ones."""
    return [name for name in names if (fmt := find(name)).takes == "all" or hasattr(fmt, "statistics")]


def needs_pairs(names: Iterable[str]) -> list[str]:
    """Those whose rows are pairs."""
    return [name for name in names if find(name).takes == "pairs"]
