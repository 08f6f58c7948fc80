"""reward_model: what a sequence classifier says of a completion behind its prompt."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from winnow import manifest
from winnow.errors import UserError
from winnow.scoring.reward_batches import Row
from winnow.scoring.reward_schedule import Schedule
from winnow.scoring.score import Item, Measure, Score

if TYPE_CHECKING:
    from winnow.scoring.reward_loading import LoadedRewardModel

log = logging.getLogger(__name__)

DTYPES = ("float16", "bfloat16", "float32", "float64")
BATCH_TOKENS = 16_384
"""Fills a large GPU with a model of some billions of parameters; memory that is smaller is found out."""


class RewardModel:
    """The raw output of a reward model, in its own chat template; more is better.

    Args:
        model: a directory, a manifest file or a hub name, ``org/name[@revision]``.
        batch_tokens: tokens of a batch, padding included.
        max_length: tokens of a row; a longer one has no reward. The model's context if None.
        dtype: of the weights.
        device: auto (the GPU where there is one), cpu, cuda, cuda:1 …
        passes_above: a completion passes when its reward is larger.
        output: which of the head's outputs is the reward, where it has several.
        trust_remote_code: run the code that lies beside the weights.
        score_references: score each prompt's reference as well, as if it were a completion of it.
    """

    name: str = "reward_model"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "reward"
    costly: ClassVar[bool] = True
    access: ClassVar[tuple[str, ...]] = ("batch_tokens", "device")
    """Options that decide no reward."""

    def __init__(
        self,
        model: str,
        batch_tokens: int = BATCH_TOKENS,
        max_length: int | None = None,
        dtype: str = "float32",
        device: str = "auto",
        passes_above: float = 0.0,
        output: int | None = None,
        trust_remote_code: bool = False,
        score_references: bool = False,
    ) -> None:
        _check("model", model, isinstance(model, str) and model != "", "a directory or a hub name")
        _check("batch_tokens", batch_tokens, _is_whole(batch_tokens, 1), "a whole number, 1 or more")
        _check(
            "max_length",
            max_length,
            max_length is None or _is_whole(max_length, 1),
            "tokens, or null for all",
        )
        _check("dtype", dtype, dtype in DTYPES, "one of " + ", ".join(DTYPES))
        _check("device", device, isinstance(device, str), "auto, cpu, cuda or cuda:1")
        _check("passes_above", passes_above, _is_finite(passes_above), "a finite number")
        _check("output", output, output is None or _is_whole(output, 0), "a whole number from 0")
        _check("trust_remote_code", trust_remote_code, isinstance(trust_remote_code, bool), "true or false")
        _check("score_references", score_references, isinstance(score_references, bool), "true or false")
        if trust_remote_code and manifest.is_hub_name(model):
            raise UserError(
                "option trust_remote_code",
                f"true for {model}, which lies on the hub",
                "a local directory with the code, for you to read before it runs",
                "download it, and give the directory",
            )
        self.model, self.batch_tokens, self.max_length = model, batch_tokens, max_length
        self.dtype, self.device, self.passes_above = dtype, device, float(passes_above)
        self.output, self.trust_remote_code = output, trust_remote_code
        self.scores_references = score_references
        self._loaded: LoadedRewardModel | None = None
        self._schedule: Schedule | None = None
        self._told_of_template = False

    @property
    def identity(self) -> str:
        """All that decides a reward; the model by its content, or by its name on the hub.

        Raises:
            UserError: no model there.
        """
        try:
            model = (
                f"hub:{self.model}"
                if manifest.is_hub_name(self.model)
                else manifest.resolve(self.model)[1].model
            )
        except UserError as error:
            raise error.at(f"scorer {self.name!r}") from error
        decides = {
            "model": model, "max_length": self.max_length, "dtype": self.dtype,
            "passes_above": self.passes_above, "output": self.output,
        }  # fmt: skip
        return json.dumps(decides)

    def score_items(self, items: Sequence[Item]) -> list[Score]:
        """The reward of each completion, in order.

        Raises:
            UserError: no usable reward model, or a reward that is not finite.
        """
        loaded, schedule = self._ready()
        scores: dict[int, Score] = {}
        rows: list[Row] = []
        for index, item in enumerate(items):
            tokens = self._tokens(item, loaded)
            if isinstance(tokens, str):
                scores[index] = Score(None, False, tokens)
            else:
                rows.append(Row(index, item.prompt.id, loaded.forward.until_read(tokens)))
        for index, reward in schedule.run(rows, loaded.forward).items():
            scores[index] = self._score(reward, items[index])
        return [scores[index] for index in range(len(items))]

    def close(self) -> None:
        """Let go of the model."""
        self._loaded = self._schedule = None

    def _ready(self) -> tuple[LoadedRewardModel, Schedule]:
        if self._loaded is None or self._schedule is None:
            # Not before there is something to score: it brings torch along.
            from winnow.scoring.reward_loading import load

            try:
                self._loaded = load(self.model, self.dtype, self.device, self.output, self.trust_remote_code)
            except UserError as error:
                raise error.at(f"scorer {self.name!r}") from error
            if (self.max_length or 0) > self._loaded.context:
                raise UserError(
                    f"scorer {self.name!r}",
                    f"max_length {self.max_length:,}, but {self.model} reads {self._loaded.context:,} tokens",
                    f"at most {self._loaded.context:,}",
                    "lower max_length, or leave it out",
                )
            way = self._loaded.forward.way
            self._schedule = Schedule(
                f"scorer {self.name!r}: {self.model}",
                self.batch_tokens,
                way == "shared",
                1 if way == "alone" else None,
            )
        return self._loaded, self._schedule

    def _tokens(self, item: Item, loaded: LoadedRewardModel) -> tuple[int, ...] | str:
        """What the model reads, or why it cannot."""
        if item.prompt.images:
            return "the prompt has images, and a reward model reads text alone"
        where = f"scorer {self.name!r}: completion {item.id}"
        shown, tokens = loaded.render(item.prompt.messages, item.text, where)
        if item.text.strip() not in shown and not self._told_of_template:
            log.warning(
                "scorer %r: the chat template of %s changes what it is shown of completion %s (and perhaps "
                "of others): the reward is of the rest",
                self.name,
                self.model,
                item.id,
            )
            self._told_of_template = True
        most = min(self.max_length or loaded.context, loaded.context)
        if len(tokens) > most:
            return f"{len(tokens):,} tokens, more than the {most:,} that the reward model reads"
        return tokens or "the chat template renders it as nothing"

    def _score(self, reward: float | None, item: Item) -> Score:
        if reward is None:
            return Score(None, False, "it does not fit into memory, even alone")
        if not math.isfinite(reward):
            raise UserError(
                f"scorer {self.name!r}: completion {item.id}",
                f"reward model {self.model} gives {reward} ({self.dtype})",
                "a finite number",
                "try dtype: bfloat16 or float32, which do not overflow where float16 does; else its weights "
                "are damaged",
            )
        return Score(reward, reward > self.passes_above, "")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(option: str, value: object, right: bool, expected: str) -> None:
    if not right:
        raise UserError(f"option {option}", f"{value!r}", expected, "correct the option")
