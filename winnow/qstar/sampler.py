"""The sampler: one or two loaded models, told how to mix, ready to draw completions of prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from winnow.arms import Alpha
from winnow.devices import SHARDED
from winnow.errors import UserError
from winnow.prompt_images import images_of
from winnow.qstar import memory
from winnow.qstar.assembly import Models, build_engine
from winnow.qstar.engine import Drawn
from winnow.qstar.graphs import Misrecorded
from winnow.qstar.loading import load
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.placement import one_place, usable
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
        if draft_tokens is not None:
            _check_counts(draft_tokens=draft_tokens)
        device = usable(device, "--device")
        same = model_t is None or one_place(model_theta, model_t)
        if self.alpha.method != "teacher":
            self.theta = _loaded(model_theta, dtype, device, trust_remote_code)
        if self.alpha.method != "policy":
            other = usable(device_t, "--device_t") if device_t else device
            shared = self.theta if same and other == device else None
            self.t = shared or _loaded(model_t or model_theta, dtype, other, trust_remote_code)
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
            seed: the same seed gives the same completions, whatever the batch; a prompt is known by its
                place in the list.
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
        _check_counts(n=n, batch_size=batch_size)
        rows: list[Row] = []
        ids: list[str] = []
        too_long: dict[str, str] = {}
        for prompt in prompts_of(prompts, theta_prompts, teacher_system_prompt, theta_system_prompt):
            samples = seeds_of(prompt, n, seed)
            ids += [key for key, _ in samples]
            try:
                rows += self.rows(prompt, samples, parameters)
            except PromptTooLong as reason:
                log.warning("prompt %s: %s", prompt.id, reason)
                too_long |= {key: str(reason) for key, _ in samples}
        drawn = {each.row.id: each for each in self.draw(rows, batch_size, parameters)}
        texts = {key: self.text(each) for key, each in drawn.items()}
        mixed = self.theta is not None and self.t is not None
        return collect(ids, drawn, texts, too_long, mixed, return_diagnostics)

    def draw(
        self, rows: Iterable[Row], batch_size: int, parameters: SamplingParameters | None = None
    ) -> Iterator[Drawn]:
        """Yield completions as they finish, `batch_size` of them in progress at a time.

        `parameters` stand in for the sampler's own.

        Raises:
            UserError: the memory does not suffice for so many, or not even for one.
        """
        _check_counts(batch_size=batch_size)
        slots, failed, graphs = Slots(rows, batch_size), 0, True
        while slots:
            # What is taken, which may be less than there are.
            count = min(slots.count, len(slots))
            engine = build_engine(
                self._models,
                self._width,
                slots,
                self.alpha,
                parameters or self.parameters,
                self._draft_tokens,
                graphs,
            )
            again = 0
            try:
                for drawn in engine.run(slots):
                    if drawn.detail is not None:
                        failed += 1
                        if failed == 1:
                            log.warning("%s failed: %s", drawn.row.id, drawn.detail)
                    yield drawn
            except Misrecorded as error:
                again, graphs = slots.count, False
                log.warning("%s: rows in progress begin again, without CUDA graphs", error)
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
                if count == 1:
                    raise self._too_tight(error) from error
                again = count // 2
                log.warning("out of memory with %d slots: going on with %d", count, again)
            log.info("%s", engine.controller)
            # Not in the except: there the error's traceback still holds the caches.
            del engine
            if again:
                slots.restart(again)
                memory.release()
        if failed > 1:
            log.warning("%d completions failed: see their details", failed)

    def _too_tight(self, error: BaseException) -> UserError:
        return UserError(
            " and ".join(each.name for each in self._models.loaded),
            f"out of memory with a single completion ({str(error).strip().splitlines()[0][:150]})",
            "room for the weights, and for the cache and the logits of one completion",
            "lower max_new_tokens, leave out the longest prompts, or set dtype to bfloat16",
        )

    def text(self, drawn: Drawn) -> str:
        """The text of a completion."""
        text = self._models.loaded[0].decode(drawn.token_ids)
        return StopStrings(self.parameters.stop, str).cut(text)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UserError(name, str(count), "at least 1", "correct the value")


def _loaded(model: str | Path, dtype: str, device: str, trust_remote_code: bool) -> LoadedModel:
    try:
        return probed(load(model, dtype, device, trust_remote_code))
    except (RuntimeError, MemoryError) as error:
        if not memory.ran_out(error):
            raise
        raise UserError(
            model,
            f"its weights do not fit {device} in {dtype}",
            "room for all the weights at once",
            f"set dtype to bfloat16, take a larger device, or the device {SHARDED}, over several GPUs",
        ) from error
