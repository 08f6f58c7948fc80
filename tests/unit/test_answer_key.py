"""Keys of answers: equal ones have equal keys, others do not, and math-verify mostly agrees."""

from __future__ import annotations

import itertools
import time

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import verify
from sympy import Add, Eq, FiniteSet, Integer, Interval, Mul, Pow, Rational, Symbol, Tuple, oo

from winnow.scoring import math_worker
from winnow.scoring.answer_key import LONGEST, answer_key
from winnow.scoring.formula_value import Unvalued

X, Y = Symbol("x", real=True), Symbol("y", real=True)


def read(text: str) -> list:
    return math_worker._read(text, 5, bare=True)


def key(text: str) -> str | None:
    return math_worker._key(read(text)[0], 5)


EQUAL = (
    ("1/2", "\\frac{1}{2}", "0.5", "\\frac{2}{4}", "2^{-1}", "\\dfrac12", "0.50", "50\\%"),
    ("x+1", "1+x", "\\frac{2x+2}{2}", "(x+1)", "x - (-1)"),
    ("\\sqrt{8}", "2\\sqrt{2}", "2 \\cdot 2^{1/2}", "\\frac{4}{\\sqrt{2}}", "8^{0.5}"),
    ("\\frac{\\sqrt2}{2}", "1/\\sqrt{2}", "\\sqrt{\\frac12}", "\\sin(\\frac{\\pi}{4})", "2^{-\\frac{1}{2}}"),
    ("\\sqrt{16}", "4", "\\sqrt{2}\\sqrt{8}", "2^2", "\\sqrt[3]{64}", "\\log_2 16", "4!/6", "\\binom{4}{1}"),
    ("0.1", "\\frac{1}{10}", "10\\%"),
    ("30!", "265252859812191058636308480000000", "30 \\cdot 29!"),
    ("-2", "-\\sqrt{4}", "\\sqrt{2} \\cdot (-\\sqrt{2})"),
    ("0", "\\sqrt{2}\\sqrt{2} - 2", "\\sin(0)", "0\\pi"),
    ("x^2-1", "(x-1)(x+1)", "(x+1)(x-1)", "x \\cdot x - 1"),
    ("\\frac{1}{x} + \\frac{1}{y}", "\\frac{x+y}{xy}"),
    ("\\sin^2 x", "1 - \\cos^2 x"),
    ("e^{2x}", "(e^x)^2", "e^x \\cdot e^x"),
    ("(1,2)", "(1, 2)", "( 1 , \\frac{4}{2} )", "(x,y) = (1,2)"),
    ("(2,1)", "(2, 1)", "(\\sqrt{4}, 1)"),
    ("\\{1,2\\}", "\\{2,1\\}", "1, 2", "2,1", "\\{2, 1, \\frac{2}{2}\\}", "x \\in \\{1,2\\}"),
    ("\\{\\sqrt2, 1\\}", "1, \\frac{2}{\\sqrt{2}}"),
    ("x=5", "5", "x = 10/2", "5 = x", "\\{5\\}", "2+3=5", "x = 2 + 3 = 5"),
    ("f(x) = 3x + 6", "3(x+2)", "6 + 3x", "f^{-1}(x) = 3x + 6", "y = 3x + 6"),
    ("t \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} t \\\\ 2t \\end{pmatrix}"),
    ("\\frac12 \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 0.5 \\\\ 1 \\end{pmatrix}"),
    ("x + y = 2", "y + x = 2", "2x + 2y = 4", "2 = x + y", "x + y - 2 = 0"),
    ("[1, 2)", "[1,2)", "[1, \\sqrt{4})", "1 \\le x < 2", "2 > x \\ge 1"),
    ("x > 3", "3 < x", "(3, \\infty)"),
    ("2x + y \\le 4", "4 \\ge y + 2x", "x + y/2 \\le 2"),
    ("(-\\infty, 0) \\cup (1, \\infty)", "(1, \\infty) \\cup (-\\infty, 0)"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
     "\\begin{bmatrix} 1 & \\sqrt{4} \\\\ 3 & 4 \\end{bmatrix}"),
    ("2I + 1", "1 + 2I", "1 + \\sqrt{-4}"),
    ("2i + 1", "1 + 2i"),
    ("\\infty", "+\\infty"),
    ("|x|", "\\sqrt{x^2}"),
    ("\\lfloor 3.7 \\rfloor", "3"),
    ("f(x+1)", "f(1+x)"),
    ("n!", "n (n-1)!"),
    ("\\text{even}", "even", "\\text{Even}"),
    ("\\text{no}", "no"),
    ("\\text{yes}", "yes", "\\mathrm{Yes}"),
)  # fmt: skip
REST = (
    "-x", "x", "y", "x+y", "x-y", "xy", "x^2", "\\sqrt{x}", "2x", "\\frac1x", "1", "-1", "2", "\\pi",
    "3.14", "10^{100}", "10^{100}+1",
    "[1,2]", "(1,2]", "(-1,2)", "\\{1,2,3\\}", "(1,2,3)", "(1,3,2)", "x=1, y=2", "x=2, y=1",
    "x + y < 2", "x + y \\le 2", "x + y > 2",
    "x - y = 2", "x \\ge 3", "x < 3", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    "\\begin{pmatrix} 1 & 2 \\end{pmatrix}",
    "i", "-i", "\\sin x", "\\cos x", "f(x)", "g(x)", "-\\infty", "\\text{odd}", "\\text{seat}",
    "\\text{east}", "\\ln 2", "\\frac{1}{3}",
    "x > 3 > y", "y > 3 > x",
    "\\emptyset", "\\mathbb{R}", "\\mathbb{Z}", "0.333333",
)  # fmt: skip


@pytest.mark.parametrize("group", EQUAL)
def test_equal_answers_have_equal_keys(group):
    assert {each: key(each) for each in group} == dict.fromkeys(group, key(group[0]))
    assert key(group[0]) is not None


def test_other_answers_have_other_keys():
    keys = [(each, key(each)) for each in [*REST, *(group[0] for group in EQUAL)]]
    assert [each for each, found in keys if found is None] == []
    for (one, left), (other, right) in itertools.combinations(keys, 2):
        assert left != right, (one, other)


AS_VERIFY = (
    ("x+1", "x+2"), ("\\sqrt{8}", "2\\sqrt{3}"), ("\\{1,2\\}", "\\{1,3\\}"), ("(1,2)", "(1,3)"),
    ("(1,2]", "[1,2]"),
    ("x=5", "6"), ("x + y = 2", "x - y = 2"), ("x > 3", "x \\ge 3"), ("x > 3", "x < 3"),
    ("x=1, y=2", "x=2, y=1"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 3 \\end{pmatrix}"),
    ("x", "y"), ("\\pi", "3.14"),
    ("10^{100}", "10^{100}+1"), ("i", "-i"), ("\\text{odd}", "\\text{even}"), ("(1,2,3)", "(1,3,2)"),
    ("\\frac13", "0.33"),
)  # fmt: skip
"""Pairs that are not equal, neither to math-verify nor by their keys."""


def equal_to_verify(one: str, other: str) -> bool:
    return bool(verify(read(one), read(other)) or verify(read(other), read(one)))


def test_verify_tells_the_same_answers_apart():
    for one, other in AS_VERIFY:
        assert not equal_to_verify(one, other), (one, other)
        assert key(one) != key(other), (one, other)


def commuted(formula):
    """The same sums and products, each the other way round."""
    if not formula.args:
        return formula
    arguments = [commuted(each) for each in formula.args]
    if formula.is_Add or formula.is_Mul:
        return formula.func(*reversed(arguments), evaluate=False)
    return formula.func(*arguments, evaluate=False)


def unevaluated(kind):
    return lambda one, other: kind(one, other, evaluate=False)


RATIONALS = st.fractions(-5, 5, max_denominator=99).map(lambda drawn: Rational(*drawn.as_integer_ratio()))
POLYNOMIALS = st.recursive(
    st.one_of(st.sampled_from([X, Y]), st.integers(-9, 9).map(Integer), RATIONALS),
    lambda inner: st.one_of(
        st.builds(unevaluated(Add), inner, inner),
        st.builds(unevaluated(Mul), inner, inner),
        st.builds(unevaluated(Pow), inner, st.integers(0, 3).map(Integer)),
    ),
    max_leaves=8,
)  # fmt: skip
FORMULAS = st.recursive(
    st.one_of(
        POLYNOMIALS, st.sampled_from([sympy.sqrt(2), sympy.pi, sympy.E, sympy.sqrt(X**2 + 1), sympy.sin(Y)])
    ),
    lambda inner: st.one_of(
        st.builds(unevaluated(Add), inner, inner), st.builds(unevaluated(Mul), inner, inner)
    ),
    max_leaves=4,
)
REWRITTEN = (
    commuted,
    sympy.expand,
    sympy.together,
    lambda formula: Add(Add(formula, X, evaluate=False), -X, evaluate=False),
    lambda formula: Mul(Mul(formula, Integer(3), evaluate=False), Rational(1, 3), evaluate=False),
    lambda formula: Mul(sympy.sqrt(2), Mul(formula, Pow(2, -Rational(1, 2), evaluate=False)), evaluate=False),
    lambda formula: Add(formula, sympy.sin(X) ** 2, sympy.cos(X) ** 2, -1, evaluate=False),
)


@settings(max_examples=150, deadline=None)
@given(FORMULAS, st.sampled_from(REWRITTEN), RATIONALS)
def test_a_formula_keeps_its_key_however_it_is_written(formula, rewritten, added):
    found = answer_key(formula)
    assert answer_key(rewritten(formula)) == found
    if added:
        assert answer_key(Add(formula, added, evaluate=False)) != found


@settings(max_examples=100, deadline=None)
@given(POLYNOMIALS, POLYNOMIALS)
def test_polynomials_have_one_key_where_they_are_equal(one, other):
    assert (answer_key(one) == answer_key(other)) == (sympy.expand((one - other).doit()) == 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(POLYNOMIALS, min_size=2, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(REWRITTEN[:-2]),
)
def test_a_set_has_no_order_and_a_tuple_has_one(members, source, rewritten):
    shuffled = [rewritten(each) for each in source.sample(members, len(members))]
    keys, again = ([answer_key(each) for each in some] for some in (members, shuffled))
    assert answer_key(FiniteSet(*members)) == answer_key(FiniteSet(*shuffled))
    if all(each.is_number for each in members):
        return
    assert (answer_key(Tuple(*members)) == answer_key(Tuple(*shuffled))) == (keys == again)


def test_ends_of_intervals():
    ends = [Interval(1, 2, left, right) for left in (True, False) for right in (True, False)]
    assert len({answer_key(each) for each in ends}) == 4
    assert answer_key(Interval.open(1, 2)) == answer_key(Tuple(1, 2))


def nested(depth):
    formula = X
    for _ in range(depth):
        formula = Add(Mul(formula, 2, evaluate=False), 1, evaluate=False)
    return formula


NINE = Integer(9)
TOWER = Pow(NINE, Pow(NINE, Pow(NINE, NINE, evaluate=False), evaluate=False), evaluate=False)
HELD = {"evaluate": False}


@pytest.mark.parametrize(
    "formula",
    [
        TOWER,
        Pow(TOWER, X, **HELD),
        Eq(TOWER, X * TOWER, **HELD),
        Eq(X + Y, TOWER, **HELD),
        Pow(Rational(1, 9), TOWER, **HELD),
        sympy.exp(TOWER, **HELD),
        sympy.sin(TOWER, **HELD),
        sympy.log(TOWER, **HELD),
        sympy.factorial(sympy.factorial(Integer(10**6), **HELD), **HELD),
        sympy.binomial(10**9, X),
        sympy.gamma(Integer(-1), **HELD),
        Pow(Integer(0), Integer(-1), **HELD),
        Pow(sympy.sin(0, **HELD), Integer(-1), **HELD),
        sympy.nan,
        sympy.zoo,
        sympy.true,
        sympy.Derivative(X**2, X),
        Mul(sympy.log(0, **HELD), 2, **HELD),
        nested(3000),
        Add(sympy.sqrt(10**60 + 1), -(10**30), **HELD),
    ],
)
def test_what_has_no_key_says_so_at_once(formula):
    began = time.monotonic()
    with pytest.raises((Unvalued, ArithmeticError, ValueError, RecursionError)):
        answer_key(formula)
    assert time.monotonic() - began < 1
    assert math_worker._key(formula, 5) is None


def test_a_long_key_is_a_hash():
    long = [Integer(10**300 + index) for index in range(2)]
    one, other = (answer_key(Tuple(each, each)) for each in long)
    assert one != other
    assert max(len(one), len(other)) <= LONGEST


def test_numbers():
    assert answer_key(Rational(7, 3)) == "7/3"
    assert answer_key(sympy.sqrt(2)) == "1.41421356237309504880168872421"
    assert answer_key(-oo) == answer_key(Mul(-1, oo, evaluate=False)) == "-inf"
    assert answer_key(Symbol("e")) == answer_key(sympy.E)
    # Alike in more digits than are kept of what is not rational.
    assert answer_key(Integer(10**40)) != answer_key(Integer(10**40 + 1))
    assert answer_key(Pow(sympy.E, -200, evaluate=False)) != "0"
