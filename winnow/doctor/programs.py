"""Programs that only some pictures and tests need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from winnow.doctor.finding import HINT, OK, Finding

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check() -> Iterator[Finding]:
    """Graphviz and a browser."""
    yield program(("dot",), "draws the DAG: make dag", "apt install graphviz, or conda install graphviz")
    yield program(BROWSERS, "tests the report", "apt install chromium (only to run the report's tests)")


def program(names: tuple[str, ...], use: str, mend: str) -> Finding:
    """The first of some programs that is there."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found:
        return Finding(OK, names[0], f"{found} ({use})")
    return Finding(HINT, names[0], f"none here ({use})", mend)
