"""What would go, for a person to read before it goes."""

from __future__ import annotations

from collections.abc import Sequence

from winnow.publishing.changes import IMAGES
from winnow.publishing.contents import CARD
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.push import Target


def preview(target: Target, files: Sequence[PublishedFile], endpoint: str, images: str) -> str:
    """The repository, every file with its size and SHA-256, of images each folder, and the card.

    Args:
        target: the repository.
        files: all that it is to hold.
        endpoint: of the hub.
        images: what becomes of them, in a sentence.
    """
    told = [file for file in files if not file.path.startswith(IMAGES)]
    folders: dict[str, list[int]] = {}
    for file in files:
        if file.path.startswith(IMAGES):
            folders.setdefault(f"{file.path.rpartition('/')[0]}/", []).append(file.size)
    width = max(len(name) for name in (*folders, *(file.path for file in told)))
    lines = [
        f"repository  {endpoint}/datasets/{target.repo_id}",
        f"visibility  {'public' if target.public else 'private'}",
        f"revision    {target.revision}",
        f"commit      {target.message}",
        f"files       {len(files)}, {sum(file.size for file in files):,} bytes",
        f"images      {images}",
        "",
        *(f"  {file.path:<{width}} {file.size:>14,}  {file.sha256}" for file in told),
        *(
            f"  {name:<{width}} {sum(sizes):>14,}  {len(sizes):,} images"
            for name, sizes in sorted(folders.items())
        ),
    ]
    text = next(file.source for file in files if file.path == CARD)
    assert isinstance(text, bytes)
    lines += ["", f"--- {CARD} ".ljust(78, "-"), text.decode().rstrip("\n"), "-" * 78]
    lines.append("dry run: nothing was sent, and the hub was not asked")
    return "\n".join(lines)
