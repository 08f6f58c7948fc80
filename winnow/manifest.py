"""Manifests: a model known by its content, so that other weights are noticed and a touch is not.

A manifest is the edge of the DAG: a small JSON file, written last, that lists the files of a model
with their SHA-256. The weights lie beside it, undeclared. Its `model` hash stands in every
completion that the model wrote.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from winnow.errors import UserError
from winnow.jsonl import read_json, write_json
from winnow.lora import base_of

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a model is.

    Attributes:
        directory: where it lies: absolute, or relative to the manifest or the working directory;
            or a hub name.
        model: SHA-256 over the names and contents of all its files: its identity.
        tokenizer: the same over the tokenizer's files alone.
        files: name → {"bytes", "sha256"}.
        recipe: how Winnow trained it, or None.
        parent: the `model` hash of the checkpoint that it was trained from, or None.
    """

    directory: str
    model: str
    tokenizer: str
    files: dict[str, dict[str, Any]]
    recipe: dict[str, Any] | None = None
    parent: str | None = None

    def write(self, path: str | Path) -> None:
        """Write the manifest; do it when the model is complete on disk."""
        write_json(path, asdict(self))


def describe(
    directory: str | Path, recipe: dict[str, Any] | None = None, parent: str | None = None
) -> Manifest:
    """Hash a local model directory; a LoRA adapter together with the model that it adapts.

    Raises:
        UserError: no such directory, no config.json, no safetensors weights, or no tokenizer.
    """
    root = Path(directory)
    base = base_of(root)
    _check_complete(root, adapter=base is not None)
    names = sorted({file.name for pattern in MODEL_FILES for file in root.glob(pattern) if file.is_file()})
    hashes = _hashes(root, [name for name in names if name != NAME], _cache_file(root))
    # A base on the hub is known by its name, as a whole model there is: the DAG downloads nothing.
    adapted = describe(base) if base and not is_hub_name(base) else None
    own_tokenizer = {k: v for k, v in hashes.items() if k in TOKENIZER_FILES}
    return Manifest(
        directory=str(directory),
        model=_combine({**hashes, "base": adapted.model if adapted else f"hub:{base}"} if base else hashes),
        tokenizer=adapted.tokenizer if adapted and not own_tokenizer else _combine(own_tokenizer),
        files={name: {"bytes": (root / name).stat().st_size, "sha256": h} for name, h in hashes.items()},
        recipe=recipe,
        parent=parent,
    )


def resolve(model: str | Path) -> tuple[Path, Manifest]:
    """The directory and manifest of a model given as directory, manifest file or hub name.

    A model given by its manifest is compared with it, so that a completion never claims a model
    that did not write it.

    Raises:
        UserError: nothing usable there, or the files are not those of the manifest.
    """
    path = Path(model)
    recorded = _read(path) if path.suffix == ".json" else None
    directory = place(model) or _download(recorded.directory if recorded else str(model))
    found = describe(directory)
    if recorded is None:
        return directory, found
    if found.model != recorded.model:
        raise UserError(
            path,
            f"the files in {directory} have hash {found.model[:12]}, the manifest says {recorded.model[:12]}",
            "the weights that the manifest was written for",
            "run the pipeline again: it makes the manifest anew and redoes what used the old weights",
        )
    return directory, recorded


def place(model: str | Path) -> Path | None:
    """Where a model lies, given as for `resolve`; its content is not looked at. None for a hub name.

    Raises:
        UserError: a manifest that cannot be read.
    """
    path, name = Path(model), str(model)
    if path.suffix == ".json":
        name = _read(path).directory
        path = path.parent / name
        if not path.is_dir():
            path = Path(name)
    return path if path.is_dir() or not is_hub_name(name) else None


def _read(path: Path) -> Manifest:
    content = read_json(path)
    try:
        return Manifest(**content)
    except TypeError:
        raise UserError(
            path,
            "not a manifest",
            "manifest.json, as manifest.py or train.py writes it",
            "give that, or the model's directory",
        ) from None


def is_hub_name(name: str) -> bool:
    """Whether a string can only be a hub name (``org/name[@revision]``), not a local path."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).parent.is_dir()


def identity(model: str) -> str:
    """What the DAG compares to see whether a model has changed: content locally, the name on the hub."""
    return f"hub:{model}" if is_hub_name(model) else describe(model).model


def content_hash(path: str | Path) -> str:
    """SHA-256 of a file, remembered while its size and time stamps stay."""
    path = Path(path)
    return _hashes(path.parent, [path.name], _cache_file(path))[path.name]


def _download(name: str) -> Path:
    # Only needed for hub names, and slow to import.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=list(MODEL_FILES))
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            name,
            f"not a local directory, and the hub did not give it ({type(error).__name__})",
            "a model directory, or a hub name org/name[@revision] that can be reached",
            "check the path or the name; set HF_TOKEN or HF_ENDPOINT where they are needed",
        ) from error


def _check_complete(root: Path, adapter: bool) -> None:
    mend = "point to a directory that save_pretrained() wrote"
    if not root.is_dir():
        raise UserError(root, "no such model directory", "a directory in Hugging Face format", mend)
    if not adapter and not (root / "config.json").is_file():
        raise UserError(root, "no config.json in it", "a model directory in Hugging Face format", mend)
    if not any(root.glob("adapter_model.safetensors" if adapter else "*.safetensors")):
        pickled = [f.name for f in (*root.glob("*.bin"), *root.glob("*.pt"))]
        found = f"weights only as {pickled[0]}, a pickle" if pickled else "no weights in it"
        raise UserError(
            root,
            found,
            "*.safetensors",
            "save it with safe_serialization=True" if pickled else mend,
        )
    if not adapter and not any((root / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(root, "no tokenizer in it", "tokenizer.json or the like beside the weights", mend)


def _combine(hashes: dict[str, str]) -> str:
    listing = "\n".join(f"{name} {hashes[name]}" for name in sorted(hashes))
    return hashlib.sha256(listing.encode()).hexdigest()


def _hashes(root: Path, names: list[str], store: Path) -> dict[str, str]:
    """SHA-256 by name, reusing what was computed for the same (size, mtime, inode)."""
    try:
        known = orjson.loads(store.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        known = {}
    found: dict[str, Any] = {}
    for name in names:
        status = (root / name).stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        cached = known.get(name, {})
        fresh = cached.get("stamp") == stamp
        found[name] = {"stamp": stamp, "sha256": cached["sha256"] if fresh else file_hash(root / name)}
    if found != known:
        _save_cache(store, found)
    return {name: entry["sha256"] for name, entry in found.items()}


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_file(path: Path) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    return home / "winnow" / "hashes" / f"{key}.json"


def _save_cache(store: Path, found: dict[str, Any]) -> None:
    # The cache only saves time: where it cannot be written, hashing again is the whole cost.
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        partial = store.with_name(f"{store.name}.{os.getpid()}")
        partial.write_bytes(orjson.dumps(found))
        partial.replace(store)
    except OSError:
        return
