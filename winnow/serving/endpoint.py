"""Where completions can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

SHORTEST_KEY = 8
"""Characters. What is shorter is no secret: "none" stands for no key."""


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
        key_name: the environment variable that has the key.
    """

    base_url: str
    key: str = field(repr=False)
    model: str
    life: int = 0
    vllm: bool = True
    context: int | None = None
    watched: bool = False
    key_name: str = "OPENAI_API_KEY"

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, where no proxy leads to."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    def without_key(self, text: str) -> str:
        """What a server has said, for logs and records: some tell the key that they refuse."""
        return text.replace(self.key, "(the key)") if len(self.key) >= SHORTEST_KEY else text
