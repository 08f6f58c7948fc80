"""Push files to a data set repository of the hub, in one commit.

The order is what makes it safe to kill and to repeat: large files go first, stored by their hash, so that a
file that arrived is never sent again; then comes one commit that names its parent, so that a push by somebody
else in between is noticed (the hub answers 412) and nothing of theirs is overwritten unseen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from winnow.errors import UserError
from winnow.publishing.changes import Changes, RemoteFile, check_allowed, compare
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.refusals import CONFLICT, answered_badly, of_the_hub, passes, refusal, status_of

log = logging.getLogger("publish")

ATTEMPTS = 3
PAUSE_S = 1.0
"""Times 2, 4 …: before each further attempt. The library waits and asks again by itself, too."""

KIND = "dataset"


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go.

    Attributes:
        repo_id: user/name.
        revision: a branch.
        public: visible to everybody.
        update: replace what an earlier push left there.
        message: of the commit.
    """

    repo_id: str
    revision: str
    public: bool
    update: bool
    message: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """How it ended: the commit that holds the files, whether this push made it, and how much it changed."""

    commit: str
    made: bool
    added: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class _Remote:
    commit: str
    files: Mapping[str, RemoteFile]


def push(
    api: Any,
    target: Target,
    files: Sequence[PublishedFile],
) -> Pushed:
    """Make the repository hold the files; create it if there is none.

    Args:
        api: a `huggingface_hub.HfApi` with its token.
        target: where they go.
        files: all that the repository is to hold.

    Raises:
        UserError: the hub refuses, the repository is in use, or it cannot be reached.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # Asked first: elsewhere the hub answers to a wrong token as if the repository were not there.
            api.whoami()
            return _attempt(api, target, files)
        except UserError:
            raise
        except Exception as error:
            if not of_the_hub(error):
                raise
            told = refusal(error, api.endpoint, target.repo_id)
            if attempt == ATTEMPTS or not passes(status_of(error)):
                raise told from error
            # The parent makes this safe: had the lost answer been a success, the next look finds it done.
            log.warning("%s; trying again", told.found)
            time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _attempt(api: Any, target: Target, files: Sequence[PublishedFile]) -> Pushed:
    remote = _look(api, target) or _create(api, target)
    changes = compare(files, remote.files)
    if changes.none:
        return Pushed(remote.commit, made=False)
    check_allowed(changes, target.repo_id, target.update)
    try:
        return _commit(api, target, changes, remote.commit)
    except Exception as error:
        now = _look(api, target) if status_of(error) == CONFLICT else None
        if now is None or not compare(files, now.files).none:
            raise
        return Pushed(now.commit, made=False)


def _commit(api: Any, target: Target, changes: Changes, parent: str) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = []
    for file in changes.added:
        source = file.source if isinstance(file.source, bytes) else str(file.source)
        addition = CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=source)
        # Known already: the library need not read the file once more.
        addition.upload_info.sha256 = bytes.fromhex(file.sha256)
        additions.append(addition)
    sent = sum(file.size for file in changes.added)
    log.info("%d files, %s bytes, that %s lacks", len(additions), f"{sent:,}", target.repo_id)
    common = {"repo_id": target.repo_id, "repo_type": KIND, "revision": target.revision}
    # Of one content under two names the library would send both at once; the commit finds the second there.
    contents = {file.sha256: each for file, each in zip(changes.added, additions, strict=True)}
    api.preupload_lfs_files(additions=list(contents.values()), free_memory=False, **common)
    for file in changes.added:
        file.check_unchanged()
    deletions = [CommitOperationDelete(path_in_repo=path) for path in changes.stale]
    try:
        info = api.create_commit(
            operations=[*additions, *deletions], commit_message=target.message, parent_commit=parent, **common
        )
    except ValueError as error:
        if answered_badly(error):
            raise
        raise UserError(
            target.repo_id,
            f"the hub does not take the card: {error}",
            "a README.md whose metadata it knows",
            "correct --license",
        ) from error
    return Pushed(info.oid, made=True, added=len(additions), removed=len(deletions))


def _look(api: Any, target: Target) -> _Remote | None:
    """What the branch holds; None where the repository is not there. The branch is made if it is missing."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = api.dataset_info(target.repo_id, revision=target.revision)
    except RevisionNotFoundError:
        _check_visibility(api.dataset_info(target.repo_id).private, target)
        api.create_branch(target.repo_id, branch=target.revision, repo_type=KIND, exist_ok=True)
        info = api.dataset_info(target.repo_id, revision=target.revision)
    except RepositoryNotFoundError:
        return None
    _check_visibility(info.private, target)
    entries = api.list_repo_tree(target.repo_id, repo_type=KIND, revision=info.sha, recursive=True)
    files = {
        entry.path: RemoteFile(entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in entries
        if hasattr(entry, "blob_id")
    }
    return _Remote(info.sha, files)


def _create(api: Any, target: Target) -> _Remote:
    api.create_repo(target.repo_id, repo_type=KIND, private=not target.public, exist_ok=True)
    log.info("made the %s repository %s", "public" if target.public else "private", target.repo_id)
    found = _look(api, target)
    if found is None:
        raise UserError(
            target.repo_id,
            "the repository was made, and cannot be read with this token",
            "a token that may read and write it",
            "give the token of HF_TOKEN access to it",
        )
    return found


def _check_visibility(private: bool, target: Target) -> None:
    if private != target.public:
        return
    is_now, asked = ("private", "--public is given") if private else ("public", "--public is not given")
    mend = "leave --public out" if private else "add --public if everybody may read it"
    raise UserError(
        target.repo_id,
        f"the repository is {is_now}, and {asked}",
        "the visibility that was asked for; a push never changes that of a repository",
        f"{mend}; or change it in the repository's settings on the hub",
    )
