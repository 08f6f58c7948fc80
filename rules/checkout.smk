# The folder with scripts/ and winnow/, on disk: a module may be read straight from a repository.

import io
import os
import sys
import tarfile
import tempfile

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import HostingProviderFile, LocalSourceFile


def checkout(snakefile, cache):
    """The folder that a Snakefile lies in; that of github() or gitlab() is unpacked below `cache`, once a commit."""
    if isinstance(snakefile, LocalSourceFile):
        return os.path.dirname(snakefile.path)
    if not isinstance(snakefile, HostingProviderFile):
        raise WorkflowError(
            f"{snakefile}: Winnow's programs cannot be read from there"
            '\n  expected: a path, github("owner/name", path="Snakefile", tag="...") or gitlab(...)'
            "\n  to mend:  clone the repository, and name the Snakefile by its path"
        )
    snakefile.fetch_if_required()
    repository = snakefile.hosted_repo.repo
    commit = repository.commit(snakefile.ref).hexsha
    folder = os.path.join(cache, "winnow", commit)
    if not os.path.isdir(folder):
        unpack_commit(repository, commit, folder)
    return os.path.join(folder, os.path.dirname(snakefile.path))


def unpack_commit(repository, commit, folder):
    """By rename, so that jobs of a cluster that start together never see half a checkout."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as scratch:
        archive = io.BytesIO()
        repository.archive(archive, commit)
        archive.seek(0)
        files = os.path.join(scratch, commit)
        tarfile.open(fileobj=archive).extractall(files, filter="data")
        try:
            os.rename(files, folder)
        except OSError:
            if not os.path.isdir(folder):
                raise


def use_library(folder):
    """Make `folder` the one that winnow is imported from."""
    sys.path.insert(0, folder)
    import winnow

    loaded = os.path.dirname(os.path.dirname(winnow.__file__))
    if not os.path.samefile(loaded, folder):
        raise WorkflowError(
            f"{folder}: Winnow is loaded from {loaded} already"
            "\n  expected: one version of Winnow in a workflow"
            "\n  to mend:  name the same version in every module statement"
        )
