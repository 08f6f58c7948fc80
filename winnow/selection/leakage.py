"""The leak gate: completions of a teacher that saw the answer, and show it.

The hint is what the teacher's messages have and the student's have not. A student that is trained on a
completion which quotes it, or says that it was given, learns to speak of what it will never see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from winnow.errors import UserError
from winnow.records import Message, Prompt, is_reference
from winnow.scoring.answers import extract_answer
from winnow.selection.decision import REJECTED, Decision
from winnow.selection.words import Hashes, ngram_hashes, words


@dataclass(frozen=True)
class Gate:
    """What a completion of a hinted teacher may show.

    Attributes:
        max_overlap: the largest share of the hint's runs of words that may stand in the completion
            outside its final answer; None gates nothing.
        hint_words: words of a run.
        phrases: what may not be said, as words: "given the answer". One that the student's own prompt
            has is no sign.

    Raises:
        UserError: a share outside [0, 1], or a phrase without words.
    """

    max_overlap: float | None = None
    hint_words: int = 5
    phrases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_overlap is not None and not 0.0 <= self.max_overlap <= 1.0:
            raise UserError(
                "selection: max_hint_overlap", f"{self.max_overlap}", "a share in [0, 1]", "correct it"
            )
        for phrase in self.phrases:
            if not words(phrase):
                raise UserError("selection: leak_phrases", repr(phrase), "some words", "correct the list")


@dataclass(frozen=True)
class Hint:
    """What the teacher alone was shown of a prompt.

    Attributes:
        runs: hashes of its runs of words; empty where it is shorter than one: a bare answer cannot be
            told from what an honest completion says.
        phrases: those of the gate that the student's messages do not have.
    """

    runs: Hashes
    phrases: tuple[str, ...]


def hint_of(prompt: Prompt, gate: Gate) -> Hint | None:
    """The hint of a prompt, or None where the teacher is shown what the student is."""
    if prompt.teacher_messages is None or prompt.teacher_messages == prompt.messages:
        return None
    shown, told = _words_of(prompt.messages), _words_of(prompt.teacher_messages)
    runs = [ngram_hashes(span, gate.hint_words) for span in _added(shown, told)]
    known = ngram_hashes(shown, gate.hint_words)
    own = np.unique(np.concatenate(runs)) if runs else known[:0]
    return Hint(
        own[~np.isin(own, known)], tuple(each for each in gate.phrases if not _says(shown, words(each)))
    )


def overlap(hint: Hint, text: str, n: int) -> float | None:
    """The share of the hint's runs of n words that stand in the text outside its final answer.

    None where the hint has no run.
    """
    if not len(hint.runs):
        return None
    found = np.concatenate([ngram_hashes(words(part), n) for part in around_answer(text)])
    return float(np.isin(hint.runs, found).mean())


def around_answer(text: str) -> list[str]:
    """What stands before and behind the answer that a text states last; all of it where it states none."""
    answer = extract_answer(text)
    before, found, behind = text.rpartition(answer) if answer else (text, "", "")
    return [before, behind] if found else [text]


def judge(gate: Gate, hint: Hint, text: str) -> tuple[Decision | None, float | None]:
    """Why a completion is rejected, or None; and its overlap with the hint."""
    share = overlap(hint, text, gate.hint_words)
    tokens = words(text) if hint.phrases else []
    for phrase in hint.phrases:
        if _says(tokens, words(phrase)):
            return Decision(REJECTED, f"leak: says {phrase!r}"), share
    if gate.max_overlap is not None and share is not None and share > gate.max_overlap:
        return Decision(
            REJECTED, f"leak: overlap with the hint above {gate.max_overlap:g}", f"{share:.3f}"
        ), share
    return None, share


def saw_hint(row: Mapping[str, Any]) -> bool:
    """Whether a completion was drawn with the teacher, who sees the hint."""
    return row.get("alpha") != "policy" and not is_reference(row)


def _added(shown: list[str], told: list[str]) -> list[list[str]]:
    """The runs of words that `told` has beyond `shown`."""
    # Most templates put the hint before or behind the question: what is compared then is short.
    head = _common(shown, told)
    tail = _common(shown[head:][::-1], told[head:][::-1])
    before, after = shown[head : len(shown) - tail], told[head : len(told) - tail]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [after[j1:j2] for kind, _, _, j1, j2 in matcher.get_opcodes() if kind in ("insert", "replace")]


def _common(one: list[str], other: list[str]) -> int:
    """How many words both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _words_of(messages: list[Message]) -> list[str]:
    return [word for message in messages for word in words(str(message["content"]))]


def _says(tokens: list[str], phrase: list[str]) -> bool:
    """Whether these words stand in the text one behind the other."""
    first, count = phrase[0], len(phrase)
    return any(token == first and tokens[i : i + count] == phrase for i, token in enumerate(tokens))
