"""A user's own scorer, held to what the built-in ones promise."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any, get_args

from winnow import plugins
from winnow.errors import UserError
from winnow.scoring.score import Measure, Score

LARGEST = sys.float_info.max


class Raised(Score):
    """The score of a text on which the scorer raised: no value, not passed, and the reason."""


class PluginScorer:
    """A scorer of the user's, by its import path, which is its name in the records as in the config.

    A text on which it raises is scored as an unreadable answer is: no value, not passed, and the
    exception as detail. Whoever scores a whole file judges whether these are too many.

    Raises:
        UserError: a constructor that raises; while scoring, something other than a `Score`, or an
            OSError: a server or a disk that fails says nothing of the text.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        found = plugin_class(name)
        self.name = name
        self.version: int = found.version
        self.measures: Measure = found.measures
        self._where = f"scorer {name!r}"
        try:
            self._scorer = found(**options)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                self._where,
                f"its constructor raises {plugins.told(error)}",
                "a scorer that can be made with the options of the config",
                "correct the options, or the scorer",
            ) from error

    def score(self, text: str, reference: str | None) -> Score:
        """Score a completion's text against its prompt's reference."""
        try:
            score = self._scorer.score(text, reference)
        except UserError:
            raise
        except OSError as error:
            raise UserError(
                self._where,
                f"raised {plugins.told(error)}",
                "a scorer that reaches what it needs",
                "run again when it can",
            ) from error
        except Exception as error:
            return Raised(None, False, f"raised {plugins.told(error)}")
        return self._checked(score)

    def _checked(self, score: Any) -> Score:
        if not isinstance(score, Score):
            raise self._no_score(f"a {type(score).__name__}: {score!r:.80}")
        value, passed, detail = score.value, score.passed, score.detail
        if not isinstance(passed, bool) or not isinstance(detail, str):
            raise self._no_score(f"passed {passed!r} ({type(passed).__name__}) and detail {detail!r:.80}")
        if score.answer_class is not None and not isinstance(score.answer_class, str):
            raise self._no_score(f"answer_class {score.answer_class!r:.80}")
        if value is None:
            return score
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST:
            raise self._no_score(f"the value {value!r:.80} ({type(value).__name__})")
        # JSON knows neither numpy's numbers nor integers of more than 64 bits.
        return Score(float(value), passed, detail, score.answer_class)

    def _no_score(self, found: str) -> UserError:
        return UserError(
            self._where,
            f"returned {found}",
            "winnow.scoring.Score(value: a finite number or None, passed: bool, detail: str)",
            "correct what the scorer returns, with float() and bool() where it is numpy's",
        )


def plugin_class(name: str) -> type[Any]:
    """The class behind an import path, checked.

    Raises:
        UserError: it cannot be loaded, is no class, or lacks what a scorer has.
    """
    where = f"scorer {name!r}"
    found = plugins.load("scorer", name)
    if not inspect.isclass(found):
        raise UserError(where, f"a {type(found).__name__}", "a class", "name a scorer class")
    version, measures = getattr(found, "version", None), getattr(found, "measures", None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise UserError(where, f"version {version!r}", "version: a whole number", "give the class a version")
    if measures not in get_args(Measure):
        raise UserError(
            where,
            f"measures {measures!r}",
            f"measures: one of {', '.join(get_args(Measure))}",
            "say what the scorer's value is",
        )
    plugins.check_call(where, getattr(found, "score", None), "score(text, reference)", None, "", None)
    return found
