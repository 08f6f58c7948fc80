"""Each mistake that q* samplers are known for, put into the code: the checks must see it."""

from __future__ import annotations

import numpy as np
import pytest
import test_qstar_enumeration as enumeration
import torch
from test_qstar_exactness import check_distribution, check_replay
from test_qstar_invariance import check_invariance

from winnow.qstar import acceptance, diagnostics, engine, mixture, rounds, verification
from winnow.qstar.cache import SlotCache
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.family import Family
from winnow.qstar.masks import Masks
from winnow.qstar.proposals import StudentDrafts
from winnow.qstar.randomness import Role, uniforms


def both(patch, mutant):
    """In drafting and in accepting."""
    patch.setattr(rounds, "uniforms", mutant)
    patch.setattr(acceptance, "uniforms", mutant)


def same_number_for_all_rows(patch):
    both(patch, lambda seeds, *rest: uniforms(seeds[:1].expand_as(seeds), *rest))


def same_number_at_all_positions(patch):
    both(patch, lambda seeds, places, role: uniforms(seeds, torch.zeros_like(places), role))


def numbers_of_neighbouring_seeds(patch):
    both(patch, lambda seeds, *rest: uniforms(seeds.roll(1), *rest))


def draft_and_residual_share_a_draw(patch):
    def shared(seeds, places, role):
        return uniforms(seeds, places, Role.DRAFT if role == Role.RESIDUAL else role)

    both(patch, shared)


def draft_and_acceptance_share_a_draw(patch):
    both(patch, lambda seeds, places, role: uniforms(seeds, places, Role.DRAFT))


def temperature_after_the_mixture(patch):
    log_probabilities = mixture.log_probabilities

    def cold(log_theta, log_t, alpha, **options):
        t = enumeration_temperature
        log_q, solution = mixture.mix(
            (log_theta * t).log_softmax(-1), (log_t * t).log_softmax(-1), alpha, **options
        )
        return log_probabilities(log_q, t), solution

    patch.setattr(verification, "mix", cold)


enumeration_temperature = 2.0


def alpha_of_the_neighbouring_position(patch):
    """As a cached or misplaced solution would be."""
    solve = mixture.solve_rows

    def shifted(log_theta, log_t, alpha, buffers):
        found, _ = solve(log_theta.roll(1, 0), log_t.roll(1, 0), alpha, buffers)
        return found, Family(log_theta, log_t, buffers)

    patch.setattr(mixture, "solve_rows", shifted)


def alpha_is_the_students_weight(patch):
    def swapped(log_theta, log_t, alpha, **options):
        return mixture.mix(log_t, log_theta, alpha, **options)

    patch.setattr(verification, "mix", swapped)


def with_the_teacher(patch, change):
    """Let `change` see what the teacher gives at each place of a round, beside what is settled."""
    propose, settle, seen = StudentDrafts.propose, verification.settle, {}

    def remembering(self, last, depth, choose):
        found = propose(self, last, depth, choose)
        seen["log_t"] = found.second.log_softmax(-1)
        return found

    def changed(drafts, log_draft, log_q, *rest):
        return change(settle, seen["log_t"], drafts, log_draft, log_q, *rest)

    patch.setattr(StudentDrafts, "propose", remembering)
    patch.setattr(verification, "settle", changed)


def bonus_token_from_the_teacher(patch):
    """What stands after the accepted drafts comes from the teacher alone."""

    def change(settle, log_t, drafts, log_draft, log_q, *rest):
        log_q = log_q.clone()
        log_q[:, -1] = log_t[:, -1]
        return settle(drafts, log_draft, log_q, *rest)

    with_the_teacher(patch, change)


def accepts_with_the_teacher(patch):
    def change(settle, log_t, drafts, log_draft, log_q, *rest):
        at = acceptance.at_tokens
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(
                acceptance, "at_tokens", lambda log_p, tokens: at(log_t if log_p is log_q else log_p, tokens)
            )
            return settle(drafts, log_draft, log_q, *rest)

    with_the_teacher(patch, change)


def residual_without_renormalising(patch):
    def unscaled(weights, numbers):
        above = torch.searchsorted(weights.double().cumsum(-1), numbers[:, None], right=True)
        return above.squeeze(1).clamp_max(weights.shape[1] - 1)

    patch.setattr(acceptance, "draw", unscaled)


def residual_is_q_star_itself(patch):
    patch.setattr(acceptance, "_residual", lambda log_q, log_draft: log_q.exp())


def goes_on_after_a_rejection(patch):
    patch.setattr(
        verification.Verdict,
        "counts",
        property(lambda self: torch.full_like(self.accepted, self.tokens.shape[1])),
    )


def end_ignored_inside_a_round(patch):
    take = Engine._take

    def careless(self, sequence, found, slot):
        tokens = found.tokens[slot]
        ends, last = self._eos, tokens[-1]
        self._eos = frozenset({last}) & ends if last not in tokens[:-1] else frozenset()
        take(self, sequence, found, slot)
        self._eos = ends

    patch.setattr(Engine, "_take", careless)


def log_probabilities_of_another_row(patch):
    at = verification.at_tokens
    patch.setattr(verification, "at_tokens", lambda log_q, tokens: at(log_q, tokens.roll(1, dims=0)))


def the_other_models_positions(patch):
    """The teacher's new tokens are placed where the student's are."""
    logits, build, seen = Decoder._logits, StudentDrafts.__init__, {}

    def known(self, theta, t):
        build(self, theta, t)
        seen.update(theta=theta, t=t)

    def confused(self, ids, positions, mask, keep=0):
        if not keep and self is seen.get("theta"):
            seen["places"] = positions
        elif not keep and self is seen.get("t"):
            # By now the student has read its last draft but one, a token at a time.
            positions = seen["places"] - (ids.shape[1] - 1) + torch.arange(ids.shape[1])
        return logits(self, ids, positions, mask, keep)

    patch.setattr(StudentDrafts, "__init__", known)
    patch.setattr(Decoder, "_logits", confused)


def stale_cache_after_a_slot_is_reused(patch):
    read = Decoder._read

    def lazy(self, entries):
        used = self.__dict__.setdefault("used", set())
        fresh = [entry for entry in entries if entry[0] not in used]
        used.update(slot for slot, _ in entries)
        if fresh:
            read(self, fresh)

    patch.setattr(Decoder, "_read", lazy)


def rejected_drafts_stay_in_the_cache(patch):
    advance = StudentDrafts.advance
    patch.setattr(StudentDrafts, "advance", lambda self, counts: advance(self, [max(counts)] * len(counts)))


def what_lies_beyond_is_read(patch):
    past = Masks.past
    patch.setattr(Masks, "past", lambda self, places, span: torch.zeros_like(past(self, places, span)))


def columns_without_a_token(patch):
    build = Decoder.__init__

    def wider(self, loaded, width, *rest):
        build(self, loaded, width + 1, *rest)

    patch.setattr(Decoder, "__init__", wider)


def one_row_that_ends_stops_all(patch):
    advance = Engine._advance

    def stopping(self, active):
        finished = list(advance(self, active))
        for sequence in active if finished else ():
            if sequence.finish_reason is None:
                sequence.finish_reason = "stop"
                finished.append(engine._drawn(sequence))
        return iter(finished)

    patch.setattr(Engine, "_advance", stopping)


def nothing_ends_a_row(patch):
    build = Engine.__init__

    def endless(self, proposer, controller, alpha, parameters, eos_ids, names, *rest, **more):
        build(self, proposer, controller, alpha, parameters, frozenset(), names, *rest, **more)

    patch.setattr(Engine, "__init__", endless)


def statistics_go_past_the_end(patch):
    summarize = diagnostics.summarize
    patch.setattr(diagnostics, "summarize", lambda values: summarize(np.concatenate([values, values[-1:]])))


def statistics_of_the_token_before(patch):
    summarize = diagnostics.summarize
    patch.setattr(diagnostics, "summarize", lambda values: summarize(np.roll(values, 1, axis=0)))


def metrics_of_another_row(patch):
    stack = diagnostics.stack
    patch.setattr(diagnostics, "stack", lambda solution: stack(solution).roll(1, 0))


def caches_copy_from_the_wrong_slot(patch):
    copy = SlotCache.copy
    patch.setattr(
        SlotCache,
        "copy",
        lambda self, source, target, length: copy(self, (source + 1) % self.slots, target, length),
    )


def moved_without_its_length(patch):
    def move(self, source, target):
        self._cache.copy(source, target, self.lengths[source])

    patch.setattr(Decoder, "move", move)


def replayed(student, teacher, alpha="kl_symmetry", depth=3):
    check_replay(student, teacher, alpha, draft_tokens=depth)


def enumerated(student, teacher, alpha="kl_symmetry"):
    check_distribution(student, teacher, alpha, longest=3, draws=4_000)


def counted(student, teacher, depth=3, **parameters):
    enumeration.check("kl_symmetry", depth, 12_000, **parameters)


def counted_longer(student, teacher):
    """What is too faint for fewer draws, and plainest in lockstep."""
    enumeration.check("kl_symmetry", 1, 50_000)


def counted_hot(student, teacher):
    enumeration.check("entropy", 2, 12_000, temperature=enumeration_temperature)


def invariant(student, teacher):
    check_invariance(student, teacher, "kl_symmetry", runs=[(7, 1)])


def deep_as_shallow(student, teacher):
    enumeration.test_the_depth_changes_no_completion({})


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (same_number_for_all_rows, enumerated),
        (same_number_for_all_rows, invariant),
        (same_number_at_all_positions, counted),
        (same_number_at_all_positions, replayed),
        (numbers_of_neighbouring_seeds, invariant),
        (draft_and_residual_share_a_draw, replayed),
        (draft_and_residual_share_a_draw, counted_longer),
        (draft_and_acceptance_share_a_draw, counted),
        (draft_and_acceptance_share_a_draw, replayed),
        (temperature_after_the_mixture, counted_hot),
        (alpha_of_the_neighbouring_position, counted),
        (alpha_of_the_neighbouring_position, replayed),
        (alpha_of_the_neighbouring_position, invariant),
        (alpha_is_the_students_weight, lambda s, t: enumerated(s, t, "fixed-0.3")),
        (bonus_token_from_the_teacher, counted),
        (bonus_token_from_the_teacher, replayed),
        (accepts_with_the_teacher, counted),
        (accepts_with_the_teacher, replayed),
        (residual_without_renormalising, counted),
        (residual_without_renormalising, replayed),
        (residual_is_q_star_itself, counted),
        (residual_is_q_star_itself, replayed),
        (goes_on_after_a_rejection, counted),
        (goes_on_after_a_rejection, deep_as_shallow),
        (end_ignored_inside_a_round, counted),
        (end_ignored_inside_a_round, replayed),
        (log_probabilities_of_another_row, replayed),
        (the_other_models_positions, replayed),
        (stale_cache_after_a_slot_is_reused, invariant),
        (rejected_drafts_stay_in_the_cache, counted),
        (rejected_drafts_stay_in_the_cache, replayed),
        (what_lies_beyond_is_read, replayed),
        (columns_without_a_token, lambda s, t: enumerated(s, t, "policy")),
        (one_row_that_ends_stops_all, enumerated),
        (one_row_that_ends_stops_all, invariant),
        (nothing_ends_a_row, enumerated),
        (statistics_go_past_the_end, replayed),
        (statistics_of_the_token_before, replayed),
        (metrics_of_another_row, replayed),
        (caches_copy_from_the_wrong_slot, replayed),
        (moved_without_its_length, replayed),
    ],
)
def test_killed(mutant, check, student, teacher, monkeypatch):
    mutant(monkeypatch)
    # It might see the mistake first, and decode row by row, without slots to make it in.
    monkeypatch.setattr("winnow.qstar.sampler.probed", lambda loaded: loaded)
    with pytest.raises((AssertionError, IndexError)):
        check(student, teacher)
