"""MinHash signatures by their bands: which were added before and are like a new one."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from winnow.selection.words import mixed

_EMPTY = 0


class SignatureIndex:
    """Signatures in flat arrays, found by a hash of each band; memory grows with what is added alone.

    A signature of 128 entries takes 512 bytes, its id its length and 8, and each band 4 of the chain and
    17 to 34 of the table (12 at a load of at most 0.7).

    Args:
        threshold: the share of equal entries from which two are alike.
        length: entries of a signature.
        rows: entries of a band.
    """

    def __init__(self, threshold: float, length: int, rows: int) -> None:
        self._threshold, self._length, self._rows = threshold, length, rows
        self._bands = length // rows
        self._signatures = array("I")
        # The signature that had the same hash of the same band before, by signature and band; 0 is none.
        self._chains = array("I")
        self._ids, self._ends = bytearray(), array("Q", [0])
        self._used = 0
        self._keys, self._newest = array("Q", bytes(8 * 1024)), array("I", bytes(4 * 1024))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def nbytes(self) -> int:
        """The size of its arrays."""
        arrays = (self._signatures, self._chains, self._ends, self._keys, self._newest)
        return sum(each.itemsize * len(each) for each in arrays) + len(self._ids)

    def first_like(self, signature: NDArray[np.uint32]) -> str | None:
        """The id of the first that was added and is alike, or None."""
        near: set[int] = set()
        for band, key in enumerate(self._hashes(signature)):
            number = self._newest[self._slot(key)]
            # To its end, though another band may have found some of it: what stands behind them it did not.
            while number != _EMPTY:
                near.add(number)
                number = self._chains[(number - 1) * self._bands + band]
        return next((self._id(n) for n in sorted(near) if self._alike(n, signature)), None)

    def add(self, completion: str, signature: NDArray[np.uint32]) -> None:
        """One more, after all others."""
        self._signatures.frombytes(signature.tobytes())
        self._ids += completion.encode()
        self._ends.append(len(self._ids))
        number = len(self)
        for key in self._hashes(signature):
            slot = self._slot(key)
            self._chains.append(self._newest[slot])
            self._used += self._newest[slot] == _EMPTY
            self._keys[slot], self._newest[slot] = key, number
            if self._used > 0.7 * len(self._keys):
                self._grow()

    def _alike(self, number: int, signature: NDArray[np.uint32]) -> bool:
        begin = (number - 1) * self._length
        other = np.array(self._signatures[begin : begin + self._length], np.uint32)
        return float((other == signature).mean()) >= self._threshold

    def _id(self, number: int) -> str:
        return self._ids[self._ends[number - 1] : self._ends[number]].decode()

    def _hashes(self, signature: NDArray[np.uint32]) -> list[int]:
        """A hash of each band that depends on which band it is."""
        bands = signature[: self._bands * self._rows].reshape(self._bands, self._rows).astype(np.uint64)
        found = mixed(np.arange(1, self._bands + 1, dtype=np.uint64))
        for row in range(self._rows):
            found = mixed(found + bands[:, row])
        return [int(each) for each in found]

    def _slot(self, key: int) -> int:
        """Where a hash stands, or else the free place for it: the table is probed in a line."""
        mask = len(self._keys) - 1
        slot = key & mask
        while self._newest[slot] != _EMPTY and self._keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, newest = self._keys, self._newest
        self._keys = array("Q", bytes(2 * 8 * len(keys)))
        self._newest = array("I", bytes(2 * 4 * len(keys)))
        for key, number in zip(keys, newest, strict=True):
            if number != _EMPTY:
                slot = self._slot(key)
                self._keys[slot], self._newest[slot] = key, number
