"""Two processes never train in one folder, and what the first has finished the second does not do again."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from winnow.training.recipe import Workplace, alone


def test_nobody_else_there(tmp_path: Path) -> None:
    """A manifest of an earlier run is no reason to do nothing: another recipe may be wanted."""
    place = Workplace(tmp_path / "run")
    with alone(place) as finished:
        assert not finished
    place.manifest.write_text("{}")
    with alone(place) as finished:
        assert not finished


@pytest.mark.parametrize("ends_well", [True, False])
def test_it_waits_for_the_other_and_sees_how_that_ended(tmp_path: Path, ends_well: bool) -> None:
    place = Workplace(tmp_path)
    place.unfinished.mkdir()
    place.recipe.write_text("{}")
    found: list[bool] = []

    def second() -> None:
        with alone(place) as finished:
            found.append(finished)

    with (tmp_path / "train.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not found
        if ends_well:
            place.recipe.unlink()
            place.manifest.write_text("{}")
    thread.join(5)
    assert found == [ends_well]
