"""What a server serves: its models, and what it understands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import openai
from openai.types import Model

from winnow.errors import UserError, closest
from winnow.serving.endpoint import Endpoint

PATIENCE_SECONDS = 10.0


def endpoint_at(base_url: str, key: str, name: str | None = None, model: str | None = None) -> Endpoint:
    """The endpoint of a running server, after a look at its list of models.

    Args:
        base_url: with its version.
        key: what it asks for.
        name: under which the model is served; None finds it by `model`.
        model: a directory or hub name: the server has to have it under this name, or its last part, or to
            have read it from there.

    Raises:
        UserError: nobody answers, the key is refused, or the model is not among those that it serves.
    """
    place = Endpoint(base_url, key, name or "")
    try:
        with openai.OpenAI(
            base_url=base_url,
            api_key=key,
            timeout=PATIENCE_SECONDS,
            http_client=openai.DefaultHttpxClient(trust_env=not place.loopback),
        ) as client:
            models = {model.id: model for model in client.models.list()}
    except (openai.AuthenticationError, openai.PermissionDeniedError):
        raise UserError(
            base_url,
            "the key is refused",
            "the server's key",
            "set the environment variable OPENAI_API_KEY to it",
        ) from None
    except openai.APIConnectionError as error:
        raise UserError(
            base_url,
            f"no server answers ({error.__cause__ or error})",
            "a server that is up",
            "start it, correct --base_url or --model_port, or let Winnow start one (leave both out)",
        ) from None
    except openai.APIStatusError as error:
        raise UserError(
            base_url,
            f"/models answers with status {error.status_code}",
            "an OpenAI-compatible server",
            "give the base URL with its version, as http://host:8000/v1",
        ) from None
    wanted = name or _name_of(model or "", models)
    if wanted not in models:
        raise UserError(
            base_url,
            f"it serves {', '.join(models) or 'nothing'}, not {name or model}",
            f"the model {name or model}",
            "start a server of it, or name what is served if it is the same (--served_model_name)"
            + closest(name or "", models),
        )
    found = models[wanted]
    context = (found.model_extra or {}).get("max_model_len")
    return Endpoint(
        base_url,
        key,
        wanted,
        vllm=found.owned_by == "vllm",
        context=context if isinstance(context, int) else None,
    )


def _name_of(model: str, models: Mapping[str, Model]) -> str | None:
    """Under which name a server has a model."""
    path = Path(model)
    names = {model, path.name, str(path.resolve())}
    for id, served in models.items():
        root = (served.model_extra or {}).get("root")
        if root in names:
            return id
        # Checkpoints of several steps often have one name; a folder that is here tells which it is.
        other = path.is_dir() and isinstance(root, str) and Path(root).is_dir()
        if id in names and not (other and Path(str(root)).resolve() != path.resolve()):
            return id
    return None
