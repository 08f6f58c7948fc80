"""The scorers by name.

A built-in is a class with a version: a file, and a line here. A name with a colon is the import path
of a user's own; one with a slash is a built-in with a label, so that a config can have several of a kind.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, TypeGuard

from winnow import plugins
from winnow.errors import UserError, closest
from winnow.fingerprint import fingerprint
from winnow.records import content_id
from winnow.scoring.plugin import PluginScorer, plugin_class
from winnow.scoring.score import AnyScorer, Measure, Scorer

BUILTIN = {
    "exact_answer": "exact_answer:ExactAnswer",
    "llm_judge": "llm_judge:LlmJudge",
    "numeric_error": "numeric_error:NumericError",
    "math": "math_answer:Math",
    "choice": "choice:Choice",
    "regex": "regex:Regex",
    "format": "tag_format:TagFormat",
    "repetition": "repetition:Repetition",
    "length": "length:Length",
    "weighted_sum": "composite:WeightedSum",
    "all_of": "composite:AllOf",
    "reward_model": "reward_model:RewardModel",
}
"""Where each is: a module of this package, and its class. Not imported before a config names it."""
LABEL = "/"
"""Behind a built-in's name: ``regex/boxed`` and ``regex/tags`` are two scorers of one kind."""


def names() -> list[str]:
    """The names of the built-in scorers."""
    return list(BUILTIN)


def kind(name: str) -> str:
    """A scorer's name without its label."""
    return name if plugins.is_import_path(name) else name.partition(LABEL)[0]


def _class(name: str) -> type[Any]:
    if plugins.is_import_path(name):
        return plugin_class(name)
    builtin = kind(name)
    if builtin not in BUILTIN:
        raise plugins.unknown("scorer", name, BUILTIN)
    found: type[Any] = getattr(_module(builtin), BUILTIN[builtin].partition(":")[2])
    return found


def _module(builtin: str) -> ModuleType:
    return importlib.import_module(f"winnow.scoring.{BUILTIN[builtin].partition(':')[0]}")


def is_text_scorer(scorer: AnyScorer) -> TypeGuard[Scorer]:
    """Whether a scorer needs nothing but a text and a reference, and so can be run anywhere, at once."""
    return hasattr(scorer, "score")


@functools.cache
def measure(name: str) -> Measure:
    """What the value of a scorer is.

    Raises:
        UserError: an unknown name, or a plug-in that is no scorer.
    """
    found: Measure = _class(name).measures
    return found


def build(name: str, options: Mapping[str, Any] | None = None) -> AnyScorer:
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
    if plugins.is_import_path(name):
        return PluginScorer(name, options)
    try:
        scorer: AnyScorer = found(**options)
    except UserError as error:
        raise error.at(f"scorer {name!r}") from error
    # Its label is part of the name under which its scores stand.
    vars(scorer)["name"] = name
    return scorer


def divided(scorers: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scorers with the options that decide their scores; and those that have others, with these.

    The latter are a class's `access`: how a server is reached. Another one makes no score again.
    """
    names = {name: frozenset(getattr(_class(name), "access", ())) for name in scorers}
    deciding = {n: {k: v for k, v in given.items() if k not in names[n]} for n, given in scorers.items()}
    access = {n: {k: v for k, v in given.items() if k in names[n]} for n, given in scorers.items()}
    return deciding, {name: options for name, options in access.items() if options}


def versions(scorers: Mapping[str, Any]) -> dict[str, str]:
    """name → version and hash of its code, for the DAG: another one means that scores are made again.

    The code of a stage does not know that of the scorers: those that a config does not name rerun nothing.

    Raises:
        UserError: as `build`; or a combiner of scores that are not there.
    """
    built = {name: build(name, options) for name, options in scorers.items()}
    parts_first(built)
    codes = plugins.fingerprint(scorers)
    # Of a file that an option names, the path alone stands among the options.
    read = {name: content_id(each.identity) for name, each in built.items() if hasattr(each, "identity")}
    return {
        name: ", ".join([str(each.version), codes.get(name) or _code(name), *filter(None, [read.get(name)])])
        for name, each in built.items()
    }


def _code(name: str) -> str:
    return fingerprint(str(_module(kind(name)).__file__))


def parts_first(scorers: Mapping[str, AnyScorer]) -> list[str]:
    """The names in an order in which each combiner stands behind what it combines.

    Raises:
        UserError: a combiner of a score that is not there, or of its own.
    """
    ordered: list[str] = []
    waiting = list(scorers)
    while waiting:
        ready = [name for name in waiting if set(ordered).issuperset(_parts(scorers[name]))]
        if not ready:
            raise _no_parts(scorers, waiting)
        ordered += ready
        waiting = [name for name in waiting if name not in ready]
    return ordered


def behind(name: str, scorers: Mapping[str, Any]) -> dict[str, Any]:
    """A scorer with its options, and those that it combines, in the order of the config."""
    wanted, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each not in wanted:
            wanted.add(each)
            waiting += _parts(build(each, scorers[each]))
    return {each: options for each, options in scorers.items() if each in wanted}


def _parts(scorer: AnyScorer) -> Sequence[str]:
    found: Sequence[str] = getattr(scorer, "parts", ())
    return found


def _no_parts(scorers: Mapping[str, AnyScorer], waiting: list[str]) -> UserError:
    for name in waiting:
        for part in _parts(scorers[name]):
            if part not in scorers:
                others = [other for other in scorers if other != name]
                return UserError(
                    f"scorer {name!r}",
                    f"combines {part!r}{closest(part, others)}",
                    "one of the scorers that run: " + (", ".join(others) or "there is no other"),
                    "add that scorer, or correct the name",
                )
    return UserError(
        f"scorer {waiting[0]!r}",
        f"combines itself: {', '.join(waiting)} wait for each other",
        "a combiner of other scores",
        "take one of them out",
    )


def parse(texts: list[str], access: list[str] | None = None) -> dict[str, AnyScorer]:
    """Scorers from a command line: ``name`` or ``name={"option": value}`` each.

    Args:
        texts: the scorers.
        access: further options of some of them, in the same form.

    Raises:
        UserError: unknown names or options, options that are not a JSON object, or a name given twice.
    """
    further = _options(access or [], "--scorer_access")
    given = _options(texts, "--scorers")
    for name in further.keys() - given.keys():
        raise UserError(
            f"--scorer_access {name}", "not among the scorers", ", ".join(given), "add it to --scorers"
        )
    scorers = {name: build(name, {**options, **further.get(name, {})}) for name, options in given.items()}
    parts_first(scorers)
    return scorers


def _options(texts: list[str], flag: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, given = text.partition("=")
        try:
            options = json.loads(given or "{}")
        except json.JSONDecodeError as error:
            raise UserError(
                f"{flag} {text}", f"not JSON after '=' ({error})", 'name={"option": value}', "correct it"
            ) from None
        if not isinstance(options, dict):
            raise UserError(f"{flag} {text}", "not a JSON object", 'name={"option": value}', "correct it")
        if name in found:
            raise UserError(f"{flag} {text}", f"{name} is given twice", "each scorer once", "remove one")
        found[name] = options
    return found
