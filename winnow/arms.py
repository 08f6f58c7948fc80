"""Arms: how completions are drawn (alpha), from which checkpoint (step), and how many (n)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from winnow.errors import UserError, closest

SOLVED_METHODS = ("kl_symmetry", "entropy", "ess_balance", "reverse_kl_symmetry")
"""Methods whose α is solved for each token."""

ALPHA_NAMES = ("policy", "teacher", "fixed-<weight>", *SOLVED_METHODS)


@dataclass(frozen=True, slots=True)
class Alpha:
    """How the next token is drawn. α is the teacher's weight in q* ∝ π_θ^(1−α) · π_t^α.

    Attributes:
        name: the canonical name, as in paths and records: `policy`, `fixed-0.5`, `kl_symmetry` …
        method: `policy`, `teacher`, `fixed` or one of `SOLVED_METHODS`.
        weight: α where it is constant, else None.
    """

    name: str
    method: str
    weight: float | None

    @property
    def needs_both(self) -> bool:
        """Whether both models run at every token."""
        return self.method not in ("policy", "teacher")

    @staticmethod
    def parse(name: str, fixed_alpha: float | None = None, where: str = "alpha") -> Alpha:
        """Read a name; `fixed` alone takes its weight from `fixed_alpha`.

        Raises:
            UserError: an unknown name, or a weight outside [0, 1].
        """
        if name == "policy":
            return Alpha("policy", "policy", 0.0)
        if name == "teacher":
            return Alpha("teacher", "teacher", 1.0)
        if name in SOLVED_METHODS:
            return Alpha(name, name, None)
        match = re.fullmatch(r"fixed(?:-(\d*\.?\d+))?", name)
        if match is None:
            raise UserError(
                where,
                f"alpha {name!r} is unknown{closest(name, ALPHA_NAMES)}",
                "one of " + ", ".join(ALPHA_NAMES),
                "correct the name",
            )
        weight = float(match[1]) if match[1] else (0.5 if fixed_alpha is None else fixed_alpha)
        if not 0.0 <= weight <= 1.0:
            raise UserError(
                where, f"alpha has weight {weight:g}", "a teacher's weight in [0, 1]", "correct the weight"
            )
        # The name stands in paths and is read again: it holds the whole weight, never an exponent.
        digits = f"{weight:.6f}".rstrip("0").rstrip(".")
        return Alpha(f"fixed-{digits}", "fixed", float(digits))


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of making training data: (step, alpha, n)."""

    step: str
    alpha: str
    n: int

    @property
    def path(self) -> str:
        """The arm as a part of a path: ``step-460/kl_symmetry/n-8``."""
        return f"step-{self.step}/{self.alpha}/n-{self.n}"


def blocks_for(n: int, block_size: int) -> range:
    """The blocks that hold the first n samples of a prompt."""
    return range(-(-n // block_size))


def shard_name(index: int, count: int) -> str:
    """``00000-of-00004``."""
    return f"{index:05d}-of-{count:05d}"
