"""A row as the chat template of the model to be trained renders it: nothing of it may get lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from winnow.errors import UserError
from winnow.formats.format import Conversation
from winnow.formats.tags import TAGS
from winnow.images import PLACEHOLDER, in_parts
from winnow.jsonl import read_json
from winnow.lora import base_of
from winnow.manifest import TOKENIZER_FILES, is_hub_name
from winnow.records import Message

log = logging.getLogger(__name__)


class Rendering:
    """The chat template of a model; its tokenizer, or with images its processor, is loaded at first use.

    Args:
        model: a directory, a manifest file or a hub name.
        trust_remote_code: run code that ships with it.

    Attributes:
        respaced: rows in which the template changed white space of the completion, and nothing else.
    """

    def __init__(self, model: str, trust_remote_code: bool = False) -> None:
        self._model = model
        self._trust_remote_code = trust_remote_code
        self._readers: dict[bool, Any] = {}
        self.respaced = 0

    def check(self, conversation: Conversation) -> None:
        """Render a conversation, and look for its messages and its completion.

        Raises:
            UserError: the template refuses it, or drops or changes a part of it; a dropped tag is named.
        """
        sees = bool(conversation.images)
        asked = self._render(conversation.messages, conversation.images)
        turn = {"role": "assistant", "content": conversation.completion}
        whole = self._render([*conversation.messages, turn], conversation.images)
        rest = squeezed(whole)
        for message in conversation.messages:
            for part in message["content"].split(PLACEHOLDER) if sees else [message["content"]]:
                rest = self._behind(rest, part, f"the {message['role']} message")
        # The assistant's turn alone: the prompt may quote the tags that the completion has to have.
        said = whole[shared(asked, whole) :]
        self._check_tags(said, conversation.completion)
        self._behind(squeezed(said), conversation.completion, "the completion")
        self.respaced += conversation.completion not in said

    def summary(self, path: Path) -> None:
        """Tell of a template that changes white space: what is trained on is not quite what was drawn."""
        if self.respaced:
            log.warning(
                "%s: the chat template of %s changes white space in %d completions",
                path,
                self._model,
                self.respaced,
            )
        self.respaced = 0

    def _behind(self, rest: str, part: str, what: str) -> str:
        """What follows a part of the conversation in the rendered text."""
        if not (wanted := squeezed(part)):
            return rest
        _, found, behind = rest.partition(wanted)
        if not found:
            raise self._unfit(f"{what} is not in the rendered text as it stands: {part[:60]!r} …")
        return behind

    def _check_tags(self, said: str, completion: str) -> None:
        for tag in TAGS:
            if said.count(tag) < completion.count(tag):
                raise self._unfit(f"{tag} of the completion is lost, with what it delimits")

    def _render(self, messages: Sequence[Message], images: Sequence[str] | None) -> str:
        shown = in_parts(messages, len(images), "this row") if images else list(messages)
        reader = self._reader(bool(images))
        try:
            text = reader.apply_chat_template(shown, add_generation_prompt=False, tokenize=False)
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise self._unfit(f"it cannot render the row: {error}") from error
        return str(text)

    def _reader(self, sees: bool) -> Any:
        if sees not in self._readers:
            # Only now: it takes seconds to import.
            from transformers import AutoProcessor, AutoTokenizer

            name, revision = _tokenizer_of(self._model)
            try:
                reader: Any = (AutoProcessor if sees else AutoTokenizer).from_pretrained(
                    name, revision=revision, trust_remote_code=self._trust_remote_code
                )
            except (ValueError, OSError, RuntimeError) as error:
                raise self._unfit(f"transformers finds none there ({str(error).strip()[:200]})") from error
            if getattr(reader, "chat_template", None) is None:
                raise self._unfit("it has none")
            self._readers[sees] = reader
        return self._readers[sees]

    def _unfit(self, found: str) -> UserError:
        return UserError(
            f"chat template of {self._model}",
            found,
            "a template that keeps the messages, the whole completion and its reasoning tags",
            "train a model whose template keeps them, or name another by export.chat_template",
        )


def squeezed(text: str) -> str:
    """A text without white space: templates trim it, and some put a line between reasoning and answer."""
    return "".join(text.split())


def shared(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    if other.startswith(one):
        return len(one)
    return next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(other))


def _tokenizer_of(model: str) -> tuple[str, str]:
    """Directory, or hub name and revision, of a model's tokenizer: no weights are read for it.

    Raises:
        UserError: no such directory.
    """
    path = Path(model)
    if path.suffix == ".json":
        model = str(read_json(path).get("directory", model))
        path = path.parent / model if (path.parent / model).is_dir() else Path(model)
    if path.is_dir():
        own = any((path / name).is_file() for name in TOKENIZER_FILES)
        return str(path) if own else base_of(path) or str(path), "main"
    if is_hub_name(model):
        name, _, revision = model.partition("@")
        return name, revision or "main"
    raise UserError(
        model,
        "no such model directory",
        "a model directory, its manifest, or a hub name",
        "correct export.chat_template",
    )
