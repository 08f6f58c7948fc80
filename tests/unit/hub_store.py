"""What a hub stores: repositories, their branches, their commits, and files by their hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Entry:
    """A file of a commit."""

    content: bytes
    large: bool

    @property
    def git_hash(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass
class Commit:
    """A commit of a branch."""

    oid: str
    message: str
    files: dict[str, Entry]


@dataclass
class Repository:
    """A data set repository: its branches, each a list of commits."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = [commit for branch in self.branches.values() for commit in branch]
        return next((commit for commit in commits if commit.oid == revision), None)

    def add(self, branch: str, message: str, files: dict[str, Entry]) -> Commit:
        history = self.branches.setdefault(branch, [])
        oid = hashlib.sha1(f"{branch} {len(history)} {message} {sorted(files)}".encode()).hexdigest()
        history.append(Commit(oid, message, files))
        return history[-1]


def described(path: str, entry: Entry) -> dict[str, Any]:
    """A file as the tree lists it."""
    size = len(entry.content)
    large = {"oid": entry.sha256, "size": size, "pointerSize": 130}
    told = {"type": "file", "path": path, "size": size, "oid": entry.git_hash}
    return {**told, "lfs": large} if entry.large else told
