"""All files of a repository: the training data, its statistics, the card, and the facts for programs."""

from __future__ import annotations

import orjson

from winnow.errors import UserError
from winnow.publishing import recipe
from winnow.publishing.card import card
from winnow.publishing.front_matter import configurations
from winnow.publishing.image_files import Images
from winnow.publishing.published_file import PublishedFile
from winnow.publishing.refusals import TOKEN
from winnow.publishing.run_files import RunFiles

CARD, FACTS = "README.md", "winnow.json"


def contents(
    run: RunFiles, repo_id: str, revision: str, license_name: str | None, images: Images | None = None
) -> tuple[PublishedFile, ...]:
    """The files, sorted by their paths; `images` where they go along."""
    facts = recipe.provenance(run, configurations(run))
    if images is not None:
        told = {"files": len(images.files), "bytes": images.size, "compared": images.compared}
        facts["images"] = told
    written = [
        PublishedFile.of_bytes(CARD, card(run, repo_id, revision, license_name, images).encode()),
        PublishedFile.of_bytes(FACTS, orjson.dumps(facts, option=orjson.OPT_INDENT_2) + b"\n"),
    ]
    read = [file for arm in run.arms for file in (arm.statistics, *(entry.file for entry in arm.formats))]
    shown = images.files if images else ()
    return tuple(sorted([*written, *read, *shown], key=lambda file: file.path))


def refuse_token(files: tuple[PublishedFile, ...], token: str) -> None:
    """Keep the token out of what is published.

    Raises:
        UserError: a generated file has it, or a name.
    """
    for file in files:
        if token in file.path:
            raise UserError(
                "the name of a file",
                f"it has the value of {TOKEN} in it",
                "no secret in what is published",
                "rename the file (of an image also in the data set); make a new token, for this one is known",
            )
        if isinstance(file.source, bytes) and token.encode() in file.source:
            raise UserError(
                file.path,
                f"it would hold the value of {TOKEN}",
                "no secret in what is published",
                "take the token out of the config; make a new one, for this one stands in the run's records",
            )
