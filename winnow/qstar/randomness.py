"""Random numbers keyed by (seed, position, role).

No stream is shared: what one row draws at one position depends on nothing that another row, batch
or earlier attempt did, and a draft, its acceptance and its residual never share a draw.
"""

from __future__ import annotations

from enum import IntEnum

from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Role(IntEnum):
    """What a number is drawn for."""

    DRAFT = 0
    ACCEPT = 1
    RESIDUAL = 2


def uniforms(seeds: Tensor, positions: Tensor, role: Role) -> Tensor:
    """Numbers in [0, 1), float64, of 53 random bits, one for each (seed, position).

    Args:
        seeds: int64, any shape.
        positions: int64, of the same shape: the index of the token in its completion.
        role: what they are for.

    The mixer is SplitMix64's finalizer (Steele, Lea and Flood 2014, fig. 15), applied to the seed
    and then to the counter, so that neighbouring positions are unrelated.
    """
    counter = positions * len(Role) + int(role) + 1
    state = _mix(_mix(seeds) + counter * _signed(_GOLDEN))
    return _shift(state, 11).double() * 2.0**-53


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift(value: Tensor, bits: int) -> Tensor:
    """A logical right shift; torch shifts int64 arithmetically."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift(value, 31)
