"""Sampling from q*, the geometric mixture of a student and a teacher."""

from typing import TYPE_CHECKING, Any

from winnow.qstar.parameters import SamplingParameters

if TYPE_CHECKING:
    from winnow.qstar.sampler import OptimalSampler

__all__ = ["OptimalSampler", "SamplingParameters"]


def __getattr__(name: str) -> Any:
    # torch and transformers take seconds to import: only who samples pays for them.
    if name == "OptimalSampler":
        from winnow.qstar.sampler import OptimalSampler

        return OptimalSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
