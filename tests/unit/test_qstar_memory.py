"""What the slots need, what a machine has, and what happens where it does not suffice."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch
from direct import ask, sampler, samples
from transformers import LlamaConfig

from winnow.errors import UserError
from winnow.qstar import OptimalSampler, assembly, memory
from winnow.qstar.cache import SlotCache
from winnow.qstar.decoder import Decoder

CPU = torch.device("cpu")


def test_bytes_of_a_token_are_those_of_the_cache(student):
    source = sampler(student, None, "policy")
    decoder = Decoder(source.theta, 8, slots=3, capacity=10)
    decoder.admit([(0, (2, 4, 3))])
    held = sum(tensor.numel() * tensor.itemsize for layer in decoder._cache._layers for tensor in layer)
    assert held == 3 * 10 * memory.bytes_a_token(source.theta.text_config, torch.float64)


def test_a_cache_of_another_kind_is_not_guessed_at():
    config = LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    assert memory.bytes_a_token(config, torch.bfloat16) == 2 * 2 * 2 * 16 * 2
    config.kv_lora_rank = 8
    assert memory.bytes_a_token(config, torch.bfloat16) is None
    memory.check([memory.Need("a", 10, 10**9, None, CPU)])


def test_too_many_slots_are_refused_before_anything_is_drawn(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10 * 2**30)
    needs = [memory.Need(name, 64, 8192, 16_384, CPU) for name in ("student", "teacher")]
    with pytest.raises(UserError) as error:
        memory.check(needs)
    assert error.value.where == "student and teacher"
    assert "16.0 GiB" in error.value.found
    assert "10.0 GiB that cpu has free" in error.value.expected
    assert "batch_size to 40 or less" in error.value.mend
    memory.check([memory.Need(need.where, 40, 8192, 16_384, CPU) for need in needs])
    # A model whose cache cannot be told does not hide the other's.
    with pytest.raises(UserError, match=r"16\.0 GiB"):
        memory.check([memory.Need("hybrid", 128, 8192, None, CPU), memory.Need("b", 128, 8192, 16_384, CPU)])
    with pytest.raises(UserError, match="longest prompts"):
        memory.check([memory.Need("a", 2, 8192, 2**21, CPU)])


def test_the_need_is_said(caplog):
    with caplog.at_level(logging.INFO, logger="generate"):
        memory.check([memory.Need("a", 64, 8192, 1024, CPU)])
    assert "64 slots of up to 8,192 tokens take at most 0.50 GiB of cpu" in caplog.text


def test_a_rounds_distributions_are_counted_where_it_is_settled(student, teacher, monkeypatch, caplog):
    monkeypatch.setattr(memory, "available", lambda device: 2**30)
    needs = [memory.Need("a", 64, 100, 1024, CPU), memory.Need("b", 64, 100, 1024, torch.device("meta"))]
    one, eight = (memory.bytes_of_a_round(64, drafts, 152_064, head=False) for drafts in (1, 8))
    assert one == 64 * 152_064 * 4 * 9
    assert memory.bytes_of_a_round(64, 8, 152_064, head=True) > eight == 8 * one
    with caplog.at_level(logging.INFO, logger="generate"):
        memory.check(needs, one, eight)
    first, second = (record.message for record in caplog.records)
    assert first.endswith("GiB of cpu, a round up to 2.61 GiB more")
    assert second.endswith("GiB of meta")
    with pytest.raises(UserError, match=r"would take 1\.3 GiB, 0\.0 of them for the cache"):
        memory.check([memory.Need("a", 256, 100, 1024, CPU)], 4 * one, 4 * eight)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="generate"):
        source = sampler(student, teacher, "kl_symmetry", 8, 3)
        list(source.draw(samples(source, ask("ab"), 3), 8))
    assert "a round up to 0.00 GiB more" in caplog.text


def test_free_memory_is_that_of_machine_and_group(tmp_path, monkeypatch):
    machine = memory.available(CPU)
    assert machine is not None
    assert 2**26 < machine < 2**50
    group = tmp_path / "job"
    group.mkdir()
    for name, text in [("memory.max", "3000000"), ("memory.current", "2500000")]:
        (group / name).write_text(text)
    (group / "memory.stat").write_text("anon 1\ninactive_file 400000\n")
    (tmp_path / "memory.max").write_text("max")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    own = tmp_path / "cgroup"
    own.write_text("0::/job/none\n")
    monkeypatch.setattr(memory, "OWN_GROUP", own)
    assert memory.available(CPU) == 900_000


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
        ),
    ],
)
def test_out_of_memory_halves_the_slots_and_goes_on(student, teacher, monkeypatch, caplog, error):
    source = sampler(student, teacher, "kl_symmetry", 8)
    rows = [row for name in ("p", "q") for row in samples(source, ask("ab", "c", name), 9)]
    expected = {entry.row.id: entry.token_ids for entry in source.draw(rows, 12)}
    update, calls = SlotCache.update, []

    def tight(self, *states, **options):
        calls.append(self.slots)
        # The third round is one too many for more than 6 slots.
        if self.slots > 6 and calls.count(self.slots) > 30:
            # A new one each time: its traceback would hold the caches.
            raise type(error)(*error.args)
        return update(self, *states, **options)

    made, alive, build = weakref.WeakSet(), [], SlotCache.__init__

    def counted(self, *sizes):
        build(self, *sizes)
        made.add(self)

    monkeypatch.setattr(SlotCache, "__init__", counted)
    # As on a GPU: what the former engine held has to be free before the next is weighed.
    monkeypatch.setattr(assembly.memory, "check", lambda *needs: alive.append(len(made)))
    monkeypatch.setattr(SlotCache, "update", tight)
    drawn = list(source.draw(rows, 12))
    assert {entry.row.id: entry.token_ids for entry in drawn} == expected
    assert len(drawn) == len(expected)
    assert {12, 6} == set(calls)
    assert alive == [0, 0]
    assert caplog.text.count("out of memory with 12 slots: going on with 6") == 1


def test_what_is_halved_are_the_slots_that_are_taken(student, teacher, monkeypatch, caplog):
    """With more slots than rows, halving the slots alone would try the same again and again."""
    source = sampler(student, teacher, "kl_symmetry", 8)
    rows = samples(source, ask("ab"), 5)
    expected = {entry.row.id: entry.token_ids for entry in source.draw(rows, 12)}
    update = SlotCache.update

    def tight(self, *states, **options):
        if self.slots > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(self, *states, **options)

    monkeypatch.setattr(SlotCache, "update", tight)
    assert {entry.row.id: entry.token_ids for entry in source.draw(rows, 64)} == expected
    assert [record.message for record in caplog.records if "out of memory" in record.message] == [
        "out of memory with 5 slots: going on with 2"
    ]


def test_memory_that_does_not_suffice_for_one_is_told(student, teacher, monkeypatch):
    def none(*states, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    source = sampler(student, teacher, "kl_symmetry", 8)
    monkeypatch.setattr(SlotCache, "update", none)
    with pytest.raises(UserError, match="with a single completion") as error:
        list(source.draw(samples(source, ask("ab"), 5), 4))
    assert error.value.where == f"{student} and {teacher}"


def test_weights_that_do_not_fit_are_told(student, monkeypatch):
    def none(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("winnow.qstar.sampler.load", none)
    with pytest.raises(UserError, match="its weights do not fit cpu in float32") as error:
        OptimalSampler(student, None, "policy")
    assert error.value.where == str(student)


def test_other_errors_are_not_taken_for_it(student, teacher, monkeypatch):
    def broken(self, *states, **options):
        raise RuntimeError("something else")

    source = sampler(student, teacher, "kl_symmetry", 8)
    monkeypatch.setattr(SlotCache, "update", broken)
    with pytest.raises(RuntimeError, match="something else"):
        list(source.draw(samples(source, ask("ab"), 4), 4))


@pytest.mark.parametrize(
    ("message", "lacking"),
    [
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", True),
        ("CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
    ],
)
def test_what_says_that_memory_ran_out(message, lacking):
    assert memory.ran_out(RuntimeError(message)) == lacking
