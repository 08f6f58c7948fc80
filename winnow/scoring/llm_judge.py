"""llm_judge: how often a judge model prefers a completion to another one, asked in both orders."""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import orjson

from winnow.errors import UserError
from winnow.records import Message
from winnow.scoring.judge import options as check
from winnow.scoring.judge.comparisons import (
    Comparison,
    Judged,
    Order,
    from_the_other_side,
    judged,
    score,
    with_reference,
    with_siblings,
)
from winnow.scoring.judge.question import messages, template
from winnow.scoring.judge.tally import Tally, reason
from winnow.scoring.score import Item, Measure, Notes, Score, Unreferenced

log = logging.getLogger("judge")

AGAINST = REFERENCE, SIBLINGS = ("reference", "siblings")
TOLD_SECONDS = 60.0
SILENT = 8
"""Questions, at least, before a judge without any verdict is given up."""


class LlmJudge:
    """Value: the mean over a completion's comparisons, 1 for a win, 0 for a loss, 0.5 for a tie.

    Every comparison is asked in both orders. A judge that contradicts itself has made a tie; one whose answer
    cannot be had or read in one order has made nothing: that comparison is missing.

    Args:
        model: the name under which the judge is served.
        base_url: of its server, or of several that share the load; OPENAI_BASE_URL if not given.
        prompt: a Jinja template over `prompt`, `first`, `second` and `reference`, or a file with one.
        against: `reference`, the prompt's, or `siblings`, the other completions of the prompt.
        rounds: neighbours on each side of a ring of the siblings.
        concurrency: requests in flight.
        max_retries: of each request.
        temperature, max_tokens: of the judge.
        timeout: seconds for one answer.
        max_failed_fraction: of the questions; with more that have no verdict the job fails.
        api_key_env: the environment variable that has the key; OPENAI_API_KEY if not given.
        seed: of the order on the ring.
        image_root: the folder of the prompts' images, for a judge that sees them.
        request: further keys of each request; null takes one away.
    """

    name: ClassVar[str] = "llm_judge"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "reward"
    costly: ClassVar[bool] = True
    access: ClassVar[tuple[str, ...]] = (
        "base_url", "concurrency", "max_retries", "timeout", "max_failed_fraction", "api_key_env",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        base_url: str | list[str] | None = None,
        prompt: str | None = None,
        against: str = SIBLINGS,
        rounds: int = 2,
        concurrency: int = 32,
        max_retries: int = 6,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        timeout: float = 300.0,
        max_failed_fraction: float = 0.1,
        api_key_env: str | None = None,
        seed: int = 0,
        image_root: str | None = None,
        request: dict[str, Any] | None = None,
    ) -> None:
        self._model = check.words("model", model)
        self._template = template(None if prompt is None else check.words("prompt", prompt))
        self._against = check.one_of("against", against, AGAINST)
        self._rounds = check.whole("rounds", rounds, 1)
        self._temperature = check.number("temperature", temperature, 0, 10)
        self._max_tokens = check.whole("max_tokens", max_tokens, 1)
        self._failed_fraction = check.number("max_failed_fraction", max_failed_fraction, 0, 1)
        self._seed = check.whole("seed", seed, 0)
        self._image_root = None if image_root is None else Path(check.words("image_root", image_root))
        self._request = check.keys("request", request)
        self._access = check.Access(
            check.base_urls(base_url),
            check.variable(api_key_env),
            check.whole("concurrency", concurrency, 1),
            check.whole("max_retries", max_retries, 0),
            check.number("timeout", timeout, 0, 86400, above=True),
        )
        self._notes: Notes | None = None
        self._tally = Tally()

    @property
    def identity(self) -> str:
        """What decides its scores: how the judge is reached does not, the text of a template's file does."""
        deciding = (
            self._model, self._template, self._against, self._rounds, self._temperature, self._max_tokens,
            self._seed, self._image_root is not None, self._request,
        )  # fmt: skip
        return orjson.dumps(deciding, option=orjson.OPT_SORT_KEYS).decode()

    def keep_in(self, notes: Notes) -> None:
        """Keep each verdict there from now on: every one of them costs."""
        self._notes = notes

    def score_items(self, items: Sequence[Item]) -> list[Score]:
        """A score for each item, in order; the completions of a prompt follow one another.

        Raises:
            UserError: the judge cannot be asked, or too many questions have no verdict.
        """
        scores: dict[str, Score] = {}
        comparisons: list[Comparison] = []
        for _, group in itertools.groupby(items, key=lambda item: item.prompt.id):
            self._match(list(group), scores, comparisons)
        found: dict[str, list[Judged]] = {item.id: [] for item in items}
        for comparison, each in zip(comparisons, self._judge(comparisons), strict=True):
            found[comparison.one].append(each)
            if comparison.other is not None:
                found[comparison.other].append(from_the_other_side(each))
        return [scores.get(item.id) or score(found[item.id]) for item in items]

    def close(self) -> None:
        """Tell what was judged and what it cost."""
        if self._tally.wanted:
            log.info("%s: %s", self.name, self._tally)

    def _match(self, group: list[Item], scores: dict[str, Score], comparisons: list[Comparison]) -> None:
        """Pair the completions of a prompt; those that cannot be compared have their score at once."""
        if group[0].prompt.images and self._image_root is None:
            missing = Score(None, False, "the prompt has images, and the judge no image_root")
            scores.update({item.id: missing for item in group})
        elif self._against == REFERENCE:
            for item in group:
                if comparison := with_reference(item):
                    comparisons.append(comparison)
                else:
                    scores[item.id] = Unreferenced(None, False, "the prompt has no reference")
        elif len(group) == 1:
            scores[group[0].id] = Score(None, False, "no other completion of the prompt to compare it with")
        else:
            comparisons += with_siblings(group, self._rounds, self._seed)

    def _judge(self, comparisons: list[Comparison]) -> list[Judged]:
        orders = [order for each in comparisons if not each.same for order in each.orders()]
        verdicts, missing = self._verdicts(orders)
        judgements = []
        for each in comparisons:
            if each.same:
                judgements.append(Judged("tie"))
                continue
            keys = [order.key for order in each.orders()]
            reasons = [missing[key] for key in keys if key in missing]
            if reasons:
                judgements.append(Judged(None, reason=reasons[0]))
            else:
                judgements.append(judged((verdicts[keys[0]], verdicts[keys[1]]), each))
                self._tally.count(verdicts[keys[0]], verdicts[keys[1]], judgements[-1])
        self._tally.missing += sum(each.outcome is None for each in judgements)
        return judgements

    def _verdicts(self, orders: list[Order]) -> tuple[dict[str, str], dict[str, str]]:
        """(order's key → verdict, order's key → why there is none)."""
        verdicts = {
            order.key: self._notes.read(order.key)["verdict"]
            for order in orders
            if self._notes is not None and order.key in self._notes
        }
        missing: dict[str, str] = {}
        tally, told = self._tally, time.monotonic()
        tally.wanted += len(orders)
        tally.kept += len(verdicts)
        asked = [order for order in orders if order.key not in verdicts]
        # Closed at once when the job ends here: what is still asked costs.
        with closing(self._served.ask(asked, self._shown)) as answers:
            for order, answer in answers:
                if verdict := tally.add(answer):
                    verdicts[order.key] = verdict
                    if self._notes is not None:
                        self._notes.append(order.key, {"verdict": verdict})
                else:
                    missing[order.key] = reason(answer)
                    self._check_failed()
                if time.monotonic() - told > TOLD_SECONDS:
                    told = time.monotonic()
                    log.info("%s: %s verdicts", self.name, f"{tally.kept + tally.asked - tally.failed:,}")
        return verdicts, missing

    @functools.cached_property
    def _served(self) -> Any:
        # Only now: the HTTP client takes a second to import, and a dry run asks nobody.
        from winnow.scoring.judge.service import Form, Judge

        form = Form(self._model, self._temperature, self._max_tokens, self._request, self._image_root)
        return Judge(form, self._access)

    def _shown(self, order: Order) -> list[Message]:
        # Against the reference it is one of the two: shown, it would give itself away.
        reference = None if self._against == REFERENCE else order.comparison.prompt.reference
        return messages(order, self._template, reference)

    def _check_failed(self) -> None:
        """Stop at a judge without a verdict for too many; at one that has none for anybody, sooner.

        Raises:
            UserError: so it is.
        """
        tally, fraction = self._tally, self._failed_fraction
        silent = fraction < 1 and tally.failed == tally.asked >= max(self._access.concurrency, SILENT)
        if not silent and tally.failed <= fraction * tally.wanted:
            return
        raise UserError(
            f"the judge {self._model}",
            f"{tally.failed:,} of {tally.asked if silent else tally.wanted:,} questions have no verdict. "
            f"{tally.reasons()}",
            "one at least" if silent else f"at most {fraction:.1%} of them (max_failed_fraction)",
            "see the judge's server; the verdicts are kept, the same command asks for the rest again",
        )
