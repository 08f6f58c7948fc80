"""The sampler: one or two loaded models, told how to mix, ready to draw completions of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Drawn, Engine
from winnow.qstar.models import LoadedModel, load
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.scheduler import Row
from winnow.qstar.vocabulary import common_width, token_map
from winnow.records import Prompt


class PromptTooLong(Exception):
    """A prompt that leaves no room for a completion; the message says how long it is."""


class OptimalSampler:
    """Draws from q* ∝ π_θ^(1−α) · π_t^α in process, with transformers.

    Args:
        model_theta: the student: a directory, a manifest file or a hub name.
        model_t: the teacher; None means the student's own weights (with the teacher's prompt).
        alpha_method: `policy`, `teacher`, `fixed`, `fixed-<weight>`, `kl_symmetry`, `entropy`,
            `ess_balance`, `reverse_kl_symmetry`. With `policy` or `teacher` one model is loaded.
        fixed_alpha: the weight of `fixed`.
        parameters: temperature, top-k, top-p, length.
        dtype, device, trust_remote_code: how the models are loaded.

    Raises:
        UserError: a model that cannot be used, or two whose tokenizers differ.
    """

    def __init__(
        self,
        model_theta: str | Path,
        model_t: str | Path | None = None,
        alpha_method: str = "kl_symmetry",
        fixed_alpha: float = 0.5,
        parameters: SamplingParameters | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> None:
        self.alpha = Alpha.parse(alpha_method, fixed_alpha, "alpha_method")
        self.parameters = parameters or SamplingParameters()
        self.theta: LoadedModel | None = None
        self.t: LoadedModel | None = None
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(
                "--device",
                device,
                "a GPU that torch can use",
                "make setup ENV=cuda, or choose the device cpu",
            )
        same = model_t is None or str(model_t) == str(model_theta)
        if self.alpha.method != "teacher":
            self.theta = load(model_theta, dtype, device, trust_remote_code)
        if self.alpha.method != "policy":
            shared = self.theta if same else None
            self.t = shared or load(model_t or model_theta, dtype, device, trust_remote_code)
        self._engine = self._build(device)

    def row(self, prompt: Prompt, completion: str, seed: int) -> Row:
        """Tokenize a prompt for both models.

        Raises:
            PromptTooLong: no token would fit after it.
        """
        limit = self.parameters.max_new_tokens
        encoded = []
        for role, loaded, messages in (
            ("student", self.theta, prompt.messages),
            ("teacher", self.t, prompt.teacher_messages or prompt.messages),
        ):
            if loaded is None:
                continue
            ids = tuple(loaded.tokenize(messages))
            if not ids:
                raise UserError(
                    f"prompt {prompt.id}",
                    f"the chat template of {loaded.name} renders its {role} messages to nothing",
                    "at least one token",
                    "check the messages and the template",
                )
            if len(ids) >= loaded.context:
                raise PromptTooLong(
                    f"the {role}'s prompt has {len(ids)} tokens, the context of {loaded.name} "
                    f"has {loaded.context}"
                )
            limit = min(limit, loaded.context - len(ids))
            encoded.append(ids)
        return Row(completion, seed, encoded[0], encoded[1] if len(encoded) > 1 else None, limit)

    def draw(self, rows: Iterable[Row], batch_size: int) -> Iterator[Drawn]:
        """Yield completions as they finish, `batch_size` rows at a time."""
        return self._engine.run(rows, batch_size)

    def text(self, drawn: Drawn) -> str:
        """The text of a completion."""
        return self._reader.decode(drawn.token_ids)

    @property
    def _reader(self) -> LoadedModel:
        reader = self.theta or self.t
        assert reader is not None
        return reader

    def _build(self, device: str) -> Engine:
        reader = self._reader
        width = min(reader.width, max(token_map(reader.tokenizer).values()) + 1)
        eos = reader.eos_ids
        second = None
        if self.theta is not None and self.t is not None:
            width = common_width(
                token_map(self.theta.tokenizer),
                token_map(self.t.tokenizer),
                self.theta.width,
                self.t.width,
                f"{self.theta.name} and {self.t.name}",
            )
            eos = eos | self.t.eos_ids
            second = Decoder(self.t, width)
        return Engine(Decoder(reader, width), second, self.alpha, self.parameters, eos, device)
