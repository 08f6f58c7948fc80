"""The sampler: one or two loaded models, told how to mix, ready to draw completions of prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.prompt_images import images_of
from winnow.qstar import memory
from winnow.qstar.assembly import Models, build_engine
from winnow.qstar.engine import Drawn
from winnow.qstar.models import SHARDED, LoadedModel, load
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.probe import probed
from winnow.qstar.scheduler import Row, Slots
from winnow.qstar.stops import StopStrings
from winnow.qstar.texts import Generated, Text, collect, prompts_of, seeds_of
from winnow.records import Prompt

log = logging.getLogger("generate")


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
            The device `sharded` is all GPUs that the process sees, as transformers lays a model out.
        device_t: where the teacher lies; None is beside the student.
        draft_tokens: tokens that the student drafts in each round; None leaves it to the controller.
            The texts do not depend on it.
        image_root: the folder of the prompts' images; paths that leave it are refused.

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
        device_t: str | None = None,
        draft_tokens: int | None = None,
        image_root: str | Path = ".",
    ) -> None:
        self.alpha = Alpha.parse(alpha_method, fixed_alpha, "alpha_method")
        self.parameters = parameters or SamplingParameters()
        self.theta: LoadedModel | None = None
        self.t: LoadedModel | None = None
        self._draft_tokens = draft_tokens
        self._image_root = Path(image_root)
        device = _usable(device, "--device")
        same = model_t is None or str(model_t) == str(model_theta)
        if self.alpha.method != "teacher":
            self.theta = probed(load(model_theta, dtype, device, trust_remote_code))
        if self.alpha.method != "policy":
            other = _usable(device_t, "--device_t") if device_t else device
            shared = self.theta if same and other == device else None
            self.t = shared or probed(load(model_t or model_theta, dtype, other, trust_remote_code))
        self._models = Models(self.theta, self.t)
        self._width = self._models.width()

    def row(self, prompt: Prompt, completion: str, seed: int) -> Row:
        """As `rows`, for one completion."""
        return self.rows(prompt, [(completion, seed)])[0]

    def rows(
        self,
        prompt: Prompt,
        samples: Sequence[tuple[str, int]],
        parameters: SamplingParameters | None = None,
    ) -> list[Row]:
        """Tokenize a prompt for both models, once for all its samples.

        Args:
            prompt: what they are shown.
            samples: (id, seed) of each completion.
            parameters: in place of the sampler's own.

        Raises:
            PromptTooLong: no token would fit after it.
            UserError: it renders to nothing, or its images cannot be shown.
        """
        limit = (parameters or self.parameters).max_new_tokens
        images = images_of(prompt, self._image_root)
        digests = None if prompt.image_sha256 is None else tuple(prompt.image_sha256)
        encoded = []
        for role, loaded, messages in (
            ("student", self.theta, prompt.messages),
            ("teacher", self.t, prompt.teacher_messages or prompt.messages),
        ):
            if loaded is None:
                continue
            ids = tuple(loaded.tokenize(messages, images, f"prompt {prompt.id}"))
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
        teachers = encoded[1] if len(encoded) > 1 else None
        return [
            Row(completion, seed, encoded[0], teachers, limit, images, digests)
            for completion, seed in samples
        ]

    def generate(
        self,
        prompts: Sequence[Text],
        theta_prompts: Sequence[Text] | None = None,
        teacher_system_prompt: str | None = None,
        theta_system_prompt: str | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        n: int = 1,
        return_diagnostics: bool = False,
        seed: int = 0,
        batch_size: int = 8,
    ) -> Generated:
        """Complete prompts, n times each.

        Args:
            prompts: what the teacher sees: messages of a user, or whole conversations.
            theta_prompts: what the student sees, in the same order; None is the same.
            teacher_system_prompt, theta_system_prompt: put before them.
            max_new_tokens, temperature, top_p, top_k: for this call; None as the sampler was made.
            n: completions of each prompt.
            return_diagnostics: all metrics of each token, besides α and the ESS ratio.
            seed: the same seed gives the same completions, whatever the batch.
            batch_size: completions in progress at a time.

        Raises:
            UserError: lists of unequal lengths, a value out of range, memory that does not suffice.
        """
        chosen = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
        }
        told: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
        parameters = replace(self.parameters, **told)
        rows: list[Row] = []
        ids: list[str] = []
        for prompt in prompts_of(prompts, theta_prompts, teacher_system_prompt, theta_system_prompt):
            samples = seeds_of(prompt, n, seed)
            ids += [key for key, _ in samples]
            with suppress(PromptTooLong):
                rows += self.rows(prompt, samples, parameters)
        drawn = {each.row.id: each for each in self.draw(rows, batch_size, parameters)}
        texts = {key: self.text(each) for key, each in drawn.items()}
        return collect(ids, drawn, texts, return_diagnostics)

    def draw(
        self, rows: Iterable[Row], batch_size: int, parameters: SamplingParameters | None = None
    ) -> Iterator[Drawn]:
        """Yield completions as they finish, `batch_size` of them in progress at a time.

        `parameters` stand in for the sampler's own.

        Raises:
            UserError: the memory does not suffice for so many.
        """
        slots = Slots(rows, batch_size)
        while slots:
            engine = build_engine(
                self._models,
                self._width,
                slots,
                self.alpha,
                parameters or self.parameters,
                self._draft_tokens,
            )
            tight = False
            try:
                yield from engine.run(slots)
            except (RuntimeError, MemoryError) as error:
                if slots.count == 1 or not memory.ran_out(error):
                    raise
                tight = True
            log.info("%s", engine.controller)
            # Not in the except: there the error's traceback still holds the caches.
            del engine
            if tight:
                log.warning("out of memory with %d slots: going on with %d", slots.count, slots.count // 2)
                slots.restart(slots.count // 2)
                memory.release()

    def text(self, drawn: Drawn) -> str:
        """The text of a completion."""
        text = self._models.loaded[0].decode(drawn.token_ids)
        return StopStrings(self.parameters.stop, str).cut(text)


def _usable(device: str, flag: str) -> str:
    """A device's name, `auto` resolved and a GPU numbered.

    Raises:
        UserError: no device's name, or a GPU that torch cannot use.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == SHARDED:
        return device
    try:
        place = torch.device(device)
    except RuntimeError as error:
        expected = f"auto, cpu, cuda, cuda:1 … or {SHARDED}"
        raise UserError(flag, repr(device), expected, "correct the name") from error
    if place.type != "cuda":
        return device
    index = place.index or 0
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise UserError(
            flag,
            device,
            f"one of the {count} GPUs that this process sees" if count else "a GPU that torch can use",
            "choose another, or ask for more" if count else "make setup ENV=cuda, or choose the device cpu",
        )
    return f"cuda:{index}"
