"""The published files of an arm, each checked against the selection that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import formats
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.formats.format import Format
from winnow.layout import Layout
from winnow.publishing.accepted import check_totals, count
from winnow.publishing.exported_rows import MEND, verify
from winnow.publishing.job_records import JobRecord, JobRecords
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.totals import check_ledger, read_totals

STAGES = ("generate", "score", "select", "export")


@dataclass(frozen=True, slots=True)
class FormatFile:
    """A file of training data.

    Attributes:
        name: of its configuration within the arm: the format's, or of a user's own its file's without ending.
        file: its content.
        rows: how many it has.
        showing: how many of them name images.
    """

    name: str
    file: PublishedFile
    rows: int
    showing: int = 0


@dataclass(frozen=True, slots=True)
class ArmFiles:
    """What is published of an arm.

    Attributes:
        arm: which one.
        totals: statistics.json of its selection.
        statistics: the same as a file.
        formats: its training data.
        models, teachers: the hashes of the models that its accepted completions name, sorted.
        images: the images that rows name → the first row that does, as messages tell it.
        records: stage → the job that made the arm's files, where Snakemake kept a record of it.
    """

    arm: Arm
    totals: Mapping[str, Any]
    statistics: PublishedFile
    formats: tuple[FormatFile, ...]
    models: tuple[str, ...]
    teachers: tuple[str, ...]
    images: Mapping[str, str]
    records: Mapping[str, JobRecord]

    @property
    def examples(self) -> int:
        """Rows of its largest file."""
        return max(file.rows for file in self.formats)


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
    counts = count(accepted)
    check_totals(accepted, counts, totals)
    found = _records(layout, arm, records)
    folder = Path(layout.training_data(arm, ""))
    wanted = _formats(folder, names, found.get("export"))
    kept = []
    images: dict[str, str] = {}
    for fmt in wanted:
        path = folder / fmt.filename
        _check_whole(path, records)
        _check_source(path, accepted, records)
        rows = verify(path, fmt, accepted, counts, totals["completions"])
        images = {**rows.images, **images}
        file = PublishedFile.of_file(f"training_data/{arm.path}/{fmt.filename}", path)
        name = getattr(fmt, "name", Path(fmt.filename).stem)
        kept.append(FormatFile(name, file, rows.count, rows.showing))
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


def _records(layout: Layout, arm: Arm, records: JobRecords) -> dict[str, JobRecord]:
    """The jobs behind an arm; of those that work on blocks, the one of the first block."""
    whole = _first(
        {
            "select": [Path(layout.selected(arm, "accepted.jsonl"))],
            "export": Path(layout.training_data(arm, "")).glob("*"),
        },
        records,
    )
    # Blocks of another number of shards, which the config once had, may lie there still.
    count = num_shards(whole)
    blocks = "*.block-0.jsonl" if count is None else f"*-of-{count:05d}.block-0.jsonl"
    return whole | _first(
        {
            "generate": Path(layout.completions(arm)).glob(blocks),
            "score": Path(layout.scored(arm)).glob(blocks),
        },
        records,
    )


def _first(paths: Mapping[str, Iterable[Path]], records: JobRecords) -> dict[str, JobRecord]:
    """Of each stage the record of its first file that has one."""
    found = {stage: (records.of(path) for path in sorted(given)) for stage, given in paths.items()}
    first = {stage: next(filter(None, given), None) for stage, given in found.items()}
    return {stage: record for stage, record in first.items() if record is not None}


def num_shards(records: Mapping[str, JobRecord]) -> int | None:
    """Of the prompts that an arm was made of, as its jobs were told; None where no record tells."""
    told = (records[stage].first("num_shards") for stage in ("export", "select") if stage in records)
    return next((int(each) for each in told if each), None)


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
