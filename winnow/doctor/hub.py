"""Whether models and data sets can be fetched from the Hugging Face hub."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from winnow.doctor.finding import HINT, OK, WARN, Finding

HUB = "https://huggingface.co"
TIMEOUT_S = 5
YES = {"1", "true", "yes", "on"}


def check(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The hub's end point and the token, told without showing it."""
    endpoint = environment.get("HF_ENDPOINT", HUB).rstrip("/")
    token, source = find_token(environment)
    if environment.get("HF_HUB_OFFLINE", "").lower() in YES:
        yield Finding(
            OK, "hub", f"HF_HUB_OFFLINE is set: only models and data in {cache(environment)} are used"
        )
        return
    problem = reach(f"{endpoint}/api/models?limit=1")
    if problem:
        yield Finding(
            WARN,
            "hub",
            f"{endpoint} cannot be reached: {problem}",
            "use local models and data with HF_HUB_OFFLINE=1; or set HTTPS_PROXY, or HF_ENDPOINT to a mirror",
        )
        return
    if token is None:
        mend = "export HF_TOKEN=…, or `hf auth login`, for gated and private ones"
        yield Finding(HINT, "hub", f"{endpoint} answers; no token, so public models and data only", mend)
        return
    problem = reach(f"{endpoint}/api/whoami-v2", token)
    if problem:
        yield Finding(
            WARN,
            "hub",
            f"{endpoint} answers, but not to the token of {source}: {problem}",
            "make a new token",
        )
    else:
        yield Finding(OK, "hub", f"{endpoint} answers, and takes the token of {source}")


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where models and data sets from the hub are kept, by huggingface_hub's rules."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    return home(environment) / "hub"


def home(environment: Mapping[str, str]) -> Path:
    """The folder of cache and token."""
    standard = Path(environment.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(environment.get("HF_HOME", standard)).expanduser()


def find_token(environment: Mapping[str, str]) -> tuple[str | None, str]:
    """The token and where it was found."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(name, "").strip():
            return environment[name].strip(), name
    path = Path(environment.get("HF_TOKEN_PATH", home(environment) / "token")).expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None, str(path)
    except OSError:
        return None, ""


def reach(url: str, token: str | None = None) -> str:
    """Why a page cannot be read; empty where it can."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as page:
            json.load(page)
    except urllib.error.HTTPError as error:
        return f"it says {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except ValueError:
        return "it is not a hub, or a proxy answers in its place"
    except OSError as error:
        return str(error) or type(error).__name__
    return ""
