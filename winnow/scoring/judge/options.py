"""The judge's options, checked: a dry run does no more than this."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from winnow.errors import UserError

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Access:
    """How the judge is reached; nothing of it decides a score.

    Attributes:
        base_urls: of its servers, which share the load; none for the environment's.
        api_key_env: the environment variable that has their key; None for OPENAI_API_KEY if it is there.
        concurrency: requests in flight.
        max_retries: of each request.
        timeout: seconds for one answer.
    """

    base_urls: tuple[str, ...]
    api_key_env: str | None
    concurrency: int
    max_retries: int
    timeout: float

    def urls(self) -> tuple[str, ...]:
        """The servers' base URLs.

        Raises:
            UserError: neither the option nor the environment names one.
        """
        if self.base_urls:
            return self.base_urls
        if found := os.environ.get(BASE_URL):
            return base_urls(found, f"the environment variable {BASE_URL}")
        raise UserError(
            "base_url",
            f"not given, and {BASE_URL} is not in the environment",
            "the base URL of the judge's server, as http://host:8000/v1",
            f"give the option, or set {BASE_URL}",
        )

    def key(self) -> str:
        """The servers' key; one that asks for none takes any.

        Raises:
            UserError: the variable that was named is not set.
        """
        found = os.environ.get(self.key_name)
        if not found and self.api_key_env is not None:
            raise UserError(
                "api_key_env",
                f"{self.api_key_env} is not in the environment",
                "an environment variable that has the judge's key",
                f"set {self.api_key_env}, or leave the option out",
            )
        return found or "none"

    @property
    def key_name(self) -> str:
        """The environment variable that has the key."""
        return self.api_key_env or API_KEY


def base_urls(given: Any, where: str = "base_url") -> tuple[str, ...]:
    """One base URL or several.

    Raises:
        UserError: none, or one that holds a key: it would stand in records and logs.
    """
    urls = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(urls, list) or (given is not None and not urls):
        raise _wrong(where, repr(given), "a URL, or a list of URLs")
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = isinstance(url, str) and parts.scheme in ("http", "https") and parts.hostname
            secret = usable and (parts.username or parts.password or parts.query)
        except (ValueError, AttributeError):
            usable = secret = False
        if secret:
            raise _wrong(where, "a URL with a user, a password or a query in it", "the key in api_key_env")
        if not usable:
            raise _wrong(where, repr(url), "a URL such as http://host:8000/v1")
    return tuple(urls)


def variable(given: Any) -> str | None:
    """The name of an environment variable; the message does not show what may be the key itself.

    Raises:
        UserError: it is none.
    """
    if given is None or (isinstance(given, str) and _VARIABLE.fullmatch(given)):
        return given
    raise _wrong("api_key_env", "what is no name of an environment variable", "its name, not the key")


def whole(name: str, value: Any, least: int) -> int:
    """A whole number.

    Raises:
        UserError: it is none, or too small.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise _wrong(name, repr(value), f"a whole number of at least {least}")


def number(name: str, value: Any, least: float, most: float, above: bool = False) -> float:
    """A number within bounds; `above`: the least itself is not allowed.

    Raises:
        UserError: it is none, or out of them.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    if fits and not (above and value == least):
        return float(value)
    raise _wrong(name, repr(value), f"a number {'above' if above else 'from'} {least:g} up to {most:g}")


def words(name: str, value: Any) -> str:
    """A text that is not empty.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, str) and value.strip():
        return value
    raise _wrong(name, repr(value), "a text")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of some words.

    Raises:
        UserError: it is none of them.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise _wrong(name, repr(value), " or ".join(allowed))


def keys(name: str, value: Any) -> dict[str, Any]:
    """An object; None for an empty one.

    Raises:
        UserError: it is none, or says what the judge itself has to say.
    """
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, repr(value), "an object")
    for own in ("messages", "n", "stream"):
        if own in (value or {}):
            raise _wrong(name, f"the key {own!r}", "keys that are not the judge's own")
    return dict(value or {})


def _wrong(name: str, found: str, expected: str) -> UserError:
    return UserError(name, found, expected, "correct the option")
