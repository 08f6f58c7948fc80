"""The random numbers that Winnow promises, in Python's own integers."""

from __future__ import annotations

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def finalizer(value: int) -> int:
    """SplitMix64's mixing function in Python's own integers (Steele, Lea and Flood 2014, fig. 15)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def uniform(seed: int, position: int, role: int) -> float:
    """The number that `uniforms` promises for one (seed, position, role)."""
    counter = position * 3 + role + 1
    state = finalizer((finalizer(seed) + counter * GOLDEN) & MASK)
    return (state >> 11) / 2**53
