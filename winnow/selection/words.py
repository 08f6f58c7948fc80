"""Texts as normalised words, and runs of words as hashes that are equal on every machine."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_IDEOGRAPHS = "぀-ヿ㐀-鿿豈-﫿"
# Scripts without spaces: each sign is a word, or a whole sentence would be one.
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")
_BASE = 0x9E3779B97F4A7C15


def words(text: str) -> list[str]:
    """The words of a text: Unicode's compatible forms, case folded, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngram_hashes(tokens: list[str], n: int) -> Hashes:
    """A 64-bit hash of each run of n words, in order; of fewer words none. [len(tokens) − n + 1]

    Two different runs have the same hash with a chance of 2⁻⁶⁴: the words' hashes are random, and run
    through a polynomial modulo 2⁶⁴ and the finaliser of splitmix64.
    """
    count = len(tokens) - n + 1
    if n < 1 or count < 1:
        return np.zeros(0, np.uint64)
    each = np.fromiter((_hash(word) for word in tokens), np.uint64, len(tokens))
    # numpy wraps uint64 arrays around, as is wanted.
    found = np.zeros(count, np.uint64)
    for offset in range(n):
        found = found * np.uint64(_BASE) + each[offset : offset + count]
    return mixed(found)


def text_hash(tokens: list[str]) -> Hashes:
    """The hash of the whole text. [1], or [0] where it has no words"""
    return ngram_hashes(tokens, len(tokens))


def mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): each bit depends on all."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@functools.lru_cache(maxsize=1 << 17)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
