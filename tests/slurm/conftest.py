"""The cluster, once for all tests; without SLURM they are skipped, but fail where CI is set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing
from jobs import SlurmWorkspace, long_generation


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two idle nodes."""
    absent = missing()
    if absent:
        reason = f"no real SLURM can be started here: {', '.join(absent)} missing"
        (pytest.fail if os.getenv("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("slurm")
    # Munge's own user has to reach its folder.
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    started = Cluster(folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> SlurmWorkspace:
    """A small run up to its training data, made without the cluster; not to be changed."""
    space = SlurmWorkspace.fresh(tmp_path_factory.mktemp("prepared"))
    space.configure(long_generation)
    space.run(
        "results/small/prompts/train/00000-of-00001.jsonl",
        "results/small/training_data/step-middle/policy/n-4/prompt_completion.jsonl",
    )
    return space


@pytest.fixture
def space(prepared: SlurmWorkspace, cluster: Cluster, tmp_path: Path) -> Iterator[SlurmWorkspace]:
    """A copy of the prepared run, to go on with on the cluster."""
    copied = SlurmWorkspace.of(prepared.copy(tmp_path), cluster)
    try:
        yield copied
    finally:
        copied.end()
