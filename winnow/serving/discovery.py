"""What a server serves: its models, and what it understands."""

from __future__ import annotations

import openai

from winnow.errors import UserError, closest
from winnow.serving.endpoint import Endpoint

PATIENCE_SECONDS = 10.0


def endpoint_at(base_url: str, key: str, name: str | None = None, life: int = 0) -> Endpoint:
    """The endpoint of a running server, after a look at its list of models.

    Args:
        base_url: with its version.
        key: what it asks for.
        name: the model that is wanted; None takes the only one there is.
        life: see `Endpoint`.

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
    if name is None and len(models) == 1:
        name = next(iter(models))
    if name not in models:
        raise UserError(
            base_url,
            f"it serves {', '.join(models) or 'nothing'}" + ("" if name is None else f", not {name!r}"),
            "one model, or the one that is named" if name is None else repr(name),
            "give --served_model_name" + ("" if name is None else closest(name, models)),
        )
    found = models[name]
    context = (found.model_extra or {}).get("max_model_len")
    return Endpoint(
        base_url, key, name, life, found.owned_by == "vllm", context if isinstance(context, int) else None
    )
