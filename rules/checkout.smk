# The folder with scripts/ and winnow/, on disk: a module may be read straight from a repository.

import io
import os
import sys
import tarfile

import git


def checkout(source, cache):
    """The folder that the Snakefile lies in; its commit, unpacked under `cache`, if that is in a repository."""
    if hasattr(source, "hosted_repo"):
        source.fetch_if_required()
        repository = source.hosted_repo.repo
    elif hasattr(source, "repo_path"):
        repository = git.Repo(source.repo_path)
    else:
        return source.get_path_or_uri(secret_free=True)
    commit = repository.commit(source.ref).hexsha
    folder = os.path.join(cache, "winnow", commit)
    if not os.path.isdir(folder):
        # By rename, so that jobs of a cluster that start together never see half a checkout.
        unpacked = f"{folder}.{os.getpid()}"
        archive = io.BytesIO()
        repository.archive(archive, commit)
        archive.seek(0)
        tarfile.open(fileobj=archive).extractall(unpacked, filter="data")
        try:
            os.rename(unpacked, folder)
        except OSError:
            if not os.path.isdir(folder):
                raise
    return folder
