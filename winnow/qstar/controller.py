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
    of this depth and about as many rows took; until there was one, what rounds of more or fewer rows tell.

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
        seconds = self._seconds_of(_size(rows))
        if len(seconds) < len(self._depths):
            # Two depths give a line, by which the others are judged before they are tried.
            return next(d for d in (1, 4, *self._depths) if d in self._depths and d not in seconds)
        if self._tries:
            return self._trial
        best = max(self._depths, key=lambda depth: self.tokens(depth) / seconds[depth])
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

    def _seconds_of(self, size: int) -> dict[int, float]:
        """Seconds that rounds of a size class are expected to take, over `rows ** _SHARE`, by depth.

        Of all depths, as soon as two were measured in some class; else of those that were.
        """
        own = known = self._measured(size)
        if len(own) < 2:
            others = Counter(each for each, _ in self._seconds)
            guides = [each for each, depths in others.items() if depths > 1]
            if not guides:
                return own
            known = self._measured(min(guides, key=lambda each: (abs(each - size), -each)))
        # By how much rounds of the two sizes differ, where both had one of the same depth.
        scales = [own[each] / known[each] for each in own if each in known]
        scale = statistics.mean(scales) if scales else 1.0
        return {each: own.get(each) or _on_the_line(known, each) * scale for each in self._depths}

    def _measured(self, size: int) -> dict[int, float]:
        """The same of the depths that were measured in the class itself."""
        return {
            depth: statistics.median(times) for (each, depth), times in self._seconds.items() if each == size
        }

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


def _on_the_line(known: dict[int, float], depth: int) -> float:
    """The time of a depth, by a straight line through others where it was not tried itself."""
    if depth in known:
        return known[depth]
    low, high = min(known), max(known)
    slope = (known[high] - known[low]) / (high - low) if high > low else known[low]
    nearest = min(known, key=lambda each: abs(each - depth))
    return max(known[nearest] + slope * (depth - nearest), 0.2 * known[nearest])
