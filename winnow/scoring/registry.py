"""The scorers by name. A scorer is a class with a version; adding one is a file and a line here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from winnow.errors import UserError, closest

Measure = Literal["verdict", "error", "reward"]
"""What a scorer's value is: 1 or 0 for right or wrong; a distance, where less is better; or a
reward, where more is better."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one completion.

    Attributes:
        value: a finite number, or None where there is none (then `detail` has the reason).
        passed: whether the completion counts as correct.
        detail: what was extracted, or why there is no value.
    """

    value: float | None
    passed: bool
    detail: str


class Scorer(Protocol):
    """A verifier. Its constructor's keyword arguments are its options in the config."""

    name: ClassVar[str]
    version: ClassVar[int]
    measures: ClassVar[Measure]

    def score(self, text: str, reference: str | None) -> Score:
        """Score a completion's text against its prompt's reference."""
        ...


def _scorers() -> dict[str, type[Any]]:
    from winnow.scoring.exact_answer import ExactAnswer
    from winnow.scoring.numeric_error import NumericError

    return {scorer.name: scorer for scorer in (ExactAnswer, NumericError)}


def names() -> list[str]:
    """The names that a config may use."""
    return list(_scorers())


def measure(name: str) -> Measure:
    """What the value of a scorer is.

    Raises:
        UserError: an unknown name.
    """
    build(name)
    found: Measure = _scorers()[name].measures
    return found


def build(name: str, options: Mapping[str, Any] | None = None) -> Scorer:
    """A scorer by name, with its options.

    Raises:
        UserError: an unknown name or option; a near one is suggested.
    """
    known = _scorers()
    if name not in known:
        raise UserError(
            f"scorer {name!r}",
            f"unknown{closest(name, known)}",
            "one of " + ", ".join(known),
            "correct the name",
        )
    allowed = list(inspect.signature(known[name]).parameters)
    for option in options or {}:
        if option not in allowed:
            raise UserError(
                f"scorer {name!r}",
                f"option {option!r} is unknown{closest(option, allowed)}",
                "one of " + (", ".join(allowed) or "none"),
                "correct the option",
            )
    scorer: Scorer = known[name](**(options or {}))
    return scorer


def versions(scorers: Mapping[str, Any]) -> dict[str, int]:
    """name → version, for the DAG: another version means that scores are made again."""
    return {name: build(name, options).version for name, options in scorers.items()}


def parse(texts: list[str]) -> dict[str, Scorer]:
    """Scorers from a command line: ``name`` or ``name={"option": value}`` each.

    Raises:
        UserError: unknown names or options, or options that are not a JSON object.
    """
    scorers = {}
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
        scorers[name] = build(name, options)
    return scorers
