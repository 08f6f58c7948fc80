"""What the hub says when it does not do as it was asked, in words that tell what to do."""

from __future__ import annotations

import json

from winnow.errors import UserError

TOKEN = "HF_TOKEN"
CONFLICT = 412
AGAIN = "run the same command again: what was sent is kept, and is not sent again"


def of_the_hub(error: BaseException | None) -> bool:
    """Whether an error is the hub's or the network's, and not one of this program."""
    while error is not None:
        if answered_badly(error):
            return True
        error = error.__cause__
    return False


def answered_badly(error: BaseException) -> bool:
    """Whether an error itself is an answer that is none: a status, nothing at all, or a page without JSON."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, (HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL, json.JSONDecodeError))


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error; None where no answer came.

    Errors of an upload are wrapped, hence the walk along their causes.
    """
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def passes(status: int | None) -> bool:
    """Whether the same request may succeed later: a busy or broken server, or no answer at all."""
    return status is None or status == 429 or status >= 500


def refusal(error: Exception, endpoint: str, repo_id: str) -> UserError:
    """The error that the user reads."""
    status = status_of(error)
    where = f"{endpoint}, {repo_id}"
    if status == 401:
        return UserError(
            where,
            f"the hub refuses the token of {TOKEN} (401)",
            f"a valid token in the environment variable {TOKEN}",
            f"make a token that may write on the hub's settings page, and export {TOKEN}=…",
        )
    if status == 403:
        return UserError(
            where,
            f"the token of {TOKEN} may not do this (403)",
            f"a token that may write to {repo_id}",
            f"give the token of {TOKEN} write access to it, or choose a --repo_id of your own",
        )
    if status == 402:
        return UserError(
            where, "the hub asks for a payment (402)", "room in your plan", "see your plan there"
        )
    if status == 404:
        return UserError(
            where,
            "no such repository or namespace for this token (404)",
            "user/name or organization/name that the token may write to",
            "correct --repo_id, or the token's access",
        )
    if status == CONFLICT:
        return UserError(
            where,
            "somebody pushed to it in the meantime, and what they pushed is not this (412)",
            "one push at a time to a repository",
            "nothing of this push was committed: look at what is there; then run again, with --update to "
            "replace it, or with another --repo_id",
        )
    if passes(status):
        told = f"it answers {status}" if status else f"no answer ({type(error).__name__})"
        return UserError(
            where, told, "a hub that can be reached", f"check HF_ENDPOINT and the network; {AGAIN}"
        )
    return UserError(where, f"it answers {status}: {_said(error)}", "a push that it takes", AGAIN)


def _said(error: BaseException) -> str:
    """The hub's own words, on one line and not too long."""
    message = getattr(error, "server_message", None) or str(error)
    return " ".join(message.split())[:300]
