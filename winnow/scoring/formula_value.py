"""The value of a formula at a point: exact where it stays rational, else to many digits.

Nothing is simplified, and nothing here can take long: what is too large, or not known, has no value.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import sympy
from sympy.core.function import AppliedUndef

LARGEST = 10_000
"""Bits of a rational that is kept exact; Python writes no integer of more than 14,000."""
HIGHEST = 100_000
"""Bits before the point of any other number."""
DIGITS = 50
FINER = 80
"""Significant digits of what is not rational: it is calculated with the first, and again with the second."""
AGREEING = 35
"""Digits in which both have to agree."""
POINTS = 3
"""At which a formula with symbols is valued."""
SHORTEST_WORD = 4
"""Letters: \\text{no} may be the product of n and o, as math-verify reads a bare "no"; "even" is a word."""

Number = Any
"""A Fraction, or one of mpmath's real or complex numbers."""


class Unvalued(Exception):
    """A formula that has no value here: an unknown function, a pole, or a number that is too large."""


@functools.cache
def calculator(digits: int) -> Any:
    """mpmath, with so many significant digits."""
    # Its own: sympy sets the precision of the shared one.
    made = mpmath.MPContext()
    made.dps = digits
    return made


@functools.lru_cache(maxsize=1024)
def coordinate(name: str, point: int) -> Fraction:
    """Of a symbol, at one of the fixed points: drawn by its name from 2³¹ rationals between 1/4 and 9/4.

    All are positive at the first point, all negative at the second, and either at the others.
    """
    drawn = hashlib.sha256(f"{point} {name}".encode()).digest()
    size = Fraction(2**28 + (int.from_bytes(drawn[:4], "big") >> 1), 2**30)
    negative = point == 1 or (point > 1 and drawn[4] & 1)
    return -size if negative else size


def valued(formula: sympy.Expr, point: int) -> tuple[Number, bool]:
    """A formula's value at a point, to more than 30 digits; and whether it depends on the point at all.

    Raises:
        Unvalued: it has none, or its terms cancel out so that too few of the digits are right.
    """
    rough = Evaluation(point, DIGITS)
    value = rough.value(formula)
    if isinstance(value, Fraction):
        return value, rough.opened
    fine = Evaluation(point, FINER).value(formula)
    exact = calculator(FINER)
    if exact.isnan(fine):
        raise Unvalued("not a number")
    if exact.isinf(fine):
        return fine, rough.opened
    if abs(exact.convert(value) - fine) <= abs(fine) * exact.mpf(10) ** -AGREEING:
        return fine, rough.opened
    # What vanishes with the digits is zero: √2·√2 − 2.
    if abs(fine) < exact.mpf(10) ** (20 - FINER) and abs(value) < exact.mpf(10) ** (10 - DIGITS):
        return Fraction(0), rough.opened
    raise Unvalued("its terms cancel out")


class Evaluation:
    """One evaluation of a formula.

    Args:
        point: which of the fixed points its symbols are at.
        digits: significant ones of what is not rational.
    """

    def __init__(self, point: int, digits: int) -> None:
        self._point, self._calculator = point, calculator(digits)
        self.opened = False
        """Whether it has met a symbol."""

    def value(self, formula: Any) -> Number:
        """The value of a formula, or of a part of it.

        Raises:
            Unvalued: it has none.
        """
        if formula.is_Rational:
            return Fraction(int(formula.p), int(formula.q))
        if formula.is_Symbol:
            return self._symbol(formula.name.lower())
        if formula.is_Add:
            return self._sum([self.value(each) for each in formula.args])
        if formula.is_Mul:
            return self._product([self.value(each) for each in formula.args])
        if formula.is_Pow:
            return self._power(*map(self.value, formula.args))
        if formula.is_Float:
            # As it was written: 0.1 is a tenth.
            return Fraction(str(formula))
        if isinstance(formula, AppliedUndef):
            return self._unknown(formula)
        if type(formula) in CONSTANTS:
            return CONSTANTS[type(formula)](self._calculator)
        if type(formula) in OPERATIONS:
            return OPERATIONS[type(formula)](self, *map(self.value, formula.args))
        if type(formula) in FUNCTIONS:
            argument = self._bounded(self.value(formula.args[0]))
            return getattr(self._calculator, FUNCTIONS[type(formula)])(argument)
        raise Unvalued(type(formula).__name__)

    def inexact(self, value: Number) -> Any:
        """As a number of mpmath's."""
        if isinstance(value, Fraction):
            return self._calculator.mpf(value.numerator) / value.denominator
        return value

    def _symbol(self, name: str) -> Number:
        if name == "e":
            return self._calculator.e + 0
        if name.isalpha() and 1 < len(name) < SHORTEST_WORD:
            # A bare "yes" is y·e·s to math-verify, with Euler's number.
            return self._product([self._symbol(each) for each in name])
        self.opened = True
        return coordinate(name, self._point)

    def _unknown(self, formula: Any) -> Fraction:
        self.opened = True
        arguments = [self._calculator.nstr(self.inexact(self.value(each)), 30) for each in formula.args]
        return coordinate(f"{formula.func.__name__}({', '.join(arguments)})", self._point)

    def _sum(self, values: list[Number]) -> Number:
        exact = sum((each for each in values if isinstance(each, Fraction)), start=Fraction(0))
        others = [each for each in values if not isinstance(each, Fraction)]
        return self._calculator.fsum([self.inexact(exact), *others]) if others else exact

    def _product(self, values: list[Number]) -> Number:
        exact = math.prod((each for each in values if isinstance(each, Fraction)), start=Fraction(1))
        others = [each for each in values if not isinstance(each, Fraction)]
        return self._calculator.fprod([self.inexact(exact), *others]) if others else exact

    def _power(self, base: Number, exponent: Number) -> Number:
        whole = isinstance(exponent, Fraction) and exponent.denominator == 1
        if not base and exponent != 0 and not self._real(exponent) > 0:
            raise Unvalued("a pole")
        if whole and isinstance(base, Fraction):
            size = max(base.numerator.bit_length(), base.denominator.bit_length())
            if size * abs(exponent) <= LARGEST:
                return base ** int(exponent)
        base, power = self.inexact(base), self.inexact(exponent)
        if not base:
            return base
        if (abs(self._calculator.mag(base)) + 1) * abs(power) > HIGHEST:
            raise Unvalued("too large")
        if exponent == Fraction(1, 2):
            return self._calculator.sqrt(base)
        return self._calculator.power(base, int(exponent) if whole else power)

    def _bounded(self, value: Number) -> Any:
        """An argument of a function that may grow as fast as e^x does.

        Raises:
            Unvalued: it would be too large.
        """
        value = self.inexact(value)
        if abs(value) > HIGHEST:
            raise Unvalued("too large")
        return value

    def floor(self, value: Number) -> Fraction:
        """The largest integer that is not above.

        Raises:
            Unvalued: not real.
        """
        real = self._real(value)
        return Fraction(math.floor(real) if isinstance(real, Fraction) else int(self._calculator.floor(real)))

    def ceiling(self, value: Number) -> Fraction:
        """The smallest integer that is not below."""
        return -self.floor(-value)

    def modulo(self, value: Number, divisor: Number) -> Number:
        """What is left of it, with the sign of the divisor."""
        whole = self.floor(self._product([value, self._power(divisor, Fraction(-1))]))
        return self._sum([value, self._product([-whole, divisor])])

    def logarithm(self, value: Number, base: Number | None = None) -> Any:
        """The natural one, or that of a base.

        Raises:
            Unvalued: of zero.
        """
        if not value:
            raise Unvalued("a pole")
        found = self._calculator.log(self.inexact(value))
        return found if base is None else found / self._calculator.log(self.inexact(base))

    def factorial(self, value: Number) -> Number:
        """value!, which is Γ(value + 1)."""
        if isinstance(value, Fraction) and value.denominator == 1 and 0 <= value <= 1000:
            return Fraction(math.factorial(int(value)))
        if abs(value) > 1000:
            raise Unvalued("too large")
        return self._calculator.factorial(self.inexact(value))

    def binomial(self, above: Number, below: Number) -> Number:
        """The number of ways to choose so many."""
        if all(isinstance(each, Fraction) and each.denominator == 1 for each in (above, below)) and (
            0 <= below <= above <= 1000
        ):
            return Fraction(math.comb(int(above), int(below)))
        return self._calculator.binomial(self._bounded(above), self._bounded(below))

    def _real(self, value: Number) -> Number:
        if isinstance(value, Fraction | self._calculator.mpf):
            return value
        raise Unvalued("not real")


CONSTANTS: dict[type, Callable[[Any], Any]] = {
    type(sympy.pi): lambda calculator: calculator.pi + 0,
    type(sympy.E): lambda calculator: calculator.e + 0,
    type(sympy.GoldenRatio): lambda calculator: calculator.phi + 0,
    type(sympy.EulerGamma): lambda calculator: calculator.euler + 0,
    type(sympy.I): lambda calculator: calculator.mpc(0, 1),
    type(sympy.oo): lambda calculator: calculator.inf,
    type(-sympy.oo): lambda calculator: calculator.ninf,
}
OPERATIONS: dict[type, Callable[..., Number]] = {
    sympy.UnevaluatedExpr: lambda _, value: value,
    sympy.Abs: lambda _, value: abs(value),
    sympy.floor: Evaluation.floor,
    sympy.ceiling: Evaluation.ceiling,
    sympy.Mod: Evaluation.modulo,
    sympy.log: Evaluation.logarithm,
    sympy.factorial: Evaluation.factorial,
    sympy.binomial: Evaluation.binomial,
}
FUNCTIONS: dict[type, str] = {
    getattr(sympy, name): name
    for name in (
        *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "asec", "acsc"),
        *("sinh", "cosh", "tanh", "coth", "sech", "csch", "asinh", "acosh", "atanh", "acoth"),
        *("exp", "gamma", "conjugate", "re", "im", "sign"),
    )
}
"""Those that mpmath calls as sympy does."""
