"""Write the tables of config/README.md from the schema.

    python schemas/document_config.py

What stands above MARK in that file is written by hand, and stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from winnow.schema import resolved, schema  # noqa: E402

README = ROOT / "config" / "README.md"
MARK = "<!-- From schemas/config.schema.yaml, by schemas/document_config.py -->\n"
HEADER = "| key | type | default | what it is |\n|---|---|---|---|\n"

Row = tuple[str, str, str, str]


def document() -> str:
    """The README with its tables made anew."""
    return README.read_text(encoding="utf-8").partition(MARK)[0] + MARK + tables()


def tables() -> str:
    """A table of the keys that stand alone, then one for each section of the config."""
    alone, sections = [], []
    required = schema()["required"]
    for key, part in schema()["properties"].items():
        rows = list(_below(part, f"{key}."))
        if rows:
            text = f"{part['description']}{' Required.' if key in required else ''}"
            sections.append(f"\n## {key}\n\n{text}\n\n{_table(rows)}")
        else:
            alone.append(_row(key, part, key in required))
    return "\n" + _table(alone) + "".join(sections)


def _below(part: dict[str, Any], prefix: str) -> Iterator[Row]:
    """A row for each key below a part of the schema; what several keys share comes once, after them."""
    part = resolved(part)
    if "items" in part:
        part, prefix = resolved(part["items"]), f"{prefix.removesuffix('.')}[]."
    shared: dict[str, dict[str, Any]] = {}
    for key, inner in part.get("properties", {}).items():
        yield _row(prefix + key, inner, key in part.get("required", []))
        if "$ref" in inner:
            shared[inner["$ref"]] = resolved(inner)
        else:
            yield from _below(inner, f"{prefix}{key}.")
    seen = set()
    for inner in shared.values():
        for row in _below(inner, f"{prefix}<{inner['title']}>."):
            if row not in seen:
                seen.add(row)
                yield row


def _row(key: str, part: dict[str, Any], required: bool) -> Row:
    inner = resolved(part)
    default = "required" if required else f"`{_shown(inner['default'])}`" if "default" in inner else ""
    return f"`{key}`", _kind(inner), default, inner["description"].replace("<", "&lt;")


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part:
        return " or ".join("null" if value is None else f"`{value}`" for value in part["enum"])
    if part["type"] == "array":
        return f"list of {_kind(part['items'])}s"
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return " or ".join("mapping" if kind == "object" else kind for kind in kinds)


def _shown(value: Any) -> str:
    """A default as one writes it in YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


def _table(rows: list[Row]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in escaped)


if __name__ == "__main__":
    README.write_text(document(), encoding="utf-8")
