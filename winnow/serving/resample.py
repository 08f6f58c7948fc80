"""The resample program's work: candidates, their log-probabilities, weights, completions."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow import jsonl
from winnow.candidates import Candidates, read_candidates
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.manifest import resolve
from winnow.qstar.vocabulary import common_width, token_map
from winnow.records import Completion, completion_id
from winnow.resampling import Floats, Weights, choose, weigh
from winnow.serving.chat_model import ChatModel
from winnow.serving.failed import Failed
from winnow.serving.sequence import THETA, T, judge_all, judges, key
from winnow.shards import read_prompts

log = logging.getLogger("resample")

FEW = 0.1
"""An ESS below this share of the candidates deserves a look."""


def resample(
    arguments: argparse.Namespace,
    prompts: Sequence[Path],
    header: dict[str, Any],
    devices: list[str],
    journal_of: Callable[[dict[str, Any]], Journal],
    count: Callable[[int], None],
) -> None:
    """Judge the candidates and write what is chosen of them.

    Args:
        arguments: of resample.py.
        prompts: prompt shards.
        header: of the journal; the models are added.
        devices: GPUs of the job.
        journal_of: opens the journal.
        count: called with the tokens of each log-probability.

    Raises:
        UserError: see `read_candidates`, `judge_all`; or candidates of a model that is neither of the two.
    """
    found = read_candidates(arguments.input, read_prompts(prompts))
    names = arguments.model_theta, arguments.model_t or arguments.model_theta
    if arguments.served_model_name and names[0] != names[1]:
        raise UserError(
            "--served_model_name",
            f"{arguments.served_model_name!r}, for two models",
            "servers that have the models under their own names",
            "leave it out, and serve each model from its folder or under the last part of its name",
        )
    hashes = resolve(names[0])[1].model, resolve(names[1])[1].model
    drawn_by = _check_origin(arguments.input, found, hashes)
    theta = ChatModel(names[0], arguments.trust_remote_code, "the student")
    t = theta if names[0] == names[1] else ChatModel(names[1], arguments.trust_remote_code, "the teacher")
    common_width(token_map(theta.tokenizer), token_map(t.tokenizer), 1 << 30, 1 << 30, " and ".join(names))
    with journal_of({**header, "model": hashes[0], "teacher": hashes[1]}) as journal:
        failed = judge_all(arguments, found, judges(theta, t, names), devices, journal, count)
        picker = _Picker(arguments, theta, hashes, drawn_by, journal, failed)
        _write(arguments.output, found, picker)
        journal.remove()
    picker.tell()


def _check_origin(path: str, found: list[Candidates], hashes: tuple[str, str]) -> str:
    first = next((each for group in found for each in group.drawn), None)
    if first is None:
        raise UserError(path, "no completion in it", "candidates", "look at why none was drawn")
    expected = hashes[0] if first.alpha == "policy" else hashes[1]
    if first.model != expected:
        raise UserError(
            path,
            f"completions of model {first.model}, drawn with alpha {first.alpha}",
            f"those of the model {expected}",
            "pass as --model_theta (policy) or --model_t (teacher) the model that has drawn them",
        )
    return first.alpha


def _write(output: Path, found: list[Candidates], picker: _Picker) -> None:
    unsorted = output.with_name(f"{output.name}.sorted")
    told = output.with_name(f"{output.stem}.weights.jsonl")
    with jsonl.writer(unsorted) as write, jsonl.writer(told) as tell:
        for group in found:
            completions, row = picker.pick(group)
            for each in completions:
                write(each.to_row())
            if row:
                tell(row)
    unsorted.replace(output)


class _Picker:
    """From the candidates of a prompt to its completions."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        theta: ChatModel,
        hashes: tuple[str, str],
        drawn_by: str,
        journal: Journal,
        failed: dict[str, Failed],
    ) -> None:
        self._alpha, self._n, self._seed = arguments.alpha, arguments.num_rollout, arguments.seed
        self._theta, self._hashes, self._drawn_by = theta, hashes, drawn_by
        self._journal, self._failed = journal, failed
        self._shares: list[float] = []
        self._unlike, self._lost = 0, 0

    def pick(self, group: Candidates) -> tuple[list[Completion], dict[str, Any] | None]:
        """(completions, what is told of the weights)."""
        lost = self._lost_of(group)
        if lost:
            return list(self._not_generated(group, lost)), None
        theta, t = (np.array([self._log_prob(role, each.id) for each in group.drawn]) for role in (THETA, T))
        own = t if self._drawn_by == "teacher" else theta
        drawn = np.array(
            [
                value if each.logprobs is None else float(np.sum(each.logprobs))
                for each, value in zip(group.drawn, own, strict=True)
            ]
        )
        self._unlike += int((np.abs(drawn - own) > 0.01 * np.maximum(1, np.abs(own))).sum())
        weights = weigh(theta, t, drawn, self._alpha)
        if weights is None:
            nothing = Failed("failed", "the models agree on none of the candidates")
            return list(self._not_generated(group, nothing)), None
        self._shares.append(weights.ess / len(group.drawn))
        chosen = [choose(weights, self._seed, group.prompt.id, sample) for sample in range(self._n)]
        return list(self._completions(group, chosen)), self._told(group, weights, (theta, t), chosen)

    def tell(self) -> None:
        """What a reader has to know of this distribution."""
        shares = np.array(self._shares or [0.0])
        log.info(
            "sequence-level q* (not the token-level one): ESS %.1f %% of the candidates on average; "
            "%d of %d prompts have less than %.0f %%",
            100 * shares.mean(),
            int((shares < FEW).sum()),
            len(self._shares),
            100 * FEW,
        )
        if self._unlike:
            log.info(
                "%d candidates were drawn from another distribution than the model's own at temperature 1; "
                "the weights account for it, but not for what top-k or top-p never draws",
                self._unlike,
            )
        if self._lost:
            log.warning("%d prompts have no completion; the records say why", self._lost)

    def _lost_of(self, group: Candidates) -> Failed | None:
        """Why a prompt has no completion: a missing candidate would bend the weights of the others."""
        lost = dict(group.lost) | {
            each.id: self._failed[key(role, each.id)]
            for role in (THETA, T)
            for each in group.drawn
            if key(role, each.id) in self._failed
        }
        if not lost:
            return None
        first = min(lost)
        reasons = {each.reason for each in lost.values()}
        reason = "prompt_too_long" if reasons == {"prompt_too_long"} else "failed"
        return Failed(reason, f"{len(lost)} candidates are lost; {first}: {lost[first].detail}")

    def _log_prob(self, role: str, completion: str) -> float:
        value = self._journal.read(key(role, completion))["log_prob"]
        return -np.inf if value is None else float(value)

    def _told(
        self, group: Candidates, weights: Weights, logs: tuple[Floats, Floats], chosen: list[int]
    ) -> dict[str, Any]:
        theta, t = ([_finite(value) for value in each] for each in logs)
        return {
            "prompt_id": group.prompt.id,
            "alpha": self._alpha,
            "drawn_by": self._drawn_by,
            "candidates": [each.id for each in group.drawn],
            "ess": round(weights.ess, 6),
            "log_z": round(weights.log_z, 6),
            "weights": [round(float(value), 9) for value in weights.normalised],
            "log_theta": theta,
            "log_t": t,
            "chosen": chosen,
        }

    def _completions(self, group: Candidates, chosen: list[int]) -> Iterator[Completion]:
        prompt_tokens = len(self._theta.prompt(group.prompt))
        for sample, index in enumerate(chosen):
            yield replace(
                group.drawn[index],
                id=completion_id(group.prompt.id, sample),
                sample=sample,
                prompt_tokens=prompt_tokens,
                alpha=f"sequence-{self._alpha:g}",
                model=self._hashes[0],
                teacher=self._hashes[1],
                logprobs=None,
            )

    def _not_generated(self, group: Candidates, lost: Failed) -> Iterator[Completion]:
        self._lost += 1
        step = group.drawn[0].step if group.drawn else "0"
        for sample in range(self._n):
            yield Completion(
                completion_id(group.prompt.id, sample), group.prompt.id, sample, 0, "", lost.reason, 0, 0,
                step, f"sequence-{self._alpha:g}", self._hashes[0], self._hashes[1], None, lost.detail,
            )  # fmt: skip


def _finite(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
