"""Where a run's jobs were started: Snakemake keeps its records of them there, and not with the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from winnow import jsonl
from winnow.errors import UserError

NOTE = "logs/snakemake.json"
"""Below ``results/<run>``: the working directories in which Snakemake made it, the last one first."""


@dataclass(frozen=True, slots=True)
class WorkingDirectory:
    """A folder in which Snakemake ran.

    Attributes:
        folder: which one; its records lie in ``.snakemake`` below.
        results: ``results/<run>`` as paths begin in its records: relative to the folder, or absolute.
    """

    folder: Path
    results: str


def note(results: str) -> None:
    """Note in a run's own folder that Snakemake makes it from the current folder."""
    path = Path(results) / NOTE
    entry = {"folder": str(Path.cwd()), "results": results}
    before = jsonl.read_json(path) if path.is_file() else []
    if before[:1] != [entry]:
        jsonl.write_json(path, [entry, *(each for each in before if each != entry)])


def noted(results: Path) -> list[WorkingDirectory]:
    """What was noted in a run's folder.

    Raises:
        UserError: a note that is none.
    """
    path = results / NOTE
    if not path.is_file():
        return []
    try:
        return [WorkingDirectory(Path(each["folder"]), each["results"]) for each in jsonl.read_json(path)]
    except (KeyError, TypeError):
        raise UserError(
            path,
            "no note of the working directories",
            '[{"folder": …, "results": …}]',
            "delete it, and name the folder in which snakemake ran by --workdir",
        ) from None
