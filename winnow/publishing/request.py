"""What a push is asked for with: repository, licence, endpoint, and a token that nobody sees."""

from __future__ import annotations

import os
import re
from typing import Any

from winnow.doctor.hub import HUB, YES
from winnow.errors import UserError
from winnow.publishing.refusals import TOKEN


def check_repo_id(repo_id: str) -> None:
    """Refuse what the hub would refuse.

    Raises:
        UserError: not user/name.
    """
    part = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
    wrong = "--" in repo_id or ".." in repo_id or repo_id.endswith(".git") or len(repo_id) > 96
    if wrong or not re.fullmatch(f"{part}/{part}", repo_id):
        raise UserError(
            "--repo_id",
            repr(repo_id),
            "user/name or organization/name, of letters, digits, '-', '_' and '.', at most 96 characters",
            "correct the name",
        )


def check_license(name: str | None) -> None:
    """Refuse what is no licence's name on the hub.

    Raises:
        UserError: other characters than in names such as apache-2.0.
    """
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name):
        raise UserError(
            "--license",
            repr(name),
            "a name as the hub has it: apache-2.0, cc-by-4.0, mit, other …",
            "correct it",
        )


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT where it is set."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def token() -> str:
    """The token of the environment.

    Raises:
        UserError: there is none, or it is none; its value is not told.
    """
    value = os.environ.get(TOKEN, "").strip()
    mend = f"make a token that may write on the hub's settings page, and export {TOKEN}=…"
    if not value:
        raise UserError(
            f"environment variable {TOKEN}", "not set", "a token of the hub", f"{mend}; or --dry_run"
        )
    if not re.fullmatch(r"[!-~]+", value):
        raise UserError(f"environment variable {TOKEN}", "it has spaces or odd characters", "a token", mend)
    return value


def connect(secret: str) -> Any:
    """A `huggingface_hub.HfApi` for the endpoint; nothing is asked of it yet.

    Raises:
        UserError: offline mode is on.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in YES:
        raise UserError(
            "environment variable HF_HUB_OFFLINE",
            "set",
            "a hub that may be asked",
            "unset it, or use --dry_run",
        )
    # Slow to import, and not needed to show what would go.
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=secret)
