"""That a prompt's images are those that it was read with: each file by its content, not by its name alone."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from winnow.errors import UserError
from winnow.images import ImageError, located
from winnow.records import Prompt


class ReplacedImage(UserError):
    """A file with another image than when its prompt was read.

    Not an `ImageError`, of which a few are borne: what was drawn before saw the other image.
    """


def images_of(prompt: Prompt, root: Path) -> tuple[Path, ...]:
    """The files of a prompt's images, in the order in which they are shown.

    Args:
        prompt: their paths, and their digests if it was read with an image root.
        root: where the data set's images lie.

    Raises:
        ImageError: see `winnow.images.located`.
        ReplacedImage: a file of another content.
    """
    where = f"prompt {prompt.id}"
    files = located(prompt.images or (), root, where)
    check_unchanged(files, prompt.image_sha256, where)
    return files


def check_unchanged(files: Sequence[Path], digests: Sequence[str] | None, where: str) -> None:
    """Compare files with what they held; nothing where nobody looked.

    Raises:
        ImageError: a file that cannot be read.
        ReplacedImage: a file of another content.
    """
    if digests is None:
        return
    for file, known in zip(files, digests, strict=True):
        found = digest(file, where)
        if found != known:
            raise ReplacedImage(
                where,
                f"the image {file} is another since the prompts were read (SHA-256 {found[:12]})",
                f"SHA-256 {known[:12]}, as the prompt's record has it",
                "put that file back, or read the prompts again and draw anew (docs/images.md says how)",
            )


def digest(file: Path, where: str) -> str:
    """SHA-256 of an image file.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        state = file.stat()
        return _sha256(file, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    except OSError as error:
        raise ImageError(
            where, f"{file} cannot be read: {error.strerror}", "an image file", "replace the file"
        ) from None


# Samples of one prompt show the same files, and some data sets show one image in several prompts.
@functools.lru_cache(maxsize=4096)
def _sha256(file: Path, *_: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
