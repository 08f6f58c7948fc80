"""Tokens a second of a pair of models: q*, the teacher alone, and lockstep, by Winnow's own engine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from benchmarks import clock
from benchmarks.qstar_models import SHAPES
from benchmarks.qstar_workload import N, SetAcceptance, Work, rows
from winnow.arms import Alpha
from winnow.qstar.controller import DEPTHS, Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.graphs import Graphs, on_cuda
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, Proposer
from winnow.qstar.scheduler import Row, Slots


def clear(proposer: Proposer, slots: int) -> None:
    """Forget what an earlier run left: no prompt's prefill is to be had for nothing."""
    for slot in range(slots):
        proposer.wipe(slot, whole=True)


def run(
    proposer: Proposer, alpha: str, work: list[Row], slots: int, depth: int | None = None
) -> tuple[float, Controller]:
    """(seconds, what the controller saw) of completing all rows; to be cleared before."""
    controller = Controller(proposer.deepest, depth)
    names = ("the model",) if isinstance(proposer, OneModel) else ("student", "teacher")
    engine = Engine(
        proposer,
        controller,
        Alpha.parse(alpha),
        SamplingParameters(),
        frozenset(),
        names,
        graphs=_graphs(proposer, slots),
    )
    start = clock.now(proposer.device)
    failed = [drawn.detail for drawn in engine.run(Slots(work, slots)) if drawn.finish_reason == "failed"]
    taken = clock.now(proposer.device) - start
    if failed:
        raise SystemExit(f"{len(failed)} of {len(work)} completions failed: {failed[0]}")
    return taken, controller


_recorded: WeakKeyDictionary[Proposer, Graphs] = WeakKeyDictionary()


def _graphs(proposer: Proposer, slots: int) -> Graphs | None:
    """What was recorded of a proposer's rounds, for all its runs: none begins by recording."""
    if proposer.device.type != "cuda":
        return None
    return _recorded.setdefault(proposer, Graphs(slots, on_cuda(proposer.device)))


def speed(
    proposer: Proposer, alpha: str, work: list[Row], slots: int, depth: int | None = None
) -> tuple[float, Controller]:
    """(tokens a second, what the controller saw), from empty slots."""
    clear(proposer, slots)
    taken, controller = run(proposer, alpha, work, slots, depth)
    return sum(row.max_new_tokens for row in work) / taken, controller


def warm_up(proposer: Proposer, alpha: str, slots: int) -> None:
    """Some rounds of every depth and of fewer rows: whatever is made once is there before the clock runs."""
    both = not isinstance(proposer, OneModel)
    # On a GPU the third round of a shape is the first that is not recorded or compared.
    turns = 3 if proposer.device.type == "cuda" else 1
    for depth in DEPTHS[: 1 if proposer.deepest == 1 else None]:
        work = rows(-(-slots // N), N, depth, depth + 1, both)[:slots]
        for _ in range(turns):
            speed(proposer, alpha, work, slots, depth)


def seconds_a_pass(decoder: Decoder, slots: int, new: int) -> float:
    """The best of a few forward passes over so many new tokens of each slot.

    On a GPU several follow each other, as they do in a round: the host runs ahead of all but the first.
    """
    decoder.admit([(slot, (1,) * 48) for slot in range(slots)])
    decoder.place(slots, new)
    tokens = torch.ones(slots, new, dtype=torch.int64, device=decoder.device)
    return clock.best(decoder.device, lambda: decoder.forward(tokens))


def in_turn(work: Work, sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each side's speeds, the sides taking turns."""
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    start = time.perf_counter()
    for turn in range(work.repeats):
        if turn and time.perf_counter() - start > work.seconds:
            break
        for name, side in sides.items():
            speeds[name].append(side())
    return {name: statistics.median(found) for name, found in speeds.items()}


@dataclass(frozen=True)
class Pair:
    """Teacher and student with slots of their own.

    Attributes:
        teacher, student: the models.
        t, theta: their decoders.
        alone: the teacher, in the slots that it has for q* too.
        slots: of each decoder.
    """

    teacher: LoadedModel
    student: LoadedModel
    t: Decoder
    theta: Decoder
    alone: OneModel
    slots: int

    @classmethod
    def of(cls, teacher: LoadedModel, student: LoadedModel, slots: int, capacity: int) -> Pair:
        """Decoders with room for the longest row."""
        t, theta = (Decoder(each, each.width, slots, capacity) for each in (teacher, student))
        alone = OneModel(t)
        warm_up(alone, "policy", slots)
        return cls(teacher, student, t, theta, alone, slots)

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.teacher.name}/{self.student.name}"

    def mixed(self, strength: float) -> SetAcceptance:
        """Both, β set by noise of a strength, warm."""
        vocabulary, dtype = SHAPES[self.teacher.name].vocabulary, self.teacher.model.dtype
        mixture = SetAcceptance(self.theta, self.t, strength, vocabulary, dtype)
        warm_up(mixture, "kl_symmetry", self.slots)
        return mixture


def measure(pair: Pair, strength: float, work: Work, prompts: int) -> dict[str, Any]:
    """Teacher alone, q* and lockstep."""
    both, one = (work.rows(prompts, two) for two in (True, False))
    slots, mixture = pair.slots, pair.mixed(strength)
    seen: dict[str, Controller] = {}

    def mixed(name: str, depth: int | None) -> float:
        found, seen[name] = speed(mixture, "kl_symmetry", both, slots, depth)
        return found

    speeds = in_turn(
        work,
        {
            "teacher": lambda: speed(pair.alone, "policy", one, slots)[0],
            "q*": lambda: mixed("q*", None),
            "lockstep": lambda: mixed("lockstep", 1),
        },
    )
    chosen, beta = seen["q*"].rounds.most_common(1)[0][0], seen["q*"].acceptance or 0.0
    one_t, deep_t = (seconds_a_pass(pair.t, slots, new) for new in (1, chosen))
    one_s = seconds_a_pass(pair.theta, slots, 1)
    expected = sum(beta**place for place in range(chosen))
    return {
        "pair": pair.name,
        "noise": strength,
        "slots": slots,
        "β": beta,
        **{f"{name} tok/s": found for name, found in speeds.items()},
        "q*/teacher": speeds["q*"] / speeds["teacher"],
        "by times": expected * one_t / (chosen * one_s + deep_t),
        "predicted": expected / (1 + chosen * one_s / one_t),
        "c": one_s / one_t,
        "lockstep/teacher": speeds["lockstep"] / speeds["teacher"],
        "chose": str(seen["q*"]),
    }
