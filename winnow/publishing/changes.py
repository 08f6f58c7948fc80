"""What a push would change in a repository: pure comparison by hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from winnow.errors import UserError
from winnow.publishing.published_file import PublishedFile

OWNED = ("training_data/", "selected/")
"""Folders of a repository whose files are all of one push."""

IMAGES = "images/"
"""Likewise, but only of a push that brings images: another leaves the folder as it is."""

IGNORED = {".gitattributes"}
"""What the hub puts into a new repository."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the repository: its git hash, and its SHA-256 where it is stored as a large file."""

    git_hash: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs.

    Attributes:
        new: files that the repository lacks.
        changed: files that it has with other content.
        stale: paths in folders of one push that this push does not have.
        other: paths that are none of a push's.
    """

    new: tuple[PublishedFile, ...]
    changed: tuple[PublishedFile, ...]
    stale: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def added(self) -> tuple[PublishedFile, ...]:
        """Files to send."""
        return self.new + self.changed

    @property
    def none(self) -> bool:
        """Whether the repository holds all of it already, and nothing stale."""
        return not (self.added or self.stale)


def compare(files: Iterable[PublishedFile], remote: Mapping[str, RemoteFile]) -> Changes:
    """Compare by content: large files by SHA-256, small ones by the hash that git gives them."""
    files = list(files)
    own = {file.path for file in files}
    owned = (*OWNED, IMAGES) if any(path.startswith(IMAGES) for path in own) else OWNED
    others = sorted(remote.keys() - own - IGNORED)
    return Changes(
        new=tuple(file for file in files if file.path not in remote),
        changed=tuple(f for f in files if f.path in remote and not _same(f, remote[f.path])),
        stale=tuple(path for path in others if path.startswith(owned)),
        other=tuple(path for path in others if not path.startswith(owned)),
    )


def _same(file: PublishedFile, remote: RemoteFile) -> bool:
    if remote.sha256 is not None:
        return file.sha256 == remote.sha256
    return file.git_hash() == remote.git_hash


def check_allowed(changes: Changes, repo_id: str, update: bool) -> None:
    """Refuse to replace what somebody put there, unless it was asked for.

    Raises:
        UserError: the repository has other content, and `update` is false.
    """
    if update or changes.none or not (changes.changed or changes.stale or changes.other):
        return
    kinds = (
        (tuple(file.path for file in changes.changed), "with other content"),
        (changes.stale, "not of this push"),
        (changes.other, "of somebody else's"),
    )
    told = "; ".join(f"{_some(paths)} {what}" for paths, what in kinds if paths)
    raise UserError(
        repo_id,
        f"the repository is in use: {told}",
        "an empty repository, or one that has just this",
        "choose another --repo_id; or add --update to replace README.md and winnow.json, and to make "
        "training_data/ and selected/ (with --images, images/ too) what this run has (all else stays)",
    )


def _some(paths: tuple[str, ...]) -> str:
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
