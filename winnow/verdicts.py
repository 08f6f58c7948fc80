"""How completions fare while they are drawn: a scorer's verdicts, for the line of progress alone."""

from __future__ import annotations

import logging

from winnow import scoring
from winnow.errors import UserError
from winnow.records import NOT_GENERATED, Completion

log = logging.getLogger("progress")


class Verdicts:
    """Counts what passed, and the mean of the values where they are errors or rewards.

    Args:
        scorer: its name and options, as score.py takes them; a cheap one.

    Raises:
        UserError: no such scorer, or wrong options.
    """

    def __init__(self, scorer: str) -> None:
        (found,) = scoring.parse([scorer]).values()
        if not scoring.is_text_scorer(found):
            raise UserError(
                f"scorer {found.name!r}",
                "not cheap enough to tell beside the progress",
                "a scorer of one text: exact_answer, numeric_error, choice, regex",
                "name one of these, or leave the flag out",
            )
        self._scorer = found
        self._seen = self._passed = self._values = self._failed = 0
        self._sum = 0.0
        self._over = False

    def add(self, completion: Completion, reference: str | None) -> None:
        """One more completion."""
        if completion.finish_reason in NOT_GENERATED:
            self._failed += 1
            return
        if self._over:
            return
        try:
            score = self._scorer.score(completion.text, reference)
        except UserError as error:
            # Drawing goes on: the stage that scores will say the same again, and stop at it.
            self._over = True
            log.warning("%s: %s; no more verdicts in the lines that follow", completion.id, error)
            return
        self._seen += 1
        self._passed += score.passed
        if score.value is not None:
            self._values += 1
            self._sum += score.value

    def __str__(self) -> str:
        """``71.2 % passed, mean error 0.42, 3 not drawn``."""
        told = []
        if self._seen:
            told.append(f"{100 * self._passed / self._seen:.1f} % passed")
        if self._values and self._scorer.measures != "verdict":
            told.append(f"mean {self._scorer.measures} {self._sum / self._values:.3g}")
        if self._failed:
            told.append(f"{self._failed:,} not drawn")
        return ", ".join(told)
