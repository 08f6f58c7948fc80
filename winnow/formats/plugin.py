"""A user's own format, whose mistakes are told by its name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from winnow import plugins
from winnow.errors import UserError
from winnow.formats.format import BOTH, WHOLE, Takes, Unit

HELD: dict[str, tuple[str, ...]] = {
    "chosen": WHOLE,
    "all": WHOLE,
    "pairs": BOTH,
    "prompts": ("messages", "completions", "images"),
}
"""What a format of the user's has to give back, by what its rows are made of."""
FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.jsonl?")


class PluginFormat:
    """A format of the user's by its import path, which is its name in the config.

    Raises:
        UserError: it cannot be loaded, is no class, or lacks what a format has; and for a row on which
            it raises or of which it makes no JSON object.
    """

    def __init__(self, name: str) -> None:
        self._where = f"format {name!r}"
        found = plugins.load("format", name)
        if not inspect.isclass(found):
            raise UserError(self._where, f"a {type(found).__name__}", "a class", "name a format class")
        try:
            self._format = found()
        except Exception as error:
            raise UserError(
                self._where,
                f"its constructor raises {plugins.told(error)}",
                "one without arguments",
                "mend it",
            ) from error
        filename = getattr(self._format, "filename", None)
        if not isinstance(filename, str) or not FILENAME.fullmatch(filename):
            raise UserError(
                self._where,
                f"filename {filename!r}",
                "letters, digits, '.', '_' and '-', ending in .jsonl (a row a line) or .json (a list)",
                "give the class such a filename",
            )
        self.filename: str = filename
        takes: Any = getattr(self._format, "takes", "chosen")
        if takes not in HELD:
            raise UserError(
                self._where, f"takes {takes!r}", "one of " + ", ".join(HELD), "correct it, or leave it out"
            )
        self.takes: Takes = takes
        self.holds = HELD[takes]
        for method, argument in (("to_row", "conversation"), ("from_row", "row")):
            function = getattr(self._format, method, None)
            plugins.check_call(self._where, function, f"{method}({argument})", None)

    def to_row(self, unit: Unit) -> dict[str, Any]:
        """A row of the format."""
        row = self._called("to_row", unit)
        if not isinstance(row, dict):
            raise UserError(
                self._where, f"to_row returned a {type(row).__name__}", "a dict", "correct the format"
            )
        return row

    def from_row(self, row: Mapping[str, Any]) -> Unit:
        """What a trainer that reads the row would see; compared with what was selected."""
        return self._called("from_row", row)  # type: ignore[no-any-return]

    def _called(self, method: str, argument: Any) -> Any:
        try:
            return getattr(self._format, method)(argument)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                self._where,
                f"{method} raised {plugins.told(error)}",
                "a format that holds every conversation, or raises UserError with what it cannot hold",
                "mend the format, or leave it out",
            ) from error
