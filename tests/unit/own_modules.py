"""Modules that a test writes as a user would, in a working directory of its own."""

from __future__ import annotations

import importlib
import itertools
import textwrap
from pathlib import Path

import pytest

from winnow.errors import UserError

counter = itertools.count()

SCORER = """
    from winnow.scoring import Score

    class Length:
        version = 3
        measures = "error"

        def __init__(self, target: int = 4) -> None:
            self.target = target

        def score(self, text, reference):
            distance = abs(len(text) - self.target)
            return Score(distance, distance == 0, f"{len(text)} long")  # why
"""
ADAPTER = """
    from winnow.adapters import Example

    def adapt(row, where):
        return Example(prompt=row["ask"], reference=str(row["gold"]))
"""
FORMAT = """
    from winnow.formats import Conversation

    class Pair:
        filename = "pair.jsonl"

        def to_row(self, conversation):
            return {"q": conversation.messages[0]["content"], "a": conversation.completion}

        def from_row(self, row):
            return Conversation([{"role": "user", "content": row["q"]}], row["a"])
"""


def write(path: str | Path, code: str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    # Python may have looked into the folder a moment ago.
    importlib.invalidate_caches()
    return path


def module(code: str) -> str:
    """The name of a new module in the working directory."""
    name = f"plug{next(counter)}"
    write(f"{name}.py", code)
    return name


def refused(call, *arguments, **options) -> UserError:
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    assert error.value.expected
    assert error.value.mend
    return error.value
