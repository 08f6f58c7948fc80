"""Models small enough to enumerate: vocabulary 6, a row of logits for every prefix; all of q* by hand.

`ToyDecoder` stands where `winnow.qstar.decoder.Decoder` does, slots, lengths and stale places included,
so that the engine, its rounds and its draws are the real ones.
"""

from __future__ import annotations

import functools
from unittest.mock import patch

import numpy as np
import torch
from bisection import bisect, mixture, roots_function

from winnow.arms import Alpha
from winnow.qstar import mixture as mixing
from winnow.qstar.alpha import Solved
from winnow.qstar.controller import Controller
from winnow.qstar.engine import Engine
from winnow.qstar.family import Family
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, StudentDrafts
from winnow.qstar.scheduler import Row, Slots

VOCABULARY, LONGEST, END = 6, 4, 5
PREFIXES = sum(VOCABULARY**length for length in range(LONGEST + 8))
"""Drafts may go past the longest completion."""
KNOWN = sum(VOCABULARY**length for length in range(LONGEST))


def tables(seed: int) -> torch.Tensor:
    """Logits after every prefix that matters, [prefixes, vocabulary]; some rows sharp, some flat."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(KNOWN, VOCABULARY, generator=generator, dtype=torch.float64)
    return logits * (0.3 + 2.5 * torch.rand(KNOWN, 1, generator=generator, dtype=torch.float64))


STUDENT, TEACHER = tables(1), tables(2)
PROMPTS = ((3, 1), (4, 0, 2, 2, 1))
"""The student's and the teacher's, of unequal lengths."""


class ToyDecoder:
    """A decoder whose "cache" holds, at each place of a slot, which prefix it has read there."""

    crops = True
    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor, slots: int, prompt: int) -> None:
        self.lengths = [0] * slots
        self._logits, self._prompt = logits, prompt
        self._nodes = torch.full((slots, prompt + LONGEST + 10), -1)

    def admit(self, entries, images):
        for slot, prompt in entries:
            assert len(prompt) == self._prompt
            self.lengths[slot] = len(prompt) - 1
            # What an earlier sequence left stays, as it does in a real cache.

    def place(self, rows, new, going, rounded):
        return 0

    def forward(self, tokens, ahead=0):
        rows, new = tokens.shape
        slots, found = torch.arange(rows), []
        for place in range(new):
            at = torch.tensor(self.lengths[:rows]) + ahead + place
            before = self._nodes[slots, at - 1]
            node = torch.where(at == self._prompt - 1, 0, before * VOCABULARY + tokens[:, place] + 1)
            self._nodes[slots, at] = node.clamp_max(PREFIXES)
            found.append(self._logits[torch.where(node < KNOWN, node, 0)])
        return torch.stack(found, dim=1)

    def advance(self, counts):
        for slot, count in enumerate(counts):
            self.lengths[slot] += count

    def move(self, source, target):
        self._nodes[target] = self._nodes[source]
        self.lengths[target] = self.lengths[source]

    def wipe(self, slot, whole):
        raise AssertionError("toy models give no NaN")


def solving_each_prefix_once(log_theta, log_t, alpha, buffers, solve):
    """The solver's answer for rows that are few, many times over: solved once and dealt out.

    A row's answer does not depend on its batch mates (test_qstar_alpha.py), and most of the time of
    many draws would go into the same 259 rows.
    """
    rows, back = torch.unique(torch.cat([log_theta, log_t], dim=1), dim=0, return_inverse=True)
    found, _ = solve(*(each.contiguous() for each in rows.split(VOCABULARY, dim=1)), alpha, buffers)
    return Solved(*(column[back] for column in found)), Family(log_theta, log_t, buffers)


def draws(
    alpha: str, depth: int | None, count: int, slots: int = 20_000, **parameters: float
) -> dict[tuple[int, ...], int]:
    """How often each completion came, of `count`."""
    chosen = SamplingParameters(max_new_tokens=LONGEST, **parameters)
    both = Alpha.parse(alpha).needs_both
    if both:
        decoders = [
            ToyDecoder(logits, slots, len(prompt))
            for logits, prompt in zip((STUDENT, TEACHER), PROMPTS, strict=True)
        ]
        proposer = StudentDrafts(*decoders)
    else:
        which = int(alpha == "teacher")
        proposer = OneModel(ToyDecoder((STUDENT, TEACHER)[which], slots, len(PROMPTS[which])))
    names = ("student", "teacher")
    engine = Engine(
        proposer, Controller(proposer.deepest, depth), Alpha.parse(alpha), chosen, frozenset({END}), names
    )
    shown = PROMPTS if both else (PROMPTS[int(alpha == "teacher")], None)
    work = [Row(str(i), i * 7919 + 3, *shown, LONGEST) for i in range(count)]
    found: dict[tuple[int, ...], int] = {}
    once = functools.partial(solving_each_prefix_once, solve=mixing.solve_rows)
    with patch.object(mixing, "solve_rows", once):
        for drawn in engine.run(Slots(work, slots)):
            key = tuple(drawn.token_ids)
            found[key] = found.get(key, 0) + 1
    return found


def next_tokens(alpha: str, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """q* after each prefix, [prefixes, vocabulary], by bisection in numpy."""
    s, t = (_log_softmax(logits.numpy() / (temperature or 1.0)) for logits in (STUDENT, TEACHER))
    kind = Alpha.parse(alpha)
    if kind.weight is not None:
        weight = np.full(len(s), kind.weight)
    elif alpha == "entropy":
        own, other = (-(np.exp(log_p) * log_p).sum(axis=1) for log_p in (s, t))
        weight = own / (own + other)
    elif alpha == "reverse_kl_symmetry":
        d = t - s
        at_theta, at_t = (np.exp(s) * d).sum(axis=1), (np.exp(t) * d).sum(axis=1)
        weight = at_t / (at_t - at_theta)
    else:
        weight = bisect(roots_function(alpha, s, t), len(s))
    q, _, _ = mixture(s, t, weight)
    return np.stack([_head(row, 1 if temperature == 0 else top_k, top_p) for row in q])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _head(q: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    order = np.argsort(-q, kind="stable")
    kept, mass = [], 0.0
    for token in order[: top_k or None]:
        if kept and mass >= top_p:
            break
        kept.append(token)
        mass += q[token]
    head = np.zeros_like(q)
    head[kept] = q[kept]
    return head / head.sum()


def enumerated(
    alpha: str, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> dict[tuple[int, ...], float]:
    """The probability of every completion of at most LONGEST tokens."""
    q = next_tokens(alpha, temperature, top_k, top_p)
    finished: dict[tuple[int, ...], float] = {}
    going: list[tuple[tuple[int, ...], int, float]] = [((), 0, 1.0)]
    while going:
        prefix, node, chance = going.pop()
        for token in range(VOCABULARY):
            tokens, reached = (*prefix, token), chance * float(q[node, token])
            if token == END or len(tokens) == LONGEST:
                finished[tokens] = reached
            else:
                going.append((tokens, node * VOCABULARY + token + 1, reached))
    return finished
