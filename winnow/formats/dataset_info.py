"""dataset_info.json: by which LLaMA-Factory knows the files beside it, one entry each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.formats.format import Format

FILENAME = "dataset_info.json"

OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
"""All of them: a tag that is left out means none, not its default."""

LISTED: dict[str, dict[str, Any]] = {
    "messages.jsonl": {"columns": {"messages": "messages"}, "tags": OPENAI_TAGS},
    "sharegpt.json": {"columns": {"messages": "conversations"}},
    "sharegpt_preference.json": {
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
}
"""What LLaMA-Factory has to know of each file that it can read."""


def lists(fmt: Format) -> bool:
    """Whether a format's file gets an entry."""
    return fmt.filename in LISTED


def entry(filename: str, images: bool) -> dict[str, Any]:
    """How to read a file; a column of images that is named has to be there."""
    known = LISTED[filename]
    columns = {**known["columns"], "images": "images"} if images else known["columns"]
    return {"file_name": filename, "formatting": "sharegpt", **known, "columns": columns}


def write(folder: Path, images: dict[str, bool]) -> None:
    """Write the entries of these files, merged with those of other files that lie in the folder.

    Messages with images get none: LLaMA-Factory wants an ``<image>`` for each, which `sharegpt` has.

    Args:
        folder: of the files.
        images: for each file whether any of its rows has images.
    """
    path = folder / FILENAME
    known = jsonl.read_json(path) if path.is_file() else {}
    kept = {name: told for name, told in known.items() if (folder / told.get("file_name", "")).is_file()}
    placed = {name: shows for name, shows in images.items() if not (shows and name == "messages.jsonl")}
    new = {Path(name).stem: entry(name, shows) for name, shows in placed.items()}
    jsonl.write_json(path, dict(sorted({**kept, **new}.items())))
