"""Rounds that are recorded once for each shape, and launched as one from then on: CUDA graphs.

A round of a large model is some thousand small launches, which take the host longer than a GPU takes to run
them. A recorded round reads what is new from buffers that stay in their places, so its shape has to be one
that was seen before: rows and spans are rounded up, and what they are filled up with is read by nobody.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from winnow.qstar.transfer import copy_into

log = logging.getLogger("generate")

Tensors = tuple[Tensor, ...]
Work = Callable[[], Tensors]
Record = Callable[[Work], Work]
"""From work to what does the same again, for what its buffers hold by then."""

MOST = 48
"""Recordings that are kept, those used last: each takes some of the device's memory."""
SMALLEST_SPAN = 64


class Misrecorded(RuntimeError):
    """A recorded round gave other numbers than the round itself, and may have written them anywhere."""


@dataclass
class _Shape:
    """What is known of a shape: how often it came, and the recording, once there is one."""

    seen: int = 0
    replay: Work | None = None
    trusted: bool = False


class Graphs:
    """Does work as it is the first time that its shape comes, and records it the second time.

    The third time both are done, on new numbers, and must agree: whatever was frozen that should not have
    been shows there. Where nothing can be recorded, that is said once, and all goes on without.

    Args:
        slots: rows, at most.
        record: how to record.

    Attributes:
        settled: whether the last work was done as fast as its like will be from now on.
    """

    def __init__(self, slots: int, record: Record) -> None:
        self.slots = slots
        self.settled = False
        self._record: Record | None = record
        self._shapes: dict[Hashable, _Shape] = {}
        self._inputs: Tensor | None = None

    def stage(self, values: list[tuple[int, ...]], rows: int, device: torch.device) -> Tensor:
        """Numbers of each row where recordings look for them, filled up with zeros, [rows, columns] int64."""
        columns = len(values[0])
        if self._inputs is None:
            self._inputs = torch.zeros(self.slots, columns, dtype=torch.int64, device=device)
        copy_into(self._inputs[:rows], values + [(0,) * columns] * (rows - len(values)))
        return self._inputs[:rows]

    def rows(self, count: int) -> int:
        """So many rows, or a few more: 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on, or all slots."""
        power = 1 << (count - 1).bit_length()
        return min(3 * power // 4 if 4 * count <= 3 * power else power, self.slots)

    def span(self, length: int) -> int:
        """So many places, or up to a quarter more."""
        step = max(SMALLEST_SPAN, (1 << (length - 1).bit_length()) // 8)
        return -(-length // step) * step

    def run(self, shape: Hashable, going: int, work: Work) -> Tensors:
        """Do work, by its recording where there is one.

        Args:
            shape: all that the work depends on besides what its buffers hold.
            going: leading rows of what it gives that mean something.
            work: may be done twice in a row without harm.

        Raises:
            Misrecorded: a recording does not do what the work does.
        """
        # The one that was used last stands last.
        known = self._shapes[shape] = self._shapes.pop(shape, _Shape())
        known.seen += 1
        self.settled = known.trusted or self._record is None
        if known.replay is not None and known.trusted:
            return known.replay()
        found = work()
        if self._record is None:
            return found
        if known.replay is not None:
            self._compare(known, going, found)
        elif known.seen > 1:
            self._make_room()
            self._try(known, self._record, work)
        return found

    def _make_room(self) -> None:
        recorded = [shape for shape, each in self._shapes.items() if each.replay is not None]
        if len(recorded) >= MOST:
            del self._shapes[recorded[0]]

    def _try(self, known: _Shape, record: Record, work: Work) -> None:
        try:
            known.replay = record(work)
        except RuntimeError as error:
            log.warning(
                "a round cannot be recorded (%s): going on without CUDA graphs, which is slower",
                str(error).strip().splitlines()[0][:200],
            )
            self._record = None
            self._shapes.clear()

    def _compare(self, known: _Shape, going: int, expected: Tensors) -> None:
        assert known.replay is not None
        found = known.replay()
        if not all(_same(a[:going], b[:going]) for a, b in zip(found, expected, strict=True)):
            raise Misrecorded("a recorded round gave other numbers than the round itself")
        known.trusted = True


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (torch.isnan(a) & torch.isnan(b))).all())


@functools.cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """A GPU's own stream to record on: torch's lies on whichever GPU was the first to be recorded on."""
    return torch.cuda.Stream(device)


def on_cuda(device: torch.device) -> Record:
    """Recordings as CUDA graphs. They share memory: what one gives lasts until the next is launched."""
    pool, stream = torch.cuda.graph_pool_handle(), _aside(device)
    rooms: dict[tuple[int, torch.dtype], Tensor] = {}

    def kept(place: int, value: Tensor) -> Tensor:
        # What is held of a recording, no later one may write to: it would be the distributions over the
        # vocabulary of every shape, where torch settles the round. A copy is cheap beside the passes.
        room, size = rooms.get((place, value.dtype)), value.numel()
        if room is None or room.numel() < size:
            room = rooms[place, value.dtype] = torch.empty(size, dtype=value.dtype, device=value.device)
        return room[:size].view(value.shape).copy_(value)

    def record(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU meanwhile. The stream is entered by itself as well, for
        # torch.cuda.graph does not leave it where a recording fails.
        with (
            torch.cuda.device(device),
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            given = tuple(kept(place, value) for place, value in enumerate(work()))

        def replay() -> Tensors:
            graph.replay()
            return given

        return replay

    return record
