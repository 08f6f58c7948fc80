"""What only a GPU can show: recorded rounds and the kernel draw what the same models draw without them."""

from __future__ import annotations

import pytest
import torch
from direct import ask, samples

from winnow.qstar import OptimalSampler, SamplingParameters, assembly, verification
from winnow.qstar.rounds import Rounds

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

PROMPTS = [ask("abcd"[: i % 5] * (1 + i % 3), "dcba"[i % 4 :] * (1 + i % 2), f"p{i}") for i in range(9)]


def drawn(student, teacher, alpha, depth=None, dtype="float32", **parameters):
    """Token ids and metrics by id."""
    chosen = SamplingParameters(max_new_tokens=24, **parameters)
    source = OptimalSampler(
        student, teacher, alpha, parameters=chosen, dtype=dtype, device="cuda", draft_tokens=depth
    )
    rows = [row for prompt in PROMPTS for row in samples(source, prompt, 8)]
    return {each.row.id: (each.token_ids, each.metrics) for each in source.draw(rows, 12)}


def alike(found, expected, share=1.0):
    """So many completions have the same tokens; the first metrics of all are near."""
    same = [found[key][0] == tokens for key, (tokens, _) in expected.items()]
    assert sum(same) >= share * len(same)
    for key, (_, metrics) in expected.items():
        if metrics is not None:
            assert found[key][1][0] == pytest.approx(metrics[0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("alpha", "depth", "parameters"),
    [("policy", None, {}), ("kl_symmetry", 1, {}), ("kl_symmetry", 4, {}), ("entropy", 3, {"top_p": 0.8})],
)
def test_recorded_rounds_draw_the_same(
    student, teacher, alpha, depth, parameters, dtype, monkeypatch, caplog
):
    recorded = drawn(student, teacher, alpha, depth, dtype, **parameters)
    assert not [record for record in caplog.records if "CUDA graphs" in record.message]
    monkeypatch.setattr(assembly, "_graphs", lambda models, count: None)
    alike(recorded, drawn(student, teacher, alpha, depth, dtype, **parameters), 0.99)


def test_rounds_are_replayed(student, teacher, monkeypatch):
    draw, settled = Rounds.draw, []

    def watched(self, active, depth):
        found = draw(self, active, depth)
        settled.append(self.settled)
        return found

    monkeypatch.setattr(Rounds, "draw", watched)
    drawn(student, teacher, "kl_symmetry", 2)
    assert sum(settled) > len(settled) / 3


def test_the_kernel_draws_what_torch_draws(student, teacher, monkeypatch):
    by_kernel = drawn(student, teacher, "kl_symmetry", 3)
    monkeypatch.setattr(
        verification, "choose", lambda alpha, parameters, device: verification.ByTorch(alpha, parameters)
    )
    alike(by_kernel, drawn(student, teacher, "kl_symmetry", 3), 0.95)


def test_a_gpu_draws_what_a_cpu_draws(student, teacher):
    on_gpu = drawn(student, teacher, "kl_symmetry", 3)
    source = OptimalSampler(student, teacher, "kl_symmetry", parameters=SamplingParameters(max_new_tokens=24))
    rows = [row for prompt in PROMPTS for row in samples(source, prompt, 8)]
    on_cpu = {each.row.id: (each.token_ids, each.metrics) for each in source.draw(rows, 12)}
    alike(on_gpu, on_cpu, 0.95)


def test_a_round_waits_for_the_device_once(student, teacher, monkeypatch):
    monkeypatch.setattr(assembly, "_graphs", lambda models, count: None)
    draw, copy, rounds, waits = Rounds.draw, torch.Tensor.cpu, [], []

    def strict(self, active, depth):
        rounds.append(depth)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return draw(self, active, depth)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def waiting(tensor):
        torch.cuda.set_sync_debug_mode("default")
        waits.append(tensor.shape)
        return copy(tensor)

    monkeypatch.setattr(Rounds, "draw", strict)
    monkeypatch.setattr(torch.Tensor, "cpu", waiting)
    drawn(student, teacher, "kl_symmetry", 3)
    assert len(waits) == len(rounds)
