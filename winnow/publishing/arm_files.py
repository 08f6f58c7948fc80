"""The published files of an arm, each checked against the selection that it was made of."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from winnow import formats, jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Conversation, Format
from winnow.layout import Layout
from winnow.publishing.job_records import JobRecord, JobRecords
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.totals import check_ledger, read_totals

MEND = "run the pipeline to its end, so that export.py writes and verifies this file again; then publish"
STAGES = ("generate", "score", "select", "export")


@dataclass(frozen=True, slots=True)
class FormatFile:
    """A file of training data.

    Attributes:
        name: of its configuration within the arm: `messages`, `sharegpt` …
        file: its content.
        rows: how many it has.
    """

    name: str
    file: PublishedFile
    rows: int


@dataclass(frozen=True, slots=True)
class ArmFiles:
    """What is published of an arm.

    Attributes:
        arm: which one.
        totals: statistics.json of its selection.
        statistics: the same as a file.
        formats: its training data.
        models, teachers: the hashes of the models that its accepted completions name, sorted.
        images: whether rows name images.
        records: stage → the job that made the arm's files, where Snakemake kept a record of it.
    """

    arm: Arm
    totals: Mapping[str, Any]
    statistics: PublishedFile
    formats: tuple[FormatFile, ...]
    models: tuple[str, ...]
    teachers: tuple[str, ...]
    images: bool
    records: Mapping[str, JobRecord]

    @property
    def examples(self) -> int:
        """Rows of its largest file."""
        return max(file.rows for file in self.formats)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What accepted.jsonl has: rows, those of them that are exported, their prompts, their models."""

    rows: int
    chosen: int
    prompts: int
    models: tuple[str, ...]
    teachers: tuple[str, ...]


def read_arm(layout: Layout, arm: Arm, names: Sequence[str], records: JobRecords) -> ArmFiles:
    """Read and check an arm.

    Args:
        layout: of the run.
        arm: which one.
        names: formats; none takes those that its export wrote.
        records: of the run's jobs.

    Raises:
        UserError: a file is missing, is being written, or does not have what was selected.
    """
    selected = Path(layout.selected(arm, "statistics.json"))
    accepted, ledger = (selected.with_name(name) for name in ("accepted.jsonl", "ledger.jsonl"))
    for path in (selected, accepted, ledger):
        _check_whole(path, records)
    totals = read_totals(selected)
    check_ledger(ledger, totals)
    counts = _count(accepted)
    _check_counts(accepted, counts, totals)
    found = _records(layout, arm, records)
    folder = Path(layout.training_data(arm, ""))
    wanted = _formats(folder, names, found.get("export"))
    kept = []
    images = False
    for fmt in wanted:
        path = folder / fmt.filename
        _check_whole(path, records)
        _check_source(path, accepted, records)
        rows, shown = _verify(path, fmt, accepted, counts.chosen)
        images = images or shown
        file = PublishedFile.of_file(f"training_data/{arm.path}/{fmt.filename}", path)
        kept.append(FormatFile(Path(fmt.filename).stem, file, rows))
    return ArmFiles(
        arm,
        totals,
        PublishedFile.of_file(f"selected/{arm.path}/statistics.json", selected),
        tuple(kept),
        counts.models,
        counts.teachers,
        images,
        found,
    )


def _check_whole(path: Path, records: JobRecords) -> None:
    if records.interrupted(path):
        raise UserError(path, "its job runs, or was killed while it wrote it", "a finished file", MEND)
    for mark in (path.with_name(path.name + ".partial"), path.with_name(f"unverified-{path.name}")):
        if mark.exists():
            raise UserError(
                path, f"{mark.name} lies beside it: it is being written", "a finished, verified file", MEND
            )
    if not path.is_file():
        raise UserError(path, "no such file", "a finished run of this arm", MEND)


def _check_source(path: Path, accepted: Path, records: JobRecords) -> None:
    """Compare what export.py read with what lies there, where Snakemake kept its SHA-256."""
    record = records.of(path)
    if record is None:
        return
    for name, recorded in record.checksums.items():
        same_path = Path(name).parts[-5:] == accepted.parts[-5:]
        if same_path and PublishedFile.of_file("", accepted).sha256 != recorded:
            raise UserError(
                path, f"it was made of another {accepted}", "training data of what is selected now", MEND
            )


def _count(accepted: Path) -> _Accepted:
    rows = chosen = prompts = 0
    models, teachers = set(), set()
    last = None
    for number, row in jsonl.numbered(accepted):
        missing = [key for key in ("prompt_id", "text", "model") if key not in row]
        if missing:
            raise UserError(
                f"{accepted}, line {number}", f"no {missing[0]!r}", "a row as select.py writes it", MEND
            )
        rows += 1
        chosen += is_chosen(row)
        prompts += row["prompt_id"] != last
        last = row["prompt_id"]
        models.add(row["model"])
        teachers.add(row.get("teacher"))
    return _Accepted(rows, chosen, prompts, tuple(sorted(models)), tuple(sorted(filter(None, teachers))))


def is_chosen(row: Mapping[str, Any]) -> bool:
    """Whether a row is trained towards: all but the rejected member of a pair."""
    return bool(row.get("role", "chosen") == "chosen")


def _check_counts(accepted: Path, counts: _Accepted, totals: Mapping[str, Any]) -> None:
    pairs = (
        (counts.rows, totals["accepted"], "rows", "accepted"),
        (counts.prompts, totals["prompts_with_accepted"], "prompts", "prompts_with_accepted"),
    )
    for found, expected, what, key in pairs:
        if found != expected:
            raise UserError(
                accepted,
                f"{found} {what}",
                f"{expected}, which statistics.json and the ledger have as {key!r}",
                "run the pipeline again, so that select.py writes these files anew; then publish",
            )
    if counts.rows == 0:
        raise UserError(accepted, "no completion was accepted", "something to publish", "publish another arm")


def _records(layout: Layout, arm: Arm, records: JobRecords) -> dict[str, JobRecord]:
    """The jobs behind an arm; of those that work on blocks, the one of the first block."""
    paths = {
        "generate": next(iter(sorted(Path(layout.completions(arm)).glob("*.block-0.jsonl"))), None),
        "score": next(iter(sorted(Path(layout.scored(arm)).glob("*.block-0.jsonl"))), None),
        "select": Path(layout.selected(arm, "accepted.jsonl")),
        "export": next(iter(sorted(Path(layout.training_data(arm, "")).glob("*.json*"))), None),
    }
    found = {stage: records.of(path) for stage, path in paths.items() if path is not None}
    return {stage: record for stage, record in found.items() if record is not None}


def _formats(folder: Path, names: Sequence[str], export: JobRecord | None) -> list[Format]:
    """Those that are asked for, else those that the export was told to write, else the built-in ones."""
    if names:
        return formats.find_all(names)
    if export is not None and export.options.get("formats"):
        return formats.find_all(export.options["formats"])
    there = [name for name in formats.names() if (folder / formats.find(name).filename).is_file()]
    if not there:
        raise UserError(folder, "no training data in a known format", ", ".join(formats.names()), MEND)
    return formats.find_all(there)


def _verify(path: Path, fmt: Format, accepted: Path, expected: int) -> tuple[int, bool]:
    """Compare a file with the accepted completions, row by row; its rows, and whether they name images."""
    if path.suffix == ".parquet":
        rows, images = _parquet(path)
    else:
        rows, images = 0, False
        chosen = (row for row in jsonl.rows(accepted) if is_chosen(row))
        for found, row in zip_longest(_read(path, fmt), chosen):
            if found is None or row is None:
                # One side is at its end: count on, for the message.
                rows += found is not None
                continue
            rows += 1
            if isinstance(found, Conversation):
                images = images or bool(found.images)
                if found.completion != row["text"]:
                    raise UserError(
                        f"{path}, row {rows}",
                        "its completion is not the one that was selected",
                        f"the text of completion {row.get('id')!r} in {accepted}",
                        MEND,
                    )
    if rows != expected:
        raise UserError(path, f"{rows} rows", f"{expected}, as many as {accepted} has to export", MEND)
    return rows, images


def _read(path: Path, fmt: Format) -> Iterator[Any]:
    """The rows as a trainer sees them.

    Raises:
        UserError: a row that the format cannot read.
    """
    try:
        yield from files.read(path, fmt)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path, f"a row that is none of its format ({type(error).__name__}: {error})", "whole rows", MEND
        ) from None


def _parquet(path: Path) -> tuple[int, bool]:
    # Only this format needs it.
    described = importlib.import_module("pyarrow.parquet").ParquetFile(path)
    return described.metadata.num_rows, "images" in described.schema_arrow.names
