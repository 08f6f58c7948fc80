"""The YAML that opens a card: what the hub shows and searches, and what `datasets` loads by name."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import yaml

from winnow.errors import UserError
from winnow.publishing.arm_files import ArmFiles, FormatFile
from winnow.publishing.run_files import RunFiles

TAGS = ("winnow", "synthetic", "rejection-sampling")
SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip


def configurations(run: RunFiles) -> dict[str, str]:
    """Path in the repository → name for `load_dataset`: the format, after its arm where there are several.

    Raises:
        UserError: two files would have one name, or a path that would not be read as one.
    """
    found = {entry.file.path: _name(run, arm, entry) for arm in run.arms for entry in arm.formats}
    for path in found:
        # `datasets` reads paths as patterns, and names folders after configurations.
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", path):
            raise UserError(
                path,
                "a path with marks that mean something in a pattern",
                "letters, digits, '_', '-' and '.' in the names of steps and files",
                "rename the step, or give your own format another filename",
            )
    twice = [name for name, count in Counter(found.values()).items() if count > 1]
    if twice:
        raise UserError(
            "--formats",
            f"two files for the configuration {twice[0]!r}: "
            + ", ".join(path for path, name in found.items() if name == twice[0]),
            "one file for each configuration",
            "publish fewer formats, or give your own another filename",
        )
    return found


def _name(run: RunFiles, arm: ArmFiles, entry: FormatFile) -> str:
    return entry.name if len(run.arms) == 1 else f"{arm.arm.path.replace('/', '-')}-{entry.name}"


def size_category(rows: int) -> str:
    """The hub's name for a number of rows."""
    return next((name for limit, name in SIZES if rows < limit), "n>1B" if rows < 10**12 else "n>1T")


def front_matter(run: RunFiles, license_name: str | None) -> dict[str, Any]:
    """The card's metadata as it is written.

    Args:
        run: what is published.
        license_name: as the hub knows it; None leaves the field out.
    """
    named = configurations(run)
    first = next(iter(named))
    configs = [
        {
            "config_name": name,
            "data_files": [{"split": "train", "path": path}],
            **({"default": True} if path == first and len(run.arms) == 1 else {}),
        }
        for path, name in named.items()
    ]
    return {
        "pretty_name": run.name,
        **({"license": license_name} if license_name else {}),
        "size_categories": [size_category(sum(arm.examples for arm in run.arms))],
        "tags": list(TAGS),
        "configs": configs,
    }


def as_yaml(metadata: dict[str, Any]) -> str:
    """The block with its two lines of dashes; whatever stands in a value is quoted by the YAML writer."""
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)}---\n"
