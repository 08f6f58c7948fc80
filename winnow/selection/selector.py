"""Selection over prompts in order: the filters that look beyond a prompt's scores, then its rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from winnow.selection import drift, leakage
from winnow.selection.contamination import Decontamination
from winnow.selection.decision import Decision
from winnow.selection.drift import Bounds, Drift, Unhinted
from winnow.selection.groups import Group
from winnow.selection.leakage import Gate, Hint
from winnow.selection.near_duplicates import NearDuplicates
from winnow.selection.rules import Rules

Decided = tuple[Group, list[Decision]]


@dataclass
class Leaks:
    """What is told of leaks, whether or not it gates: over completions that a hinted teacher drew."""

    hinted_prompts: int = 0
    completions: int = 0
    overlapping: int = 0
    overlap: float = 0.0
    with_overlap: int = 0
    drift: Drift = field(default_factory=Drift)

    def enter(self, share: float | None) -> None:
        """One completion and its overlap with the hint."""
        self.completions += 1
        if share is not None:
            self.with_overlap += 1
            self.overlap += share
            self.overlapping += share > 0

    def statistics(self, unhinted: bool) -> dict[str, Any] | None:
        """Null where nobody saw a hint; `unhinted` says whether there were completions to compare with."""
        if not self.hinted_prompts:
            return None
        return {
            "hinted_prompts": self.hinted_prompts,
            "completions": self.completions,
            "overlap_mean": self.overlap / self.with_overlap if self.with_overlap else None,
            "overlap_known": self.with_overlap,
            "with_overlap": self.overlapping,
            "drift": self.drift.statistics() if unhinted else None,
        }


class Selector:
    """Decides on prompt after prompt.

    What it holds grows with the texts that are kept, if near-duplicates across prompts are looked for, and
    with nothing else.

    Args:
        rules: what is kept of a prompt.
        near: near-duplicates, or None.
        tests: what is known of test sets, or None.
        gate: the leak gate; None also tells no statistics.
        bounds: of drift.
    """

    def __init__(
        self,
        rules: Rules,
        near: NearDuplicates | None = None,
        tests: Decontamination | None = None,
        gate: Gate | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._rules, self._near, self._tests = rules, near, tests
        self._gate, self._bounds = gate, bounds or Bounds()
        self.leaks = Leaks()

    @property
    def wants_unhinted(self) -> bool:
        """Whether a bound on drift is given, and completions drawn with a hint were seen."""
        return self._bounds.given and self.leaks.hinted_prompts > 0

    def decided(self, groups: Iterable[Group], unhinted: Iterable[Group] | None = None) -> Iterator[Decided]:
        """Each group with its decisions.

        Args:
            groups: the prompts with their completions.
            unhinted: the same prompts in the same order with completions that saw no hint.
        """
        if unhinted is None:
            for group in groups:
                yield group, self._decide(group, None)
        else:
            for group, plain in zip(groups, unhinted, strict=True):
                yield group, self._decide(group, Unhinted.of(plain.completions))

    def _decide(self, group: Group, unhinted: Unhinted | None) -> list[Decision]:
        of_prompt = self._tests.of_prompt(group.prompt) if self._tests else None
        hint = self._hint(group)
        if hint is not None and unhinted is not None:
            self.leaks.drift.enter(Unhinted.of(group.completions), unhinted)

        def screen(row: Mapping[str, Any]) -> Decision | None:
            if of_prompt is not None:
                return of_prompt
            shared = self._tests.of_completion(row["text"]) if self._tests else None
            return shared or self._leak(hint, unhinted, row)

        return self._rules.decide(group.candidates, screen, self._near)

    def _hint(self, group: Group) -> Hint | None:
        if self._gate is None or not any(map(leakage.saw_hint, group.completions)):
            return None
        hint = leakage.hint_of(group.prompt, self._gate)
        self.leaks.hinted_prompts += hint is not None
        return hint

    def _leak(self, hint: Hint | None, unhinted: Unhinted | None, row: Mapping[str, Any]) -> Decision | None:
        if hint is None or self._gate is None or not leakage.saw_hint(row):
            return None
        found, share = leakage.judge(self._gate, hint, row["text"])
        self.leaks.enter(share)
        if found is None and unhinted is not None:
            return drift.judge(self._bounds, unhinted, row)
        return found
