"""The completions behind a row of a run's files, in the arm that made it."""

from __future__ import annotations

from pathlib import Path

from winnow.arms import Arm
from winnow.diagnostics import rollouts
from winnow.errors import UserError
from winnow.formats.format import Format
from winnow.tracing import made_of
from winnow.tracing.rows import Row
from winnow.tracing.run import Narrowed, Run
from winnow.tracing.sources import groups_of, sources_of, there


def arm_of_file(file: Path) -> Narrowed:
    """The arm that a file of training data lies under: …/step-460/policy/n-8/messages.jsonl."""
    parts = file.resolve().parts[-4:-1]
    if (
        len(parts) == 3
        and parts[0].startswith("step-")
        and parts[2].startswith("n-")
        and parts[2][2:].isdigit()
    ):
        return Narrowed(parts[0].removeprefix("step-"), parts[1], int(parts[2][2:]))
    return Narrowed()


def completions_of(run: Run, wanted: Narrowed, row: Row, fmt: Format | None) -> tuple[Arm, list[str]]:
    """The completions that a row was made of, and the arm; of a pair the chosen one first.

    Args:
        run: whose completions they are.
        wanted: the arms to look at.
        row: of a file of training data, or of the rollouts' own file.
        fmt: its format; None where no format is known by the file's name.

    Raises:
        UserError: no arm has such completions, or several have different ones.
    """
    arms = run.arms(wanted)
    # Of several, those that nothing is left of cannot be asked.
    asked = arms if len(arms) == 1 else [arm for arm in arms if there(run, arm, fmt)]
    found = [(arm, ids) for arm in asked if (ids := _in_arm(run, arm, row, fmt))]
    if not found:
        raise UserError(
            row.place,
            f"no completion of {run.root} reads like this row",
            "a row of training data as it was made of what is selected now",
            "name the run by --results, the arm by --step, --alpha and --n, and by --format the format of a "
            "file of another name; or export the file again",
        )
    # An n is a view of the same completions.
    if len({(arm.step, arm.alpha, *ids) for arm, ids in found}) > 1:
        raise UserError(
            row.place,
            f"completions of several arms read like this row: {', '.join(arm.path for arm, _ in found)}",
            "a row of one arm",
            "name the arm by --step, --alpha and --n",
        )
    return found[0]


def _in_arm(run: Run, arm: Arm, row: Row, fmt: Format | None) -> list[str]:
    if row.path.name != rollouts.FILENAME:
        return made_of.completions_of(row, fmt, sources_of(run, arm, fmt))
    groups = (group for group in groups_of(run, arm) if group.prompt.id == row.content.get("id"))
    return next((ids for group in groups if (ids := rollouts.made_of(row.content, group))), [])
