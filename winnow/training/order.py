"""The order of the examples: the same whole batches however many processes share them."""

from __future__ import annotations

from collections.abc import Iterator

import torch


class WholeBatches(torch.utils.data.Sampler[int]):
    """Shuffles each epoch, and gives it as many examples as make whole optimizer steps.

    What is over, fewer than `batch`, waits for another epoch's shuffle. Left in, one process would train on a
    smaller last batch and several would fill it up with repeated examples: the loss would depend on
    the number of GPUs. Fewer examples than one batch are repeated until they make one.

    Args:
        length: examples in the data set.
        batch: examples in an optimizer step, over all processes.
        seed: of the shuffle.
    """

    def __init__(self, length: int, batch: int, seed: int) -> None:
        self._length, self._batch, self._seed, self._epoch = length, batch, seed, 0

    def __len__(self) -> int:
        return max(self._batch, self._length - self._length % self._batch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        order = torch.randperm(self._length, generator=generator).tolist()
        return iter((order * -(-self._batch // self._length))[: len(self)])

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch, also when it resumes in its middle."""
        self._epoch = epoch
