"""What a scorer is, and what it says of a completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from winnow.records import Prompt

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
        answer_class: what all equal answers have in common, of a scorer that can tell more of them than their
            text does.
    """

    value: float | None
    passed: bool
    detail: str
    answer_class: str | None = None

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Score:
        """A score as it stands in the records."""
        return Score(row["value"], row["passed"], row.get("detail") or "", row.get("answer_class"))


class Unreferenced(Score):
    """The score of a prompt whose reference is missing, or not what the scorer can compare with."""


@dataclass(frozen=True, slots=True)
class Item:
    """A completion with its prompt, for scorers that look at more than the text.

    Attributes:
        id: of the completion.
        prompt: its prompt.
        text: what was drawn.
        row: the completion's whole record.
    """

    id: str
    prompt: Prompt
    text: str
    row: Mapping[str, Any]


class Named(Protocol):
    """What every scorer says of itself. Its constructor's keyword arguments are its options in the config.

    The constructor checks the options and does nothing else: a dry run makes every scorer of the config.
    """

    @property
    def name(self) -> str:
        """Under which its scores stand in the records: its name in the config."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever a score may change."""
        ...

    @property
    def measures(self) -> Measure:
        """What its value is."""
        ...


class Scorer(Named, Protocol):
    """A verifier of one text."""

    def score(self, text: str, reference: str | None) -> Score:
        """Score a completion's text against its prompt's reference."""
        ...


class Notes(Protocol):
    """Where a costly scorer keeps what it has learnt on the way to its scores, for a killed job to go on."""

    def __contains__(self, key: str) -> bool:
        """Whether an attempt before has kept something under this key."""
        ...

    def read(self, key: str) -> Mapping[str, Any]:
        """What it has kept."""
        ...

    def append(self, key: str, entry: Mapping[str, Any]) -> None:
        """Keep something, JSON-able; it survives the death of the process from here on."""
        ...


class ItemScorer(Named, Protocol):
    """A scorer of many completions at a time, each with its prompt: in batches, in processes, by a server.

    One that is not costly is asked again when training data is verified: what it says of an item must not
    depend on the others.

    A costly one may have a method ``keep_in(notes: Notes)``, called before the first window: for work whose
    pieces cost so much that a window of them is too much to lose. It may have ``identity``, a text that
    stands for its options in the journal's header: those that decide no score are not in it.
    """

    @property
    def costly(self) -> bool:
        """Whether its scores are kept in a journal, for a killed job to go on with."""
        ...

    def score_items(self, items: Sequence[Item]) -> list[Score]:
        """A score for each item, in order; the completions of a prompt follow one another."""
        ...

    def close(self) -> None:
        """End what it has started."""
        ...


class Combiner(Named, Protocol):
    """Makes one score of the others of a completion."""

    @property
    def parts(self) -> Sequence[str]:
        """The names of the scores that it needs."""
        ...

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The score made of these, which are those of `parts`."""
        ...


AnyScorer = Scorer | ItemScorer | Combiner
