"""What would go, for a person to read before it goes."""

from __future__ import annotations

from collections.abc import Sequence

from winnow.publishing.contents import CARD
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.push import Target


def preview(target: Target, files: Sequence[PublishedFile], endpoint: str) -> str:
    """The repository, every file with its size and SHA-256, and the card."""
    width = max(len(file.path) for file in files)
    lines = [
        f"repository  {endpoint}/datasets/{target.repo_id}",
        f"visibility  {'public' if target.public else 'private'}",
        f"revision    {target.revision}",
        f"commit      {target.message}",
        f"files       {len(files)}, {sum(file.size for file in files):,} bytes",
        "",
        *(f"  {file.path:<{width}} {file.size:>14,}  {file.sha256}" for file in files),
    ]
    text = next(file.source for file in files if file.path == CARD)
    assert isinstance(text, bytes)
    lines += ["", f"--- {CARD} ".ljust(78, "-"), text.decode().rstrip("\n"), "-" * 78]
    lines.append("dry run: nothing was sent, and the hub was not asked")
    return "\n".join(lines)
