"""The images that published rows name: each file once, checked against what the run recorded of it."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from winnow.errors import UserError
from winnow.images import ImageError, file_type, located
from winnow.prompt_images import ReplacedImage
from winnow.publishing.arm_files import num_shards
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.run_files import RunFiles
from winnow.records import Prompt
from winnow.shards import read_prompts, shard_files

FOLDER = "images"
"""Of the repository: the image root of its rows."""
MOST_IN_A_FOLDER = 10_000
"""Entries, files and folders; https://huggingface.co/docs/hub/storage-limits."""
MOST_IN_A_COMMIT = 25_000
"""Large files; the documentation of `huggingface_hub.HfApi.create_commit`."""
MEND = "correct the image folder, or leave --images out; nothing was sent"


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a push.

    Attributes:
        files: sorted by their paths below `FOLDER`.
        compared: how many of them have the content that the run recorded; of the others it recorded none.
    """

    files: tuple[PublishedFile, ...]
    compared: int

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)


def named_images(run: RunFiles) -> dict[str, str]:
    """The images that rows name, as they name them → the first row that does."""
    found: dict[str, str] = {}
    for arm in run.arms:
        for path, row in arm.images.items():
            found.setdefault(path, row)
    return found


def find_root(run: RunFiles, given: Path | None) -> Path:
    """The folder of the run's images: what is given, else what the prompts were read with.

    Raises:
        UserError: neither is known, or no such folder.
    """
    recorded = run.prompts.first("image_root") if run.prompts else None
    if given is None and (run.prompts is None or recorded is None):
        raise UserError(
            "--image_root",
            "not given, and no record of the prompts' job names one",
            "the folder that the rows' image paths are relative to, `data.image_root` of the config",
            "give --image_root; or --workdir, if Snakemake's records lie elsewhere",
        )
    if given is None:
        assert run.prompts is not None and recorded is not None
        # A recorded path is relative to where Snakemake ran, which need not be here.
        given = run.prompts.folder / recorded
    if not given.is_dir():
        raise UserError("--image_root", f"no folder {given}", "the folder of the images", "correct it")
    return given


def find_prompts(run: RunFiles, results: Path) -> list[Path]:
    """The prompt shards that the run's rows were made of; none where the run's folder has none any more.

    A run whose number of shards was changed has those of both. Where no record tells which were read, it
    was those that were written last.

    Raises:
        UserError: a shard that an export read is missing.
    """
    folder = results / "prompts" / "train"
    counts = {count for arm in run.arms if (count := num_shards(arm.records))}
    there = sorted(folder.glob("*-of-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    if not counts and there:
        counts = {int(there[-1].stem.rpartition("-of-")[2])}
    return [path for count in sorted(counts) for path in shard_files([str(folder)], count)]


def read_images(named: Mapping[str, str], root: Path, prompts: Sequence[Path]) -> Images:
    """Look up each image and compare it with what its prompt's record has of it.

    Args:
        named: image paths of rows → the first row that has it, for messages.
        root: the folder that they are relative to.
        prompts: the run's prompt shards.

    Raises:
        UserError: an image is missing, leaves its root, is no image, or another than when its prompt was
            read; a path that no repository has; more files than the hub takes.
    """
    places = {path: _place(path, row) for path, row in named.items()}
    check_limits(places.values())
    recorded = _recorded(read_prompts(prompts), set(places.values()))
    files: dict[str, PublishedFile] = {}
    for path, place in places.items():
        if place not in files:
            files[place] = _read(path, place, root, named[path], recorded.get(place, set()))
    compared = sum(place in recorded for place in files)
    return Images(tuple(files[place] for place in sorted(files)), compared)


def _place(path: str, row: str) -> str:
    """Where an image goes: as the row has it, below `FOLDER`, so that the row need not be rewritten.

    Raises:
        UserError: a path that would lead elsewhere in the repository than below the image root.
    """
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    odd = isinstance(path, str) and ("\\" in path or not path.isprintable())
    if (
        not parts
        or odd
        or path.startswith("/")
        or path.endswith("/")
        or {"..", ".git", ".cache"} & set(parts)
    ):
        raise UserError(
            row,
            f"the image {path!r}",
            "a path below the image root as a repository has it: relative, without '..', '.git', '.cache', "
            "backslashes and control characters",
            "correct the data set's paths and make the prompts again, or leave --images out",
        )
    return posixpath.join(FOLDER, *parts)


def check_limits(places: Iterable[str]) -> None:
    """Compare the number of files with what the hub takes.

    Raises:
        UserError: more than it takes, in a folder or in a commit.
    """
    files = set(places)
    entries: Counter[str] = Counter()
    for entry in {str(each) for place in files for each in (place, *_folders(place))}:
        entries[posixpath.dirname(entry)] += 1
    folder, most = max(entries.items(), key=lambda item: item[1], default=("", 0))
    if most > MOST_IN_A_FOLDER:
        raise UserError(
            f"{folder}/ of the repository",
            f"{most:,} entries",
            f"at most {MOST_IN_A_FOLDER:,} in a folder, which is what the hub takes",
            "spread the images over folders below data.image_root, name them so in the data set, and run "
            "again; or publish fewer arms, each to a repository of its own; or leave --images out",
        )
    if len(files) > MOST_IN_A_COMMIT:
        raise UserError(
            f"{FOLDER}/ of the repository",
            f"{len(files):,} images",
            f"at most {MOST_IN_A_COMMIT:,} in a commit, which is what the hub takes",
            "publish fewer arms, each to a repository of its own; or leave --images out, and upload the "
            "image folder by itself (docs/publishing.md says how)",
        )


def _folders(place: str) -> list[str]:
    """The folders above a file, without the repository's own."""
    return [str(parent) for parent in PurePosixPath(place).parents if parent.parts]


def _recorded(prompts: Iterable[Prompt], wanted: set[str]) -> dict[str, set[str]]:
    """Place of a wanted image → the SHA-256 that prompts recorded of it; one, unless it was replaced."""
    found: dict[str, set[str]] = {}
    for prompt in prompts:
        if prompt.images and prompt.image_sha256:
            for path, known in zip(prompt.images, prompt.image_sha256, strict=True):
                place = posixpath.join(FOLDER, *PurePosixPath(path).parts)
                if place in wanted:
                    found.setdefault(place, set()).add(known)
    return found


def _read(path: str, place: str, root: Path, row: str, recorded: set[str]) -> PublishedFile:
    try:
        # Resolved: a link that is set elsewhere later does not change what is sent.
        (source,) = located([path], root, row)
        # By its content: a row may name any file below the root, and only images were meant.
        file_type(source.read_bytes(), source, row)
        file = PublishedFile.of_file(place, source)
    except ImageError as error:
        raise UserError(error.where, error.found, error.expected, MEND) from None
    except OSError as error:
        raise UserError(
            row, f"the image {path!r} cannot be read: {error.strerror}", "an image file", MEND
        ) from None
    other = sorted(recorded - {file.sha256})
    if other:
        raise ReplacedImage(
            row,
            f"the image {path!r} is another since the prompts were read (SHA-256 {file.sha256[:12]})",
            f"SHA-256 {other[0][:12]}, as the prompt's record has it",
            "put that file back, or read the prompts again and draw anew (docs/images.md says how); nothing "
            "was sent",
        )
    return file
