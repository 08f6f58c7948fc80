"""Who is compared with whom, and what the verdicts of both orders make of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from winnow.records import Prompt
from winnow.scoring.judge.verdict import FIRST, TIE
from winnow.scoring.score import Item, Score

Outcome = Literal["win", "loss", "tie"]
VALUES: dict[Outcome, float] = {"win": 1.0, "loss": 0.0, "tie": 0.5}
PLURALS: dict[Outcome, str] = {"win": "wins", "loss": "losses", "tie": "ties"}
OPPOSITE: dict[Outcome, Outcome] = {"win": "loss", "loss": "win", "tie": "tie"}
SEEDS = 2**31
"""Servers take seeds of 32 bits at least."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two completions of a prompt, or one and the prompt's reference.

    Attributes:
        prompt: of both.
        one, other: the completions' ids; `other` is None for the reference.
        texts: of `one` and of `other`.
    """

    prompt: Prompt
    one: str
    other: str | None
    texts: tuple[str, str]

    @property
    def same(self) -> bool:
        """Whether there is nothing to ask: both orders would be one and the same question."""
        return self.texts[0] == self.texts[1]

    def orders(self) -> tuple[Order, Order]:
        """Both orders in which the judge is shown it."""
        return Order(self, False), Order(self, True)


@dataclass(frozen=True, slots=True)
class Order:
    """A comparison as it is shown once.

    Attributes:
        comparison: of whom.
        swapped: whether `other` stands first.
    """

    comparison: Comparison
    swapped: bool

    @property
    def key(self) -> str:
        """Names it among all: whoever stands first is named first."""
        pair = [self.comparison.one, self.comparison.other]
        return orjson.dumps(pair[::-1] if self.swapped else pair).decode()

    @property
    def texts(self) -> tuple[str, str]:
        """The first, and the second."""
        return self.comparison.texts[::-1] if self.swapped else self.comparison.texts

    @property
    def seed(self) -> int:
        """Depends on what is asked alone."""
        return _hash(self.key) % SEEDS

    def outcome(self, verdict: str) -> Outcome:
        """What a verdict means for `one`."""
        if verdict == TIE:
            return "tie"
        return "win" if (verdict == FIRST) != self.swapped else "loss"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a comparison.

    Attributes:
        outcome: for `one`; None where a verdict is missing.
        consistent: whether both orders say the same.
        reason: why it is missing.
    """

    outcome: Outcome | None
    consistent: bool = True
    reason: str = ""


def judged(verdicts: tuple[str, str], comparison: Comparison) -> Judged:
    """From the verdicts of both orders, in the order of `Comparison.orders`."""
    forward, backward = (
        order.outcome(verdict) for order, verdict in zip(comparison.orders(), verdicts, strict=True)
    )
    return Judged(forward) if forward == backward else Judged("tie", consistent=False)


def with_reference(item: Item) -> Comparison | None:
    """A completion against the reference of its prompt; None where there is no reference."""
    reference = item.prompt.reference
    if reference is None or not reference.strip():
        return None
    return Comparison(item.prompt, item.id, None, (item.text, reference))


def with_siblings(items: Sequence[Item], rounds: int, seed: int) -> Iterator[Comparison]:
    """Each completion of a prompt against its neighbours on a ring, each pair once.

    Args:
        items: the completions of one prompt.
        rounds: neighbours on each side.
        seed: of the order on the ring, which depends on it and on the ids alone.
    """
    ring = sorted(items, key=lambda item: (_hash(f"{seed}\0{item.id}"), item.id))
    seen = set()
    for distance in range(1, min(rounds, len(ring) // 2) + 1):
        for place, one in enumerate(ring):
            other = ring[(place + distance) % len(ring)]
            pair = frozenset((one.id, other.id))
            if pair not in seen:
                seen.add(pair)
                yield Comparison(one.prompt, one.id, other.id, (one.text, other.text))


def score(found: Sequence[Judged]) -> Score:
    """The mean over the comparisons of a completion that have a verdict.

    Args:
        found: its comparisons, each as seen from it.
    """
    outcomes = [each.outcome for each in found if each.outcome is not None]
    missing = [each.reason for each in found if each.outcome is None]
    if not outcomes:
        reasons = Counter(missing).most_common(1)
        return Score(None, False, f"no verdict: {reasons[0][0]}" if reasons else "nothing to compare with")
    value = sum(VALUES[each] for each in outcomes) / len(outcomes)
    counts = Counter(outcomes)
    told = [
        f"{counts[each]} {each if counts[each] == 1 else PLURALS[each]}" for each in VALUES if counts[each]
    ]
    return Score(value, value > 0.5, ", ".join(told + [f"{len(missing)} missing"] * bool(missing)))


def from_the_other_side(found: Judged) -> Judged:
    """The same comparison as seen from `other`."""
    outcome = None if found.outcome is None else OPPOSITE[found.outcome]
    return Judged(outcome, found.consistent, found.reason)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
