"""The adapters by name. A name with a colon is the import path of a user's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from winnow import plugins
from winnow.adapters.example import Adapter
from winnow.adapters.plugin import is_indexed, plugin_adapter
from winnow.errors import UserError, closest
from winnow.fingerprint import fingerprint

BUILTIN = {
    "auto": "fields",
    "generic": "fields",
    "messages": "fields",
    "deepscaler": "deepscaler",
    "hpdv3": "hpdv3",
    "agiqa": "agiqa",
}
"""The module of this package in which each is, under its own name."""


def adapter(
    name: str,
    prompt_field: str | None = None,
    response_field: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    image_root: str | None = None,
) -> Adapter:
    """The adapter of that name.

    Args:
        name: one of `BUILTIN`, or the import path of a user's own.
        prompt_field: the field of the prompt; None leaves it to the adapter.
        response_field: the field of the reference; None leaves it to the adapter.
        options: the adapter's own.
        seed: the run's, for an adapter that takes one and is not given another.
        image_root: the run's, likewise.

    Raises:
        UserError: an unknown name or option (a near one is suggested), an option that is missing or has a
            value that the adapter refuses, or a plug-in that is no adapter.
    """
    found = _found(name)
    known, takes_any = _options(name, found)
    fields = {"prompt_field": prompt_field, "response_field": response_field}
    given = {key: value for key, value in fields.items() if value is not None} | dict(options or {})
    if not takes_any:
        _check_known(name, given, list(known))
    ours = {"seed": seed, "image_root": image_root}
    given = {key: value for key, value in ours.items() if key in known} | given
    missing = [option for option, needed in known.items() if needed and option not in given]
    if missing:
        raise UserError(
            f"adapter {name!r}",
            f"no option {missing[0]!r}",
            f"{', '.join(known)}",
            "give it under adapter_options",
        )
    if plugins.is_import_path(name):
        return plugin_adapter(name, found, given)
    try:
        made: Adapter = found(**given)
    except UserError as error:
        raise error.at(f"adapter {name!r}") from error
    return made


def _check_known(name: str, given: Mapping[str, Any], known: list[str]) -> None:
    for option in given:
        if option in known:
            continue
        looked_for = plugins.is_import_path(name) and option in ("prompt_field", "response_field")
        raise UserError(
            f"adapter {name!r}",
            f"option {option!r} is unknown{closest(option, known)}",
            "one of " + ", ".join(known) if known else "none: it takes no options",
            "leave both out: an adapter of your own knows its fields"
            if looked_for
            else "correct the option"
            if known
            else "leave it out",
        )


def takes(name: str, option: str) -> bool:
    """Whether an adapter has an option of that name."""
    return option in _options(name, _found(name))[0]


def code(name: str) -> str:
    """A hash of the code behind an adapter: those that a config does not name rerun nothing."""
    if plugins.is_import_path(name):
        return plugins.fingerprint([name])[name]
    return fingerprint(str(_module(name).__file__))


def _found(name: str) -> Any:
    if plugins.is_import_path(name):
        return plugins.load("adapter", name)
    if name not in BUILTIN:
        raise plugins.unknown("adapter", name, BUILTIN)
    return getattr(_module(name), name)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"winnow.adapters.{BUILTIN[name]}")


def _options(name: str, found: Any) -> tuple[dict[str, bool], bool]:
    """Option → whether it is needed; and whether any other name is taken."""
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        return {}, False
    if plugins.is_import_path(name):
        # A class takes the data set first, a function the row and its place.
        parameters = parameters[1 if is_indexed(found) else 2 :]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return {p.name: p.default is p.empty for p in named}, takes_any
