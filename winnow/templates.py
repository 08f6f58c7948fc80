"""Prompt templates: what the student and the teacher are shown of a row.

Templates are Jinja, as chat templates are, so that ``\\boxed{}`` and other braces of mathematics
need no escape. They see the row's own fields, and `prompt` and `reference` as the adapter read them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from winnow.errors import UserError
from winnow.records import Message

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def render(template: str, fields: Mapping[str, Any], where: str) -> str:
    """Fill a template; `where` names the row for the message.

    Raises:
        UserError: the template has a syntax error, or names a field that the row lacks.
    """
    try:
        return str(_compiled(template).render(fields))
    except TemplateSyntaxError as error:
        raise UserError(
            f"template {template!r}", f"{error.message}", "a Jinja template", "correct the template"
        ) from None
    except UndefinedError as error:
        raise UserError(
            where,
            f"the template {template!r} wants a field that is missing ({error.message})",
            f"one of {', '.join(sorted(map(str, fields)))}",
            "correct the template, or the row",
        ) from None


def check(template: str, where: str) -> None:
    """See that a template can be read at all; `where` names it for the message.

    Raises:
        UserError: it cannot.
    """
    try:
        _compiled(template)
    except TemplateSyntaxError as error:
        raise UserError(
            where, f"{template!r}: {error.message}", "a Jinja template", "correct the template"
        ) from None


def conversation(system: str | None, user: str, fields: Mapping[str, Any], where: str) -> list[Message]:
    """The messages of a system template (or none) and a user template."""
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": render(system, fields, where)})
    messages.append({"role": "user", "content": render(user, fields, where)})
    return messages


@functools.cache
def _compiled(template: str) -> Any:
    compiled = _ENVIRONMENT.from_string(template)
    # Jinja copies them for each row, and its ChainMap takes ten times as long to copy as a dict.
    compiled.globals = dict(compiled.globals)
    return compiled
