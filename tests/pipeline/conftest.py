"""One finished run of the small config, copied by every test that changes something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small config, run to its end; not to be changed."""
    space = Workspace.fresh(tmp_path_factory.mktemp("finished"))
    space.run()
    return space


@pytest.fixture
def space(finished: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of the finished run."""
    yield finished.copy(tmp_path)
