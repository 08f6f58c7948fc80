"""A file on its way to a repository, known by its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from winnow.errors import UserError
from winnow.manifest import file_hash


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of the repository.

    Attributes:
        path: in the repository.
        source: a local file, or the content itself.
        size: in bytes.
        sha256: of the content.
        stamp: of a local file when it was read: size, time of change in ns, inode.
    """

    path: str
    source: Path | bytes
    size: int
    sha256: str
    stamp: tuple[int, int, int] | None = None

    @classmethod
    def of_file(cls, path: str, source: Path) -> PublishedFile:
        """A local file as it is now."""
        stamp = _stamp(source)
        return cls(path, source, stamp[0], file_hash(source), stamp)

    @classmethod
    def of_bytes(cls, path: str, content: bytes) -> PublishedFile:
        """A generated file."""
        return cls(path, content, len(content), hashlib.sha256(content).hexdigest())

    def git_hash(self) -> str:
        """The name that git gives to the content: SHA-1 of ``blob <size>`` NUL content."""
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        if isinstance(self.source, bytes):
            digest.update(self.source)
        else:
            with self.source.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Compare a local file with what was read.

        Raises:
            UserError: it has been written or removed since.
        """
        if isinstance(self.source, bytes):
            return
        if not self.source.is_file() or _stamp(self.source) != self.stamp:
            raise UserError(
                self.source,
                "it has changed while it was being published",
                "files that no job writes",
                "wait for the run to end, then publish again; nothing was committed",
            )


def _stamp(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino
