"""filtered_samples_stats.txt: the account of all completions beside those that a judge got right."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from winnow.errors import UserError
from winnow.formats.sources import Source
from winnow.records import NOT_GENERATED


@dataclass
class SampleStatistics:
    """Counts over scored completions.

    Attributes:
        total: completions.
        not_generated: of them, those that no model produced.
        parse_failures: those that were generated, and in which the scorer, or one that it combines, found no
            answer.
        correct: those that passed.
    """

    total: int = 0
    not_generated: int = 0
    parse_failures: int = 0
    correct: int = 0

    def text(self, filtered: int) -> str:
        """As lines; the accuracy is that of all completions, parse failures included.

        Args:
            filtered: completions that were kept for training.
        """
        accuracy = f"{self.correct / self.total:.2%}" if self.total else "none"
        return (
            f"Total samples: {self.total}\n"
            f"Correct samples: {self.correct}\n"
            f"Accuracy: {accuracy}\n"
            f"Parse failures: {self.parse_failures}\n"
            f"Not generated: {self.not_generated}\n"
            f"Filtered samples for training: {filtered}\n"
        )


def count(sources: Iterable[Source], scorer: str, combined: Collection[str] = ()) -> SampleStatistics:
    """Count scored completions by what a scorer says of them.

    Args:
        sources: all of them.
        scorer: whose verdict counts.
        combined: the scorers that it combines. A combination may have a value where one of these has none:
            what is not well-formed is not right, whether or not it can be read.

    Raises:
        UserError: a completion that it has not scored.
    """
    counts = SampleStatistics()
    for row, _, _ in sources:
        score = row["scores"].get(scorer)
        if score is None:
            raise UserError(
                f"completion {row['id']}",
                f"no score of {scorer!r} (it has {', '.join(row['scores']) or 'none'})",
                "the scorer whose verdict counts",
                "score with it, or name another by --scorer",
            )
        counts.total += 1
        counts.correct += bool(score["passed"])
        if row["finish_reason"] in NOT_GENERATED:
            counts.not_generated += 1
        else:
            said = [row["scores"].get(name) for name in (scorer, *combined)]
            counts.parse_failures += any(each is not None and each["value"] is None for each in said)
    return counts
