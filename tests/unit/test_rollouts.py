"""reject_sampling_results.json: the rollout error distribution's own file."""

from __future__ import annotations

from pathlib import Path

import orjson

from winnow import scoring
from winnow.diagnostics.rollouts import made_of, predicted, write_results
from winnow.records import Prompt
from winnow.selection.groups import Group

KEYS = [
    "id", "problem", "ground_truth", "min_error", "num_valid_rollouts", "num_total_rollouts",
    "best_response", "all_errors",
]  # fmt: skip


def row(text: str, error: float | None, detail: str, reason: str = "stop") -> dict:
    scores = {"numeric_error": {"value": error, "passed": False, "detail": detail, "version": 1}}
    return {"text": text, "finish_reason": reason, "scores": scores}


def test_errors_best_response_and_what_is_not_valid(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "How good is it?"}]
    some = Group(
        Prompt("a", asked, reference="<answer>3.5</answer>", metadata={"problem": "Rate it."}),
        [
            row("x", 1.5, "5"),
            row("y", None, "no answer found"),
            row("first", 0.25, "3.25"),
            row("second", 0.25, "3.75"),
            row("", None, "not generated", "failed"),
        ],
    )
    none = Group(Prompt("b", asked, reference="no number"), [row("z", None, "not a number: inf")])
    write_results(tmp_path / "r.json", [some, none], "numeric_error")
    text = (tmp_path / "r.json").read_text()
    assert "Infinity" not in text
    assert "NaN" not in text
    first, second = orjson.loads(text)
    assert list(first) == list(second) == KEYS
    assert first == {
        "id": "a",
        "problem": "Rate it.",
        "ground_truth": 3.5,
        "min_error": 0.25,
        "num_valid_rollouts": 3,
        "num_total_rollouts": 5,
        "best_response": {"response": "first", "pred_value": 3.25, "error": 0.25},
        "all_errors": [1.5, 0.25, 0.25],
    }
    assert (second["problem"], second["ground_truth"]) == ("How good is it?", "no number")
    assert (second["min_error"], second["best_response"], second["all_errors"]) == (None, None, [])
    assert second["num_valid_rollouts"] == 0


def test_what_an_object_was_made_of(tmp_path: Path) -> None:
    groups = [
        Group(Prompt(name, [{"role": "user", "content": "How good?"}], reference="3.5"), rows)
        for name, rows in (
            ("a", [row("x", 1.5, "5"), row("y", None, "no answer"), row("z", 0.5, "4"), row("w", 0.5, "3")]),
            ("b", [row("x", None, "no answer"), row("y", None, "no answer")]),
        )
    ]
    for group in groups:
        for sample, each in enumerate(group.completions):
            each["id"] = f"{group.prompt.id}/{sample}"
    write_results(tmp_path / "r.json", groups, "numeric_error")
    first, second = orjson.loads((tmp_path / "r.json").read_bytes())
    assert made_of(first, groups[0]) == ["a/2", "a/0", "a/3"]
    assert made_of(second, groups[1]) == ["b/0", "b/1"], "no error: all of them"
    assert made_of(first, groups[1]) == made_of(first | {"min_error": 0.25}, groups[0]) == []


def test_no_prompts_are_an_empty_list(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", [], "numeric_error")
    assert orjson.loads((tmp_path / "r.json").read_bytes()) == []


def test_a_prediction_stands_on_the_scale_of_its_error() -> None:
    scorer = scoring.build("numeric_error")
    for stated, reference, number in (
        ("50%", "0.5", 0.5), ("50%", "0.45", 0.5), ("0.5", "45%", 50), ("50%", "45%", 50),
        ("0.5", "0.45", 0.5), ("50%", "48", 50), ("50", "0.45", 50),
    ):  # fmt: skip
        error = scorer.score(f"<answer>{stated}</answer>", reference).value
        assert predicted(stated, reference, error) == number
        assert abs(number - float(reference.strip("%"))) == error
    assert predicted("none", "3", None) is None
