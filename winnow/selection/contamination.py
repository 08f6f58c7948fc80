"""Decontamination: prompts and completions that share a run of words with a test set.

Runs of 13 words are the measure of GPT-3 (Brown et al. 2020, arXiv 2005.14165, app. C). Of a test set
only hashes are held, 12 bytes for each of its runs: 8 of the hash, 4 of the record it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.records import Prompt
from winnow.selection.decision import REJECTED, Decision
from winnow.selection.rows_of_test_sets import LINES, ROWS, rows_of
from winnow.selection.words import Hashes, ngram_hashes, text_hash, words

MOST_SHARED = 10
"""A run that stands in more records of a test set, or in more than half of them, is its template's."""

ASKED = ("prompt", "problem", "question", "instruction", "input")
FEWEST_WORDS = 8


@dataclass(frozen=True)
class TestSet:
    """A test set as hashes.

    Attributes:
        name: under which it is told.
        hashes: of its runs of words, sorted. [runs]
        records: the record in which each run stands first, counted over all files from 0. [runs]
        short: of its texts that are shorter than a run, as whole texts, sorted.
        short_records: their records.
        files: the first record of each file, and the file, in order.
    """

    __test__ = False
    name: str
    hashes: Hashes
    records: NDArray[np.uint32]
    short: Hashes
    short_records: NDArray[np.uint32]
    files: tuple[tuple[int, str], ...]

    def place(self, record: int) -> str:
        """The file of a record, counted over all files, and its line or row there."""
        first, path = next(entry for entry in reversed(self.files) if entry[0] <= record)
        own = record - first
        return f"{path}, row {own}" if Path(path).suffix in ROWS else f"{path}, line {own + 1}"


def read_test_set(name: str, paths: Iterable[str | Path], n: int) -> TestSet:
    """Read a test set: every text in the rows of a .jsonl, .json or .parquet file, or every line of another.

    Of Winnow's own prompt files, the prompts as the data set has them.

    Raises:
        UserError: a file that is not there, is not what its name says, or sets without any text.
    """
    runs: list[Hashes] = []
    short: list[Hashes] = []
    run_records: list[NDArray[np.uint32]] = []
    short_records: list[int] = []
    files: list[tuple[int, str]] = []
    record = 0
    for path in paths:
        files.append((record, str(path)))
        for texts in _texts(Path(path)):
            tokens = [words(text) for text in texts]
            found = np.unique(np.concatenate([ngram_hashes(each, n) for each in tokens] or [text_hash([])]))
            runs.append(found)
            run_records.append(np.full(len(found), record, np.uint32))
            for each in tokens:
                if 0 < len(each) < n:
                    short.append(text_hash(each))
                    short_records.append(record)
            record += 1
    if not record:
        raise UserError(
            f"selection: decontaminate {name!r}", "no records", "a test set with text", "check its files"
        )
    hashes, first, counts = np.unique(np.concatenate(runs), return_index=True, return_counts=True)
    own = counts <= max(1, min(MOST_SHARED, record // 2))
    whole, whole_first = np.unique(np.concatenate(short or [text_hash([])]), return_index=True)
    return TestSet(
        name,
        hashes[own],
        np.concatenate(run_records)[first][own],
        whole,
        np.array(short_records, np.uint32)[whole_first],
        tuple(files),
    )


class Decontamination:
    """What shares a run of words with a test set.

    Args:
        sets: the test sets.
        n: words of a run, as the sets were read.
    """

    def __init__(self, sets: Iterable[TestSet], n: int) -> None:
        self._sets, self._n = list(sets), n

    def of_prompt(self, prompt: Prompt) -> Decision | None:
        """Why a prompt's completions are rejected, or None: it shares a run, or is a short text of a set."""
        own = list(prompt_texts(prompt))
        for text in own:
            found = self._run(words(text), "prompt")
            if found is not None:
                return found
        # A set may have what is asked with its template or without.
        contents = [str(each["content"]) for each in prompt.messages if each["role"] != "system"]
        for tokens in map(words, dict.fromkeys(own + contents)):
            for test_set in self._sets if len(tokens) < self._n else ():
                at = _find(test_set.short, text_hash(tokens))
                if at is not None:
                    place = test_set.place(int(test_set.short_records[at[1]]))
                    return Decision(REJECTED, f"prompt stands in {test_set.name}", place)
        return None

    def of_completion(self, text: str) -> Decision | None:
        """Why a completion is rejected, or None."""
        return self._run(words(text), "completion")

    def _run(self, tokens: list[str], what: str) -> Decision | None:
        hashes = ngram_hashes(tokens, self._n)
        for test_set in self._sets:
            at = _find(test_set.hashes, hashes)
            if at is not None:
                shared = " ".join(tokens[at[0] : at[0] + self._n])
                place = test_set.place(int(test_set.records[at[1]]))
                reason = f"{what} shares {self._n} words with {test_set.name}"
                return Decision(REJECTED, reason, f"{place}: {shared!r}")
        return None


def prompt_texts(prompt: Prompt) -> Iterator[str]:
    """What a prompt asks, message by message, without the template where the data set's text is known.

    The metadata are the data set's own row. Of their texts that stand in a message the longest is what is
    asked, if it is named so or has some words: a bare answer may stand in a message too.
    """
    own = [
        text
        for key, text in prompt.metadata.items()
        if isinstance(text, str) and text.strip() and (key in ASKED or len(words(text)) >= FEWEST_WORDS)
    ]
    for message in prompt.messages:
        content = str(message["content"])
        if message["role"] != "system":
            yield max((text for text in own if text in content), key=len, default=content)


def _find(known: Hashes, hashes: Hashes) -> tuple[int, int] | None:
    """The first of `hashes` that is known: its index, and that of the known one."""
    if not len(known) or not len(hashes):
        return None
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    hit = np.flatnonzero(known[at] == hashes)
    return (int(hit[0]), int(at[hit[0]])) if len(hit) else None


def _texts(path: Path) -> Iterator[list[str]]:
    """The texts of each record of a file."""
    if path.suffix in (*LINES, *ROWS):
        for where, row in rows_of(path):
            if isinstance(row.get("messages"), list) and isinstance(row.get("metadata"), dict):
                yield list(prompt_texts(Prompt.from_row(row, where)))
            else:
                yield list(_strings(row))
        return
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield [line]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"selection: decontaminate, {path}", f"cannot be read ({error})",
            "rows (.jsonl, .json, .parquet), or a text file in UTF-8", "check the path",
        ) from None  # fmt: skip


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
