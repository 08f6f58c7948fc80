"""Where completions can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server.

    Attributes:
        base_url: with its version, as http://127.0.0.1:8000/v1.
        key: what it asks for; not in the representation, which ends up in logs.
        model: the served model's name.
        life: which start of the server it is; a request that failed is worth sending again to a later one.
        vllm: whether it knows vLLM's own keys.
        watched: whether somebody starts it again when it dies.
        context: tokens that a prompt and its completion may have together; None where it does not tell.
    """

    base_url: str
    key: str = field(repr=False)
    model: str
    life: int = 0
    vllm: bool = True
    context: int | None = None
    watched: bool = False

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, where no proxy leads to."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")
