"""What the card says of images: how many, where they lie, and how to show those of a row in their order."""

from __future__ import annotations

from collections.abc import Iterator

from winnow import formats
from winnow.publishing.front_matter import configurations
from winnow.publishing.image_files import FOLDER, Images, named_images
from winnow.publishing.markup import fenced, table
from winnow.publishing.run_files import RunFiles

PATHS = {
    "lightrft_samples": '[row["path1"], row["path2"]][:: 1 if row["preference"] == "A" else -1]',
    "parquet": '[image["image"] for image in row["images"] or []]',
}
"""The image paths of a row in the order shown, by the format's name, where no column is a list of them."""
LISTED = 'row["images"] or []'


def images_shown(run: RunFiles, images: Images | None, repo_id: str, revision: str) -> Iterator[str]:
    """The section, or nothing where no row names an image.

    Args:
        run: what is published.
        images: those that go along; None where they stay.
        repo_id: where it goes.
        revision: its branch.
    """
    named = named_images(run)
    if not named:
        return
    yield "## Images"
    names = configurations(run)
    shown = {names[e.file.path]: e for arm in run.arms for e in arm.formats if e.showing}
    yield table(("configuration", "rows with images"), [(name, each.showing) for name, each in shown.items()])
    yield (
        "Rows name images by paths below the run's image folder, in the order in which they were shown: the "
        "first `<image>` in a row's texts is the first of its `images`, and so on; where the texts have "
        "none, all stand before the last question."
        + (
            " A row with `path1` and `path2` shows `path1` first where its `preference` is A, else `path2`."
            if any(each.name == "lightrft_samples" for each in shown.values())
            else ""
        )
    )
    if images is None:
        yield (
            f"The rows name {len(named):,} images. The images themselves were not published with them: "
            "whoever trains on them needs the image folder of the source data set."
        )
        return
    yield (
        f"The {len(images.files):,} image files ({images.size:,} bytes) lie in `{FOLDER}/`: this folder is "
        "what the rows' paths are relative to, a trainer's image folder or media folder. They are the files "
        "as they were, with all that stands in them (an EXIF block, for one). "
        + _compared(images)
        + " Whether they may be passed on, their publisher has decided, not the program."
    )
    known = formats.names()
    first = next(((name, each.name) for name, each in shown.items() if each.name in known), None)
    if first is not None:
        yield fenced(_code(*first, repo_id, revision), "python")


def _compared(images: Images) -> str:
    if images.compared == len(images.files):
        return "Each has the SHA-256 that was recorded when the prompts were read."
    return (
        f"{images.compared:,} of them have the SHA-256 that was recorded when the prompts were read; of the "
        "others none was recorded."
    )


def _code(configuration: str, name: str, repo_id: str, revision: str) -> str:
    """Python that opens the images of a configuration's rows."""
    at = "" if revision == "main" else f", revision={revision!r}"
    paths = PATHS.get(name, LISTED)
    return "\n".join(
        [
            "from datasets import Image, List, load_dataset",
            "from huggingface_hub import snapshot_download",
            "",
            f'folder = snapshot_download({repo_id!r}, repo_type="dataset", allow_patterns="{FOLDER}/*"{at})',
            f'rows = load_dataset({repo_id!r}, {configuration!r}, split="train"{at})',
            "",
            "def files(row):",
            f'    return {{"shown": [f"{{folder}}/{FOLDER}/{{path}}" for path in {paths}]}}',
            "",
            'rows = rows.map(files).cast_column("shown", List(Image()))',
            'rows[0]["shown"]  # opened, in the order in which they were shown',
        ]
    )
