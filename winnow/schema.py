"""The config's schema, and what follows from it alone: defaults, and what a value given as text is."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path(__file__).parent.parent / "schemas" / "config.schema.yaml"
TEXT_FOR_NULL = ("null", "~")


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of the config."""
    # Every job that Snakemake starts reads it: the parser in C takes a tenth of the time, where it is there.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), loader)
    return loaded


def fill(value: Any, part: dict[str, Any]) -> None:
    """Put the schema's defaults where the config is silent."""
    part = resolved(part)
    if isinstance(value, dict):
        for key, inner in part.get("properties", {}).items():
            inner = resolved(inner)
            default = inner.get("default")
            if "default" in inner and key not in value:
                value[key] = copy.deepcopy(default)
            elif isinstance(default, dict) and inner.get("additionalProperties") is False:
                # A record that is given in part gets the rest; a mapping from names stays as it is given.
                value[key] = {**copy.deepcopy(default), **value[key]}
            if key in value:
                fill(value[key], inner)
    elif isinstance(value, list):
        for entry in value:
            fill(entry, part.get("items", {}))


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema with what it refers to; its own keys win."""
    if "$ref" not in part:
        return part
    return {**schema()["$defs"][part["$ref"].rpartition("/")[2]], **part}


def typed(given: Any, part: dict[str, Any]) -> Any:
    """What was given on Snakemake's command line, as what a part of the schema says that it is.

    Snakemake reads what `--config` nests as text alone: ``generation={temperature: 0.5}`` gives "0.5".
    A scorer's options, which the schema does not know, are read as YAML.
    """
    part = resolved(part)
    if isinstance(given, dict):
        known, others = part.get("properties", {}), part.get("additionalProperties")
        unknown = others if isinstance(others, dict) else {}
        return {key: typed(value, known.get(key, unknown)) for key, value in given.items()}
    if isinstance(given, list):
        return [typed(value, part.get("items", {})) for value in given]
    return _read(given, part) if isinstance(given, str) else given


def _read(text: str, part: dict[str, Any]) -> Any:
    """A value given as text; text where it is to be text, or is not what it should be."""
    kinds = [part["type"]] if isinstance(part.get("type"), str) else part.get("type", [])
    if "string" in kinds or "enum" in part:
        return None if "null" in kinds and text in TEXT_FOR_NULL else text
    try:
        value = yaml.safe_load(text)
        # YAML 1.1 takes 1e-4 for text.
        return float(value) if "number" in kinds and isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text
