"""LoRA adapters as models: what they are adapters of."""

from __future__ import annotations

from pathlib import Path

from winnow.errors import UserError
from winnow.jsonl import read_json

CONFIG = "adapter_config.json"


def base_of(directory: Path) -> str | None:
    """The model that an adapter adapts, as a directory or hub name; None if this is no adapter.

    A path is looked for where the adapter lies, then where the program runs.

    Raises:
        UserError: the adapter does not say.
    """
    file = directory / CONFIG
    if not file.is_file() or (directory / "config.json").is_file():
        return None
    named = read_json(file).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError(
            file,
            "no base_model_name_or_path",
            "the model that it adapts, as peft writes it",
            "add it: a directory (relative to the adapter), or a hub name",
        )
    base = directory / named if (directory / named).is_dir() else Path(named)
    if (base / CONFIG).is_file() and not (base / "config.json").is_file():
        raise UserError(
            file,
            f"it adapts {named}, which is an adapter itself",
            "an adapter of a whole model",
            "merge the first adapter into its model (peft's merge_and_unload), and adapt that",
        )
    return str(base) if base.is_dir() else named
