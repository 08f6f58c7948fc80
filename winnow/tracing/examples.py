"""Which completion a row of training data was made of."""

from __future__ import annotations

from pathlib import Path

from winnow import jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.selection.decision import REFUSED
from winnow.shards import read_prompts
from winnow.tracing.find import row_of, texts_of
from winnow.tracing.run import Narrowed, Run


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


def completions_of(run: Run, wanted: Narrowed, file: Path, line: int) -> list[tuple[Arm, str]]:
    """The accepted completions that a row of training data can be of: whose text and prompt are in it.

    The row is matched by its texts, so the format need not be known. Of a pair, the chosen one comes first.

    Raises:
        UserError: there is no such row, or no completion whose text stands in it.
    """
    texts = set(texts_of(row_of(file, line)))
    found: list[tuple[Arm, str]] = []
    for arm in run.arms(wanted):
        rows = [row for row in jsonl.rows(run.selected(arm, "accepted.jsonl")) if row["text"] in texts]
        prompts = {row["prompt_id"] for row in rows}
        asked = {
            prompt.id
            for prompt in read_prompts(run.prompts())
            if prompt.id in prompts
            and all(str(m["content"]) in texts for m in prompt.messages)
            and texts.issuperset(prompt.images or [])
        }
        rows.sort(key=lambda row: row.get("role") == REFUSED)
        found += [(arm, row["id"]) for row in rows if row["prompt_id"] in asked]
        if found:
            break
    if not found:
        raise UserError(
            f"{file}, line {line}",
            "no accepted completion whose text, prompt and images stand in this row as they are",
            f"training data made of {run.root}, in a format that lays neither prompt nor completion out anew",
            "name the run by --results and the arm by --step, --alpha and --n; of a format that does "
            "(lightrft, sharegpt with images), trace the same line of prompt_completion.jsonl, or the id",
        )
    return found
