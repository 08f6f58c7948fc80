"""Each mistake that q* samplers are known for, put into the code: the checks must see it."""

from __future__ import annotations

import pytest
import torch
from test_qstar_exactness import check_distribution, check_replay
from test_qstar_invariance import check_invariance

from winnow.qstar import diagnostics, engine, mixture
from winnow.qstar.decoder import Decoder
from winnow.qstar.randomness import uniforms


def same_number_for_all_rows(patch):
    patch.setattr(engine, "uniforms", lambda seeds, *rest: uniforms(seeds[:1].expand_as(seeds), *rest))


def same_number_at_all_positions(patch):
    patch.setattr(engine, "uniforms", lambda seeds, p, role: uniforms(seeds, torch.zeros_like(p), role))


def numbers_of_neighbouring_seeds(patch):
    patch.setattr(engine, "uniforms", lambda seeds, *rest: uniforms(seeds.roll(1), *rest))


def temperature_after_the_mixture(patch):
    def distribution(self, first, second):
        log_q, solution = mixture.mix(first.log_softmax(-1), second.log_softmax(-1), self._alpha)
        return (log_q / self._parameters.temperature).log_softmax(-1), diagnostics.stack(solution)

    patch.setattr(engine.Engine, "_distribution", distribution)


def stale_alpha(patch):
    """α of the row before it, as a cached or misplaced solution would be."""
    solve = mixture.solve_alpha

    def shifted(log_theta, log_t, *rest, **options):
        return solve(log_theta.roll(1, 0), log_t.roll(1, 0), *rest, **options)

    patch.setattr(mixture, "solve_alpha", shifted)


def alpha_is_the_students_weight(patch):
    patch.setattr(engine, "mix", lambda log_theta, log_t, alpha: mixture.mix(log_t, log_theta, alpha))


def teacher_goes_on_at_the_students_positions(patch):
    step, students = Decoder.step, {}

    def confused(self, tokens):
        # The student steps first; the teacher's new token is placed where the student's is.
        if not students:
            students["mask"] = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
            return step(self, tokens)
        mask = students.pop("mask")
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        output = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=(mask.cumsum(dim=1) - 1)[:, -1:],
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.logits[:, -1, : self._width]

    patch.setattr(Decoder, "step", confused)


def padding_is_read(patch):
    prefill = Decoder._forward

    def forward(self, ids):
        self._mask = torch.ones_like(self._mask)
        return prefill(self, ids)

    patch.setattr(Decoder, "_forward", forward)


def columns_without_a_token(patch):
    build = Decoder.__init__
    patch.setattr(Decoder, "__init__", lambda self, loaded, width: build(self, loaded, width + 1))


def one_row_that_ends_stops_all(patch):
    isin = torch.isin
    patch.setattr(torch, "isin", lambda tokens, ids: isin(tokens, ids).any().expand_as(tokens))


def nothing_ends_a_row(patch):
    patch.setattr(torch, "isin", lambda tokens, ids: torch.zeros_like(tokens, dtype=torch.bool))


def one_token_too_many(patch):
    build = engine._Batch.__init__

    def longer(self, rows, device):
        build(self, rows, device)
        self.limits += 1

    patch.setattr(engine._Batch, "__init__", longer)


def statistics_go_past_the_end(patch):
    summarize = diagnostics.summarize
    patch.setattr(diagnostics, "summarize", lambda values: summarize(torch.cat([values, values[-1:]])))


def statistics_of_the_token_before(patch):
    summarize = diagnostics.summarize
    patch.setattr(diagnostics, "summarize", lambda values: summarize(values.roll(1, 0)))


def metrics_of_another_row(patch):
    stack = diagnostics.stack
    patch.setattr(diagnostics, "stack", lambda solution: stack(solution).roll(1, 0))


def caches_keep_the_wrong_rows(patch):
    keep = Decoder.keep
    patch.setattr(Decoder, "keep", lambda self, rows: keep(self, rows.flip(0)))


def replayed(student, teacher, alpha="kl_symmetry"):
    check_replay(student, teacher, alpha)


def enumerated(student, teacher, alpha="kl_symmetry"):
    check_distribution(student, teacher, alpha, longest=3, draws=4_000)


def enumerated_hot(student, teacher):
    check_distribution(student, teacher, "entropy", longest=2, temperature=2.0)


def invariant(student, teacher):
    check_invariance(student, teacher, "kl_symmetry", runs=[(7, 1)])


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (same_number_for_all_rows, enumerated),
        (same_number_for_all_rows, invariant),
        (same_number_at_all_positions, enumerated),
        (same_number_at_all_positions, replayed),
        (numbers_of_neighbouring_seeds, invariant),
        (temperature_after_the_mixture, enumerated_hot),
        (temperature_after_the_mixture, replayed),
        (stale_alpha, replayed),
        (stale_alpha, invariant),
        (alpha_is_the_students_weight, lambda s, t: enumerated(s, t, "fixed-0.3")),
        (teacher_goes_on_at_the_students_positions, enumerated),
        (teacher_goes_on_at_the_students_positions, replayed),
        (padding_is_read, replayed),
        (padding_is_read, invariant),
        (columns_without_a_token, lambda s, t: enumerated(s, t, "policy")),
        (one_row_that_ends_stops_all, enumerated),
        (one_row_that_ends_stops_all, invariant),
        (nothing_ends_a_row, enumerated),
        (one_token_too_many, enumerated),
        (statistics_go_past_the_end, replayed),
        (statistics_of_the_token_before, replayed),
        (metrics_of_another_row, replayed),
        (caches_keep_the_wrong_rows, replayed),
        (caches_keep_the_wrong_rows, invariant),
    ],
)
def test_killed(mutant, check, student, teacher, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check(student, teacher)
