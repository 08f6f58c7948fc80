"""How rows of tokens are laid out for a reward model: by length, within a budget, shared prefixes apart.

Nothing here knows of torch: a plan is made of token ids alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SLOTS_PER_TOKEN = 8
"""Positions that one pass may attend over, for each token of the budget: keys and values are smaller than
what a layer makes of a token, and stand in memory for one layer at a time."""
LEAST_SAVED = 1 / 8
"""Share of a prompt's tokens that a shared prefix has to save; below that, a pass of its own costs more."""

WORTH_A_PASS = 1 / 8
"""Share of the budget from which a pass runs about as fast, token for token, as a full one."""
LEAST_FILLED = 3 / 4
"""Share of the longest of such a pass that the next row has to have; a shorter one begins another."""


@dataclass(frozen=True, slots=True)
class Row:
    """A completion behind its prompt, as token ids.

    Attributes:
        index: its place among what is scored.
        prompt: the prompt's id.
        tokens: all that the reward depends on; the last is the one at which it is read.
    """

    index: int
    prompt: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """Rows that run from their first token, in one pass."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Suffix:
    """What a row has behind its prefix.

    Attributes:
        row: the whole row.
        prefix: the place of its prefix among those of the batch.
        tokens: behind the prefix; never empty.
    """

    row: Row
    prefix: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """Prefixes that run once, in one pass, and the passes of all that comes behind them."""

    prefixes: tuple[tuple[int, ...], ...]
    passes: tuple[tuple[Suffix, ...], ...]


Batch = Whole | Shared


def rows_of(batch: Batch) -> list[Row]:
    """The rows that a batch scores."""
    if isinstance(batch, Whole):
        return list(batch.rows)
    return [suffix.row for each in batch.passes for suffix in each]


def largest_pass(batch: Batch) -> tuple[int, int]:
    """(tokens, rows) of the largest pass of a batch.

    The tokens are those of the padded pass, or what the positions that it attends over count for, if more.
    """
    if isinstance(batch, Whole):
        return _padded(batch.rows), len(batch.rows)
    span = max(map(len, batch.prefixes))
    return max(
        (span * len(batch.prefixes), len(batch.prefixes)),
        *(
            (max(_padded(each), _counted(len(each), span + _longest(each))), len(each))
            for each in batch.passes
        ),
    )


def planned(
    rows: Iterable[Row],
    budget: int,
    share: bool = True,
    rows_per_pass: int | None = None,
    apart: frozenset[int] = frozenset(),
) -> list[Batch]:
    """Batches in which each row stands once, the longest first.

    Args:
        rows: in any order.
        budget: tokens of a pass, padding included; a single row that is longer has a pass of its own.
        share: let the rows of a prompt share what they begin with, where that saves enough.
        rows_per_pass: at most so many, whatever the budget.
        apart: indices of rows that share nothing.
    """
    families: dict[str, list[Row]] = {}
    whole: list[Row] = []
    for row in rows:
        if share and row.index not in apart:
            families.setdefault(row.prompt, []).append(row)
        else:
            whole.append(row)
    shared: list[tuple[tuple[int, ...], list[Row]]] = []
    for family in families.values():
        prefix = common_prefix(family)
        if (len(family) - 1) * len(prefix) > LEAST_SAVED * sum(len(row.tokens) for row in family):
            shared.append((prefix, family))
        else:
            whole += family
    most = rows_per_pass or len(whole) + 1
    return [*_shared_batches(shared, budget), *_whole_batches(whole, budget, most)]


def common_prefix(rows: Sequence[Row]) -> tuple[int, ...]:
    """What all rows begin with, short of the last token of the shortest: that one has to be read."""
    # Of sorted sequences, the first and the last differ the soonest.
    first, last = min(row.tokens for row in rows), max(row.tokens for row in rows)
    longest = min(len(row.tokens) for row in rows) - 1
    equal = 0
    while equal < longest and first[equal] == last[equal]:
        equal += 1
    return first[:equal]


def _whole_batches(rows: list[Row], budget: int, most: int) -> list[Batch]:
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -len(row.tokens)):
        last = batches[-1] if batches else []
        longest = len(last[0].tokens) if last else 0
        fits = len(last) < most and longest * (len(last) + 1) <= budget
        if last and fits and not _better_apart(len(row.tokens), longest, len(last), budget):
            last.append(row)
        else:
            batches.append([row])
    return [Whole(tuple(batch)) for batch in batches]


def _shared_batches(families: list[tuple[tuple[int, ...], list[Row]]], budget: int) -> list[Batch]:
    batches: list[list[tuple[tuple[int, ...], list[Row]]]] = []
    for family in sorted(families, key=lambda family: -len(family[0])):
        last = batches[-1] if batches else []
        longest = len(last[0][0]) if last else 0
        fits = longest * (len(last) + 1) <= budget
        if last and fits and not _better_apart(len(family[0]), longest, len(last), budget):
            last.append(family)
        else:
            batches.append([family])
    return [
        Shared(tuple(prefix for prefix, _ in batch), tuple(_suffix_passes(batch, budget)))
        for batch in batches
    ]


def _suffix_passes(
    families: list[tuple[tuple[int, ...], list[Row]]], budget: int
) -> Iterable[tuple[Suffix, ...]]:
    # By length across the prompts of the batch: completions of one prompt differ more than their neighbours.
    suffixes = sorted(
        (
            Suffix(row, place, row.tokens[len(prefix) :])
            for place, (prefix, family) in enumerate(families)
            for row in family
        ),
        key=lambda suffix: -len(suffix.tokens),
    )
    span = len(families[0][0])
    passes: list[list[Suffix]] = []
    for suffix in suffixes:
        last = passes[-1] if passes else []
        longest = len(last[0].tokens) if last else 0
        fits = _fits(len(last) + 1, longest, span, budget)
        if last and fits and not _better_apart(len(suffix.tokens), longest, len(last), budget):
            last.append(suffix)
        else:
            passes.append([suffix])
    return map(tuple, passes)


def _better_apart(length: int, longest: int, count: int, budget: int) -> bool:
    """Whether something of this length costs too much padding in a pass of so many rows."""
    return length < LEAST_FILLED * longest and longest * count >= WORTH_A_PASS * budget


def _fits(count: int, longest: int, span: int, budget: int) -> bool:
    return max(count * longest, _counted(count, span + longest)) <= budget


def _counted(count: int, span: int) -> int:
    """What so many rows count for that attend over so many positions each, in tokens."""
    return -(-count * span // SLOTS_PER_TOKEN)


def _longest(rows: Sequence[Row | Suffix]) -> int:
    return max(len(row.tokens) for row in rows)


def _padded(rows: Sequence[Row | Suffix]) -> int:
    return len(rows) * _longest(rows)
