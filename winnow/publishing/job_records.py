"""What Snakemake recorded of the jobs that made a run: their commands, and what they read.

Snakemake keeps a JSON file for each output below ``.snakemake/metadata`` of its working directory, named by
the output's path in URL-safe base64, cut into folders where the name would be too long for the file system.
"""

from __future__ import annotations

import os
import shlex
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from winnow.errors import UserError
from winnow.working_directory import WorkingDirectory, noted


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The job that made a file.

    Attributes:
        rule: its rule.
        program: the name of its program, such as ``select.py``.
        options: the program's flags without their dashes → their values; a switch has none.
        checksums: SHA-256 of the inputs, by path; Snakemake leaves large ones out.
        folder: where the program ran: relative paths of its flags start there.
    """

    rule: str
    program: str
    options: Mapping[str, tuple[str, ...]]
    checksums: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def first(self, name: str) -> str | None:
        """The first value of a flag, or None."""
        return next(iter(self.options.get(name, ())), None)


class JobRecords:
    """The records that belong to a results folder, if there are any.

    Args:
        results: ``results/<run>``.
        workdir: the folder in which Snakemake ran. None looks into those that the run has noted, those
            above it, and the current one.

    Raises:
        UserError: Snakemake kept no records there.
    """

    def __init__(self, results: Path, workdir: Path | None = None) -> None:
        self._results = results
        known = noted(results)
        if workdir is None:
            others = [*results.absolute().parents, *results.resolve().parents, Path.cwd()]
        elif (workdir / ".snakemake" / "metadata").is_dir():
            known = [each for each in known if each.folder.resolve() == workdir.resolve()]
            others = [workdir]
        else:
            raise UserError(
                f"--workdir {workdir}",
                "no .snakemake/metadata in it",
                "the folder in which snakemake ran, or that was its --directory (of records in a database "
                "none is read)",
                "correct it, or leave it out: the card then says which commands it lacks",
            )
        looked_at = [*known, *(WorkingDirectory(each, os.path.relpath(results, each)) for each in others)]
        self._homes = [each for each in dict.fromkeys(looked_at) if (each.folder / ".snakemake").is_dir()]

    def of(self, path: Path) -> JobRecord | None:
        """The record of the job that made a file; None where none was kept."""
        for home, place in self._places("metadata", path):
            try:
                content = orjson.loads(place.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue
            program, options = parse_command(content.get("shellcmd") or "")
            checksums = {
                name: value.removeprefix("sha256:")
                for name, value in (content.get("input_checksums") or {}).items()
                if isinstance(value, str) and value.startswith("sha256:")
            }
            return JobRecord(content.get("rule") or "", program, options, checksums, home)
        return None

    def interrupted(self, path: Path) -> bool:
        """Whether the job that writes a file runs now, or was killed while it did.

        A working directory in which it was killed keeps its mark, also where another one finished it later.
        """
        marked = [home for home, place in self._places("incomplete", path) if place.exists()]
        recorded = [home for home, place in self._places("metadata", path) if place.exists()]
        last = next((each.folder for each in self._homes if each.folder in (*marked, *recorded)), None)
        return last in marked

    def _places(self, kind: str, path: Path) -> Iterator[tuple[Path, Path]]:
        """Working directories, and where the record may lie in each.

        Paths stand in the DAG relative to the working directory, or absolute; a link on the way gives a path
        two names.
        """
        below = os.path.relpath(path.resolve(), self._results.resolve())
        absolute = [os.path.normpath(path.absolute()), str(path.resolve())]
        for home in self._homes:
            near = [
                os.path.relpath(absolute[0], home.folder.absolute()),
                os.path.relpath(absolute[1], home.folder.resolve()),
            ]
            for name in dict.fromkeys([f"{home.results}/{below}", *near, *absolute]):
                yield home.folder, home.folder / ".snakemake" / kind / record_name(name)


def record_name(path: str, longest: int = 255) -> Path:
    """The name of Snakemake's record of an output, in folders ``@…`` where it is too long for one name."""
    encoded = urlsafe_b64encode(path.encode()).decode()
    parts = [encoded[i : i + longest - 1] for i in range(0, len(encoded), longest - 1)]
    return Path(*[f"@{part}" for part in parts[:-1]], parts[-1])


def parse_command(command: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The program of a recorded shell command, and its flags with their values, in order.

    ``--name=value``, ``--name value value`` and a repeated flag all add values to their name.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return "", {}
    start = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
    if start is None:
        return "", {}
    options: dict[str, tuple[str, ...]] = {}
    name: str | None = None
    for word in words[start + 1 :]:
        if word in (">", "2>&1", "|", "&&", ";"):
            break
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            options[name] = options.get(name, ()) + ((value,) if equals else ())
        elif name is not None:
            options[name] += (word,)
    return Path(words[start]).name, options
