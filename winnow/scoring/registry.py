"""The scorers by name.

A built-in is a class with a version: a file, and a line here. A name with a colon is the import path
of a user's own.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

from winnow import plugins
from winnow.errors import UserError, closest
from winnow.scoring.plugin import PluginScorer, plugin_class
from winnow.scoring.score import Measure, Scorer


def _scorers() -> dict[str, type[Any]]:
    from winnow.scoring.exact_answer import ExactAnswer
    from winnow.scoring.numeric_error import NumericError

    return {scorer.name: scorer for scorer in (ExactAnswer, NumericError)}


def names() -> list[str]:
    """The names of the built-in scorers."""
    return list(_scorers())


def _class(name: str) -> type[Any]:
    if plugins.is_import_path(name):
        return plugin_class(name)
    known = _scorers()
    if name not in known:
        raise plugins.unknown("scorer", name, known)
    return known[name]


@functools.cache
def measure(name: str) -> Measure:
    """What the value of a scorer is.

    Raises:
        UserError: an unknown name, or a plug-in that is no scorer.
    """
    found: Measure = _class(name).measures
    return found


def build(name: str, options: Mapping[str, Any] | None = None) -> Scorer:
    """A scorer by name, with its options.

    Raises:
        UserError: an unknown name or option (a near one is suggested), an option that is missing, or a
            plug-in that is no scorer.
    """
    options, found = options or {}, _class(name)
    signature = inspect.signature(found)
    allowed = list(signature.parameters)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for option in options:
        if option not in allowed and not takes_any:
            raise UserError(
                f"scorer {name!r}",
                f"option {option!r} is unknown{closest(option, allowed)}",
                "one of " + (", ".join(allowed) or "none"),
                "correct the option",
            )
    try:
        signature.bind(**options)
    except TypeError as error:
        raise UserError(f"scorer {name!r}", f"{error}", f"{', '.join(allowed)}", "give the option") from None
    scorer: Scorer = PluginScorer(name, options) if plugins.is_import_path(name) else found(**options)
    return scorer


def versions(scorers: Mapping[str, Any]) -> dict[str, int | str]:
    """name → version, for the DAG: another version means that scores are made again.

    A plug-in's has a hash of its code besides, for the code of a stage does not know it.
    """
    found: dict[str, int | str] = {name: build(name, options).version for name, options in scorers.items()}
    return found | {name: f"{found[name]}, {code}" for name, code in plugins.fingerprint(scorers).items()}


def parse(texts: list[str]) -> dict[str, Scorer]:
    """Scorers from a command line: ``name`` or ``name={"option": value}`` each.

    Raises:
        UserError: unknown names or options, options that are not a JSON object, or a name given twice.
    """
    scorers: dict[str, Scorer] = {}
    for text in texts:
        name, _, given = text.partition("=")
        try:
            options = json.loads(given or "{}")
        except json.JSONDecodeError as error:
            raise UserError(
                f"--scorers {text}", f"not JSON after '=' ({error})", 'name={"option": value}', "correct it"
            ) from None
        if not isinstance(options, dict):
            raise UserError(f"--scorers {text}", "not a JSON object", 'name={"option": value}', "correct it")
        if name in scorers:
            raise UserError(f"--scorers {text}", f"{name} is given twice", "each scorer once", "remove one")
        scorers[name] = build(name, options)
    return scorers
