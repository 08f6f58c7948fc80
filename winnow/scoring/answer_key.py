"""A key of an answer, such that equal answers have equal keys: for votes that count answers, not strings.

Rational numbers are compared exactly, other numbers in 30 digits. A formula with symbols is valued at three
fixed points, which stand for it: two polynomials of degree d that differ agree at a point drawn from 2³¹
with a probability of at most d/2³¹ (Schwartz 1980, Fast probabilistic algorithms for verification of
polynomial identities; Zippel 1979, Probabilistic algorithms for sparse polynomials). What it consists of
decides on all else: a set's members in any order, a tuple's in theirs, the ends of an interval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from winnow.scoring.formula_value import FINER, POINTS, SHORTEST_WORD, Number, Unvalued, calculator, valued

LONGEST = 200
"""Characters of a key; of a longer one its hash is the key."""
KEPT = 30
"""Significant digits of a number that is not rational."""
SMALLEST = 10**12
"""The largest denominator of a rational that a number is taken for, where no digit tells them apart."""
LITERAL = (sympy.S.Naturals, sympy.S.Naturals0, sympy.S.Integers, sympy.S.Rationals, sympy.S.Complexes)
NAMES = {sympy.E: "e", sympy.I: "i"}
"""Of constants, as letters of a word."""
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def answer_key(read: Any) -> str:
    """The key of what math-verify read: a formula, a relation, a set, a tuple or a matrix of sympy's.

    Raises:
        Unvalued: it has none; sympy may raise anything else.
    """
    key = _key(read)
    return key if len(key) <= LONGEST else _hash(key)


def _key(read: Any) -> str:
    if isinstance(read, sympy.MatrixBase | sympy.MatrixExpr):
        return _matrix(read)
    if isinstance(read, Relational | sympy.And):
        return _relation(_links(read))
    if isinstance(read, sympy.Tuple):
        return f"({','.join(_members(read.args))})"
    if isinstance(read, sympy.Set):
        return _set(read)
    if isinstance(read, sympy.Expr):
        return _word(read) or _formula(read)
    raise Unvalued(type(read).__name__)


def _formula(formula: sympy.Expr) -> str:
    value, opened = valued(formula, 0)
    if not opened:
        return _number(value)
    values = [value, *(valued(formula, point)[0] for point in range(1, POINTS))]
    digits = [_rounded(each) for each in values]
    # It does not depend on its symbols: x − x + 1.
    return _number(value) if len(set(digits)) == 1 else "~" + _hash(" ".join(digits))


def _word(formula: sympy.Expr) -> str | None:
    """A word that math-verify read as one symbol, or as the product of its letters."""
    letters = formula.args if formula.is_Mul else (formula,)
    # An e is Euler's number by then, and an i may be the root of −1.
    word = "".join(NAMES.get(each) or (each.name.lower() if each.is_Symbol else " ") for each in letters)
    return word if word.isalpha() and len(word) >= SHORTEST_WORD else None


def _number(value: Number) -> str:
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, calculator(FINER).mpf):
        return _real(value)
    real, imaginary = _parts(value)
    return f"{_real(real)}+{_real(imaginary)}i" if imaginary else _real(real)


def _real(value: Any) -> str:
    if not value:
        return "0"
    if calculator(FINER).isfinite(value) and abs(value) < 10**KEPT:
        mantissa, exponent = value.man_exp
        exact = Fraction(int(mantissa)) * Fraction(2) ** exponent * (-1 if value < 0 else 1)
        near = exact.limit_denominator(SMALLEST)
        if abs(near - exact) <= abs(exact) / 10 ** (KEPT + 15):
            return str(near)
    return str(calculator(FINER).nstr(value, KEPT))


def _parts(value: Any) -> tuple[Any, Any]:
    """The real and the imaginary part, neither of which is what is left of a zero."""
    least = abs(value) / 10 ** (KEPT + 15)
    real, imaginary = (each if abs(each) > least else each * 0 for each in (value.real, value.imag))
    return real, imaginary


def _rounded(value: Number) -> str:
    exact = calculator(FINER)
    if isinstance(value, Fraction):
        value = exact.mpf(value.numerator) / value.denominator
    return " ".join(exact.nstr(each, KEPT) for each in _parts(value))


def _matrix(read: Any) -> str:
    matrix = read if isinstance(read, sympy.MatrixBase) else read.doit().as_explicit()
    return f"{matrix.rows}x{matrix.cols}[{','.join(_key(each) for each in matrix.flat())}]"


def _set(read: sympy.Set) -> str:
    if isinstance(read, sympy.Interval):
        # To math-verify two numbers in parentheses are an open interval, or a tuple if the first is larger.
        left, right = "(" if read.left_open else "[", ")" if read.right_open else "]"
        return f"{left}{_key(read.start)},{_key(read.end)}{right}"
    if isinstance(read, sympy.FiniteSet):
        members = sorted(set(_members(read.args)))
        return members[0] if len(members) == 1 else f"{{{','.join(members)}}}"
    if read in LITERAL:
        return str(read)
    if isinstance(read, sympy.Union | sympy.Intersection | sympy.Complement):
        found = read.doit()
        if isinstance(found, sympy.Union):
            return " ∪ ".join(sorted(_key(each) for each in found.args))
        if not isinstance(found, sympy.Intersection | sympy.Complement):
            return _key(found)
    if read is sympy.S.EmptySet:
        return "{}"
    raise Unvalued(type(read).__name__)


def _members(members: Iterable[Any]) -> list[str]:
    """Keys of a set's or a tuple's members, with their names where they are the values of several."""
    members = list(members)
    names = {str(each.lhs) for each in members if isinstance(each, sympy.Eq) and each.lhs.is_Symbol}
    if len(names) < 2:
        return [_key(each) for each in members]
    return [
        f"{each.lhs}={_key(each.rhs)}" if isinstance(each, sympy.Eq) and each.lhs.is_Symbol else _key(each)
        for each in members
    ]


def _links(read: Any) -> Sequence[Any]:
    """The relations of a chain, a < b < c, in its order; or the one that there is."""
    if isinstance(read, Relational):
        return [read]
    links: Sequence[Any] = getattr(read, "_unsorted_args", read.args)
    if not all(isinstance(each, Relational) for each in links):
        raise Unvalued("a relation of relations")
    return links


def _relation(links: Sequence[Any]) -> str:
    """As math-verify does, an equation that assigns is its value: x = 5, f(x) = 2x, 3·12 = 36.

    Bounds of a symbol are the interval that they leave.
    """
    if all(each.rel_op == "==" for each in links):
        assigned = _assigned(links[0].lhs, links[-1].rhs)
        if assigned is None and len(links) == 1:
            assigned = _assigned(links[0].rhs, links[0].lhs, strictly=True)
        if assigned is not None:
            return _key(assigned)
    return _interval(links) or " & ".join(sorted({_compared(each) for each in links}))


def _assigned(name: Any, value: Any, strictly: bool = False) -> Any:
    """The value that an equation assigns; None where it does not."""
    closed = not value.free_symbols
    if name.is_Pow and isinstance(name.base, AppliedUndef):
        # f⁻¹(x) = x + 1, which reads as 1/f(x).
        name = name.base
    if name.is_Symbol or isinstance(name, AppliedUndef):
        return value if closed or not (strictly or name in value.atoms(type(name))) else None
    # AB = 5 of a segment, (x, y) = (1, 2), 3·12 = 36.
    several = isinstance(name, sympy.Tuple) or name.is_Mul
    named = several and all(each.is_Symbol for each in name.args)
    return value if closed and (named or not (strictly or name.free_symbols)) else None


def _interval(links: Sequence[Any]) -> str | None:
    """The interval to which one relation, or two, confine a symbol; None where they do something else."""
    bounds = [_bound(each) for each in links]
    known = [each for each in bounds if each is not None]
    if len(known) < len(bounds) or len(known) > 2 or len({name for name, _, _ in known}) > 1:
        return None
    ends = {operator[0]: (operator, key) for _, operator, key in known}
    if len(ends) < len(known):
        return None
    below, low = ends.get(">", (">", "-inf"))
    above, high = ends.get("<", ("<", "+inf"))
    return f"{'[' if '=' in below else '('}{low},{high}{']' if '=' in above else ')'}"


def _bound(relation: Any) -> tuple[str, str, str] | None:
    """(symbol, how it is compared, with what) for x < 5 and for 5 > x."""
    operator, left, right = relation.rel_op, relation.lhs, relation.rhs
    if right.is_Symbol:
        operator, left, right = FLIPPED[operator], right, left
    if not left.is_Symbol or right.free_symbols or operator in ("==", "!="):
        return None
    return left.name.lower(), operator, _key(right)


def _compared(relation: Any) -> str:
    """A relation up to a factor on both sides: the values of its difference over the first of them."""
    operator = relation.rel_op
    less, more = (relation.rhs, relation.lhs) if ">" in operator else (relation.lhs, relation.rhs)
    # Not evaluated: sympy would write a tower of powers out.
    difference = sympy.Add(less, sympy.Mul(-1, more, evaluate=False), evaluate=False)
    found = [valued(difference, point) for point in range(POINTS)]
    if not found[0][1] or not found[0][0]:
        raise Unvalued("a relation without symbols")
    exact = calculator(FINER)
    values = [exact.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v, _ in found]
    by = values[0] if operator in ("==", "!=") else abs(values[0])
    return f"{operator.replace('>', '<')}{_hash(' '.join(_rounded(each / by) for each in values))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
