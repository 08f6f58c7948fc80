"""How many tokens the student drafts in a round: from what was accepted and how long rounds took."""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque

DEPTHS = (1, 2, 3, 4, 6, 8)
"""Depths to choose from."""
PATIENCE = 64
"""After so many rounds at the best depth, one of its neighbours is measured again."""
TRIES = 4
"""So many of its rounds, at most, until one is timed: where rounds are recorded, the fourth of a shape is."""
REMEMBERED = 9
"""Rounds of one kind whose median time counts."""
PRIOR = 8.0
"""Drafts' worth of belief in the overall acceptance at a place that was reached seldom."""


class Controller:
    """Chooses the depth with the most tokens a second; the texts do not depend on it.

    A round of K yields E(K) = Σ_{j<K} Π_{i≤j} β_i tokens, β_i being the acceptance at place i among
    the rounds that reached it; (1 − β^K)/(1 − β) where all are alike. It takes the time that rounds
    of this depth and about as many rows took.

    Args:
        deepest: no more than this; None is the largest of `DEPTHS`.
        fixed: always this depth.
    """

    def __init__(self, deepest: int | None = None, fixed: int | None = None) -> None:
        self._depths = (fixed,) if fixed else tuple(d for d in DEPTHS if deepest is None or d <= deepest)
        self._seconds: dict[tuple[int, int], deque[float]] = {}
        self._since = 0
        self._turn = 0
        # The neighbour that is being measured, and how many more rounds it may take.
        self._trial, self._tries = 0, 0
        self._reached = [0.0] * max(self._depths)
        self._kept = [0.0] * max(self._depths)
        self.rounds: Counter[int] = Counter()

    @property
    def deepest(self) -> int:
        """The largest depth that may be chosen."""
        return max(self._depths)

    @property
    def acceptance(self) -> float | None:
        """The share of the considered drafts that was accepted."""
        return sum(self._kept) / sum(self._reached) if sum(self._reached) else None

    def choose(self, rows: int) -> int:
        """The depth of the next round of so many rows."""
        if len(self._depths) == 1:
            return self._depths[0]
        known = [depth for depth in self._depths if self._time(rows, depth) is not None]
        # Two depths give a line, by which the others are judged before they are tried.
        for first in (1, 4):
            if first in self._depths and first not in known:
                return first
        if self._tries:
            return self._trial
        best = max(self._depths, key=lambda depth: self.speed(rows, depth))
        self._since += 1
        if self._since < PATIENCE:
            return best
        self._since, self._turn = 0, self._turn + 1
        place = self._depths.index(best)
        near = [d for d in self._depths[max(0, place - 1) : place + 2] if d != best]
        self._trial, self._tries = near[self._turn % len(near)], TRIES
        return self._trial

    def observe(self, rows: int, depth: int, seconds: float | None, accepted: list[int]) -> None:
        """Learn from a round: how many drafts of each row were accepted, and how long it took.

        Its time is None where others of its kind will take another.

        The time of the very first round of a kind is not kept if another follows: it holds what
        happens once (buffers, kernels).
        """
        self.rounds[depth] += 1
        if self._tries and depth == self._trial:
            self._tries = 0 if seconds is not None else self._tries - 1
        if seconds is not None:
            times = self._seconds.setdefault((_size(rows), depth), deque(maxlen=REMEMBERED))
            if self.rounds[depth] == 2 and len(times) == 1:
                times.clear()
            times.append(seconds / rows**_SHARE)
        for count in accepted:
            for place in range(min(count + 1, depth)):
                self._reached[place] += 1
                self._kept[place] += place < count

    def speed(self, rows: int, depth: int) -> float:
        """Tokens a second and row that are expected of a depth."""
        seconds = self._time(rows, depth)
        if seconds is None:
            seconds = self._on_the_line(rows, depth)
        return self.tokens(depth) / seconds

    def tokens(self, depth: int) -> float:
        """E(K): tokens that a round of this depth yields, for each row."""
        overall = self.acceptance
        prior = 0.8 if overall is None else overall
        total = reached = 1.0
        for place in range(depth - 1):
            kept = (self._kept[place] + PRIOR * prior) / (self._reached[place] + PRIOR)
            reached *= kept
            total += reached
        return total

    def _time(self, rows: int, depth: int) -> float | None:
        times = self._seconds.get((_size(rows), depth))
        return statistics.median(times) * rows**_SHARE if times else None

    def _on_the_line(self, rows: int, depth: int) -> float:
        """The time of a depth that was not tried, by a straight line through those that were."""
        known = {d: seconds for d in self._depths if (seconds := self._time(rows, d)) is not None}
        low, high = min(known), max(known)
        slope = (known[high] - known[low]) / (high - low) if high > low else known[low]
        nearest = min(known, key=lambda d: abs(d - depth))
        return max(known[nearest] + slope * (depth - nearest), 0.2 * known[nearest])

    def __str__(self) -> str:
        total = sum(self.rounds.values())
        shares = ", ".join(f"K = {k} in {n / total:.0%}" for k, n in sorted(self.rounds.items())) or "none"
        beta = self.acceptance
        return f"{total:,} rounds ({shares})" + (f", β = {beta:.3f}" if beta is not None else "")


_SHARE = 0.5
"""Within a size class, a round's time is taken to grow with the square root of its rows."""


def _size(rows: int) -> int:
    """Batches of like size have like times: classes of a factor of 2."""
    return math.ceil(math.log2(rows)) if rows > 1 else 0
