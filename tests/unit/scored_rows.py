"""Scored completions for the tests of selection: rows, and tables of scores for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def score(value: float | None, passed: bool | None = None, detail: str = "") -> dict[str, Any]:
    """A score; passed follows the value where it is not said."""
    return {
        "value": value,
        "passed": bool(value) if passed is None else passed,
        "detail": detail,
        "version": 1,
    }


def row(sample: int, text: str = "", *, prompt: str = "p", **fields: Any) -> dict[str, Any]:
    """A completion; `scores` maps a scorer to its score, other fields replace the row's own."""
    return {
        "id": f"{prompt}/{sample}", "prompt_id": prompt, "sample": sample, "text": text or f"text {sample}",
        "finish_reason": "stop", "completion_tokens": 5, "alpha": "policy", **fields,
    }  # fmt: skip


def valued(values: list[float | None], scorer: str = "numeric_error", **fields: Any) -> list[dict[str, Any]]:
    """Rows with these values of one scorer, in order, all of different text."""
    return [row(i, scores={scorer: score(value)}, **fields) for i, value in enumerate(values)]


values = st.sampled_from([None, 0.0, 0.5, 1.0, 2.0])
SCORERS = ("exact_answer", "numeric_error")
one_score = st.builds(score, values, st.booleans(), st.sampled_from(["7", "7.0", "x", "no answer found"]))
completion = st.builds(
    dict,
    text=st.sampled_from("abcd"),
    scores=st.fixed_dictionaries(dict.fromkeys(SCORERS, one_score)),
    finish_reason=st.sampled_from(["stop", "stop", "stop", "length", "failed"]),
    completion_tokens=st.integers(1, 9),
)
tables = st.lists(completion, max_size=8).map(lambda items: [row(i, **item) for i, item in enumerate(items)])
