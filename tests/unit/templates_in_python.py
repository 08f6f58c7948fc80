"""Chat templates as functions, for tests of what becomes of a conversation in them."""

from __future__ import annotations

from winnow.formats.rendering import Rendering


class Tokenizer:
    """Renders each message; `change` what the assistant said, not those of a `mute` role."""

    chat_template = "here"

    def __init__(self, change=lambda text: text, system=True, mute=None):
        self.change, self.system, self.mute = change, system, mute

    def apply_chat_template(self, messages, **options):
        if not self.system and messages[0]["role"] == "system":
            raise ValueError("system role not supported")
        return "".join(f"<|{m['role']}|>{self.text(m)}<|end|>" for m in messages if m["role"] != self.mute)

    def text(self, message):
        parts = message["content"]
        said = parts if isinstance(parts, str) else "".join(part.get("text", "[image]") for part in parts)
        return self.change(said) if message["role"] == "assistant" else said


def rendering(**options):
    """A `Rendering` of a model ``models/mine`` whose template is `Tokenizer`."""
    made = Rendering("models/mine")
    made._readers = {True: Tokenizer(**options), False: Tokenizer(**options)}
    return made
