"""What is wrong with a config, in plain words, with its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from winnow.errors import UserError, closest

WHERE = "config"


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Put the config's key before what an error says."""
    try:
        yield
    except UserError as error:
        raise error.at(f"{WHERE}, key {key}") from error


def explain(error: Any) -> UserError:
    """Put a jsonschema.ValidationError into words."""
    key = ".".join(map(str, error.absolute_path)) or "(top)"
    where = f"{WHERE}, key {key}"
    mend = "correct the config; schemas/config.schema.yaml describes every key"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        return UserError(
            where,
            f"unknown key {unknown[0]!r}{closest(str(unknown[0]), known)}",
            "one of " + ", ".join(known),
            mend,
        )
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return UserError(where, f"{missing[0]!r} is missing", f"{', '.join(error.validator_value)}", mend)
    return UserError(
        where,
        f"{error.instance!r} ({type(error.instance).__name__})",
        _expectation(error),
        mend,
    )


def _expectation(error: Any) -> str:
    value = error.validator_value
    listed = [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
    words = {
        "type": f"of type {' or '.join(listed)}",
        "enum": f"one of {', '.join(listed)}",
        "minimum": f"at least {value}",
        "maximum": f"at most {value}",
        "exclusiveMinimum": f"above {value}",
        "minItems": f"at least {value} entry",
        "minProperties": f"at least {value} entry",
        "pattern": f"letters, digits and marks that suit a path ({value})",
    }
    wanted = words.get(str(error.validator), error.message)
    description = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"{wanted}. {description}" if description else wanted
