"""Near-duplicates by MinHash (Broder 1997), within a prompt and across prompts.

Two texts are compared by the Jaccard similarity of their sets of runs of words. The share of equal
entries of two signatures of k = 128 minima is an unbiased estimate of it, with a deviation of
√(J(1−J)/k) ≤ 0.045. Across prompts, signatures that agree in a whole band of rows are compared
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, sec. 3.4). Plain numpy: the state is a few
flat arrays: at a threshold of 0.8 some 1.5 kB a kept text.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.selection.signature_index import SignatureIndex
from winnow.selection.words import mixed, ngram_hashes, text_hash, words

PERMUTATIONS = 128
RECALL = 0.999
"""The least chance that two texts at the threshold are compared."""
Signature = NDArray[np.uint32]
_KEYS = mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def signature(text: str, shingle: int) -> Signature:
    """The minima of the text's runs of `shingle` words under 128 random orders. [128]

    A text of fewer words is one run. Texts without words have a signature of their own.
    """
    tokens = words(text)
    hashes = np.unique(ngram_hashes(tokens, shingle) if len(tokens) >= shingle else text_hash(tokens))
    if not len(hashes):
        # What has no words is known by its characters.
        hashes = text_hash([text])
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, np.uint64)
    # In parts: a long text's orders would not stay in the processor's cache.
    for part in np.array_split(hashes, -(-len(hashes) // 256)):
        np.minimum(lowest, mixed(part[:, None] ^ _KEYS).min(axis=0), out=lowest)
    return (lowest >> np.uint64(32)).astype(np.uint32)


def similarity(one: Signature, other: Signature) -> float:
    """The estimate of the Jaccard similarity of two texts."""
    return float((one == other).mean())


def rows_of_band(threshold: float) -> int:
    """The most rows of a band with which texts at the threshold are compared by a chance of `RECALL`."""
    fit = [r for r in range(1, 33) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL]
    return max(fit, default=1)


class NearDuplicates:
    """What is like what has been kept.

    Args:
        within: the similarity from which two texts of a prompt are near-duplicates; None finds none.
        across: the same of texts of two prompts.
        shingle: words of a run.

    Raises:
        UserError: a threshold that is not in (0, 1].
    """

    def __init__(self, within: float | None = None, across: float | None = None, shingle: int = 5) -> None:
        for key, value in (("near_duplicates", within), ("near_duplicates_across", across)):
            if value is not None and not 0.0 < value <= 1.0:
                raise UserError(f"selection: {key}", f"{value}", "a similarity in (0, 1]", "correct it")
        self._within = within
        # A prompt's completions are compared with one another: each is signed once.
        self._sign = functools.lru_cache(maxsize=512)(lambda text: signature(text, shingle))
        self._index = None if across is None else SignatureIndex(across, PERMUTATIONS, rows_of_band(across))

    def alike(self, one: str, other: str) -> bool:
        """Whether two texts of a prompt are near-duplicates."""
        return self._within is not None and similarity(self._sign(one), self._sign(other)) >= self._within

    def before(self, text: str) -> str | None:
        """The id of the first text that was kept of another prompt and is like this one, or None."""
        return None if self._index is None else self._index.first_like(self._sign(text))

    def remember(self, kept: Iterable[tuple[str, str]]) -> None:
        """The (id, text) that a prompt is left with."""
        if self._index is not None:
            for completion, text in kept:
                self._index.add(completion, self._sign(text))
