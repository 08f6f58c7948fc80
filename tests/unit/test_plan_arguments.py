"""What scripts/plan.py and scripts/dag.py take: their own flags, and what they hand to Snakemake."""

from __future__ import annotations

import inspect
import re

import pytest
from snakemake import cli

from winnow.errors import UserError
from winnow.workflow.arguments import passing_parser
from winnow.workflow.dry_run import ACTIONS, take_snapshot


def test_own_flags_are_taken_out_and_the_rest_keeps_its_order():
    parser = passing_parser("A program.")
    parser.add_argument("--json")
    line = "--cores 4 --json plan.json --config a=1 b=2 -R train -- results/x.json"
    found = parser.parse_args(line.split())
    assert found.json == "plan.json"
    assert found.snakemake == line.replace(" --json plan.json", "").split()
    assert cli.parse_args(found.snakemake)[1].targets == ["results/x.json"]
    # What only begins like a flag of ours is Snakemake's.
    assert parser.parse_args(["--js", "x"]).snakemake == ["--js", "x"]


@pytest.mark.parametrize(
    "line",
    [
        "--unlock", "--touch", "--delete-all-output", "--delete-temp-output", "--lint", "--summary",
        "--report x.html", "--cleanup-metadata x", "--archive x.tar.gz", "--list-untracked", "--dag",
        "--conda-create-envs-only", "--containerize", "--cleanup-shadow",
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused(line):
    with pytest.raises(UserError, match="asks Snakemake for something else than a run"):
        take_snapshot(line.split())


def test_every_action_of_this_snakemake_is_known():
    """Where its command line branches off before the run, and we would follow."""
    source = inspect.getsource(cli.args_to_api)
    branches = set(
        re.findall(r"(?:if|elif) args\.(\w+)(?: is not None)?:\s*\n\s+(?:\w+ = )?(?:\w+_api)\.", source)
    )
    assert {"unlock", "summary", "delete_all_output", "lint"} <= branches
    assert branches <= set(ACTIONS)
