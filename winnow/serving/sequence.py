"""Log-probabilities of whole completions under two models, from their servers, one after the other."""

from __future__ import annotations

import argparse
import functools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from winnow.candidates import Candidates
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.progress import Progress
from winnow.records import Prompt
from winnow.serving.ask import Ask
from winnow.serving.chat_model import ChatModel
from winnow.serving.connect import client_from_flags
from winnow.serving.failed import Failed
from winnow.serving.likelihoods import likelihoods

log = logging.getLogger("resample")

THETA, T = "student", "teacher"


@dataclass(frozen=True)
class Judge:
    """A model that says how likely completions are.

    Attributes:
        name: as the user named it.
        model: its tokens.
        roles: as whom: the student, the teacher, or both where they are the same weights.
    """

    name: str
    model: ChatModel
    roles: tuple[str, ...]


def judges(theta: ChatModel, t: ChatModel, names: tuple[str, str]) -> list[Judge]:
    """One for each server that is needed."""
    if theta.root == t.root:
        return [Judge(names[0], theta, (THETA, T))]
    return [Judge(names[0], theta, (THETA,)), Judge(names[1], t, (T,))]


def key(role: str, completion: str) -> str:
    """Of a journal's entry."""
    return f"{role} {completion}"


def judge_all(
    arguments: argparse.Namespace,
    found: Sequence[Candidates],
    models: Sequence[Judge],
    devices: list[str],
    journal: Journal,
    count: Callable[[int], None],
) -> dict[str, Failed]:
    """Ask for what the journal lacks; gives what failed for good, by its key.

    Args:
        arguments: with the flags of servers.
        found: the candidates of each prompt.
        models: who judges.
        devices: GPUs of the job.
        journal: gets log π of each candidate, under `key`; null for minus infinity.
        count: called with the tokens of each.

    Raises:
        UserError: a server that does not start, or too many prompts of which one failed.
    """
    candidates = sum(len(each.drawn) for each in found)
    total = candidates * sum(len(judge.roles) for judge in models)
    if len(journal):
        log.info("resumed %s of %s log-probabilities", f"{len(journal):,}", f"{total:,}")
    tokens = {each.id: each.token_ids or [] for group in found for each in group.drawn}
    failed: dict[str, Failed] = {}
    allowed = arguments.max_failed_fraction * len(found)
    for judge in models:
        asks = list(_asks(found, judge, journal))
        if not asks:
            continue
        service = likelihoods(functools.partial(_tokens, _remembered(judge.model), tokens))
        with (
            Progress(total, len(journal), unit="log-probabilities") as progress,
            client_from_flags(arguments, judge.name, service, devices, some=True) as client,
        ):
            for id, _, told in client.draw(asks):
                if isinstance(told, Failed):
                    failed[id] = told
                    _check(failed, allowed)
                    continue
                value = math.fsum(told.logprobs)
                journal.append(id, {"log_prob": value if math.isfinite(value) else None})
                progress.add(len(told.logprobs))
                count(len(told.logprobs))
    return failed


def _asks(found: Sequence[Candidates], judge: Judge, journal: Journal) -> Iterator[Ask]:
    for role in judge.roles:
        for group in found:
            messages = shown(group.prompt, role)
            for each in group.drawn:
                if key(role, each.id) not in journal:
                    yield Ask(group.prompt, messages, each.sample, 0, (key(role, each.id),))


def shown(prompt: Prompt, role: str) -> Sequence[dict[str, object]]:
    """The messages that a role sees."""
    return prompt.messages if role == THETA else (prompt.teacher_messages or prompt.messages)


def _remembered(model: ChatModel) -> Callable[[Ask], list[int]]:
    """Token ids of what is shown; a prompt's candidates follow each other, and are not rendered each."""

    @functools.lru_cache(maxsize=256)
    def ids(prompt: str, role: str) -> list[int]:
        return model.ids(messages[prompt, role])

    messages: dict[tuple[str, str], Sequence[dict[str, object]]] = {}

    def of(ask: Ask) -> list[int]:
        role = ask.ids[0].partition(" ")[0]
        messages[ask.prompt.id, role] = ask.messages
        return ids(ask.prompt.id, role)

    return of


def _tokens(
    prompt: Callable[[Ask], list[int]], tokens: dict[str, list[int]], ask: Ask
) -> tuple[Sequence[int], Sequence[int]]:
    return prompt(ask), tokens[ask.ids[0].partition(" ")[2]]


def _check(failed: dict[str, Failed], allowed: float) -> None:
    # What is too long today is so tomorrow: the records say it, and asking again would not help.
    passing = {id: each.detail for id, each in failed.items() if each.reason != "prompt_too_long"}
    prompts = {id.partition(" ")[2].rpartition("/")[0] for id in passing}
    if len(prompts) > allowed:
        id, reason = list(passing.items())[-1]
        raise UserError(
            f"completion {id.partition(' ')[2]}",
            f"{len(prompts)} prompts have candidates that could not be judged; the last: {reason}",
            f"at most {int(allowed)} (--max_failed_fraction)",
            "see the server's log; what is finished is kept, the same command asks for the rest again",
        )
