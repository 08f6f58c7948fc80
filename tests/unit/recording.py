"""Recorded rounds without a GPU: a trace stands in for a CUDA graph.

As in one, only operations on tensors are kept, every tensor that they read is the one that was there when
they were recorded, and what Python knew then is frozen. What would wait for a GPU fails.
"""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from winnow.qstar import assembly
from winnow.qstar.graphs import Graphs

WAITING = ("nonzero", "masked_select", "unique", "_local_scalar_dense")
"""Operations whose results have a shape, or a value, that the host has to learn."""


class NothingWaits(TorchDispatchMode):
    """Fails where a GPU's host would have to wait."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = "aten.index" in str(func) and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        assert not by_mask, f"{func} by a mask waits for the device"
        assert not any(name in str(func) for name in WAITING), f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


class NothingIsTold(TorchFunctionMode):
    """The same of what is no operation, but reads a tensor's memory."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        assert name not in ("tolist", "numpy", "cpu", "item"), f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


def traced(work):
    """The work as a graph of operations."""
    with NothingWaits(), NothingIsTold():
        work()
    return make_fx(work, tracing_mode="real")()


class Counted(Graphs):
    """Counts the rounds that were replayed."""

    replayed = 0

    def run(self, shape, going, work):
        found = super().run(shape, going, work)
        self.replayed += self.settled and self._record is not None
        return found


def record_rounds(monkeypatch, record=traced) -> list[Counted]:
    """Let engines record their rounds; returns a list to which each adds what it keeps of them."""
    made: list[Counted] = []

    def keep(models, count):
        made.append(Counted(count, record))
        return made[-1]

    monkeypatch.setattr(assembly, "_graphs", keep)
    return made
