"""What Snakemake's command line gives as text becomes what the schema says."""

from __future__ import annotations

from typing import Any

import pytest

from winnow.schema import schema, typed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"generation": {"temperature": "0.5"}}, {"generation": {"temperature": 0.5}}),
        ({"generation": {"top_k": "2", "dtype": "2"}}, {"generation": {"top_k": 2, "dtype": "2"}}),
        ({"training": {"learning_rate": "1e-4"}}, {"training": {"learning_rate": 1e-4}}),
        ({"selection": {"deduplicate": "false"}}, {"selection": {"deduplicate": False}}),
        ({"selection": {"max_error": "null"}}, {"selection": {"max_error": None}}),
        # Text that is to be text stays text; null where that is allowed.
        ({"prompt": {"student": "17", "teacher": "null"}}, {"prompt": {"student": "17", "teacher": None}}),
        ({"prompt": {"student": "null"}}, {"prompt": {"student": "null"}}),
        ({"models": {"policy": {"460": "12"}}}, {"models": {"policy": {"460": "12"}}}),
        # Through references, lists and lists of mappings.
        ({"data": {"train": {"num_samples": "5"}}}, {"data": {"train": {"num_samples": 5}}}),
        (
            {"arms": [{"step": "460", "alpha": ["policy"], "n": ["4", "8"], "train": "true"}]},
            {"arms": [{"step": "460", "alpha": ["policy"], "n": [4, 8], "train": True}]},
        ),
        # Options that only a scorer knows.
        ({"scoring": {"x:Y": {"limit": "3", "unit": "m"}}}, {"scoring": {"x:Y": {"limit": 3, "unit": "m"}}}),
        # What has its type already, and what is nothing of the sort: the check says so.
        ({"seed": 3, "run": "x"}, {"seed": 3, "run": "x"}),
        ({"generation": {"temperature": "hot"}}, {"generation": {"temperature": "hot"}}),
        ({"generation": {"temprature": "0.5"}}, {"generation": {"temprature": 0.5}}),
        ({"seed": "{{"}, {"seed": "{{"}),
    ],
)  # fmt: skip
def test_typed(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = typed(given, schema())
    assert found == expected
    assert repr(found) == repr(expected), "1 is not True"
