"""How deep drafts go: the depth with the most tokens a second, learned from rounds."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from winnow.qstar.controller import DEPTHS, Controller
from winnow.qstar.graphs import Graphs


def simulate(beta, student, teacher, position, rounds=400, rows=8, seed=0, **options):
    """Rounds whose drafts are accepted by chance, and that take K·student + teacher + K·position."""
    source = random.Random(seed)
    controller = Controller(**options)
    for _ in range(rounds):
        depth = controller.choose(rows)
        accepted = []
        for _ in range(rows):
            count = 0
            while count < depth and source.random() < beta:
                count += 1
            accepted.append(count)
        seconds = depth * (student + position) + teacher
        controller.observe(rows, depth, seconds * source.uniform(0.95, 1.05), accepted)
    return controller


def best(beta, student, teacher, position):
    def speed(depth):
        return (1 - beta**depth) / (1 - beta) / (depth * (student + position) + teacher)

    return max(DEPTHS, key=speed), speed


@pytest.mark.parametrize(
    ("beta", "student", "teacher", "position"),
    [
        (0.9, 0.02, 1.0, 0.02),
        (0.85, 0.1, 1.0, 0.2),
        (0.5, 0.3, 1.0, 0.0),
        (0.8, 1.0, 1.0, 0.0),
        (0.95, 0.0, 1.0, 1.0),
    ],
)
def test_it_finds_a_depth_as_good_as_the_best(beta, student, teacher, position):
    controller = simulate(beta, student, teacher, position)
    expected, speed = best(beta, student, teacher, position)
    tokens = sum(count * (1 - beta**depth) / (1 - beta) for depth, count in controller.rounds.items())
    seconds = sum(
        count * (depth * (student + position) + teacher) for depth, count in controller.rounds.items()
    )
    assert tokens / seconds >= 0.96 * speed(expected)
    assert controller.acceptance == pytest.approx(beta, abs=0.05)


def test_fewer_rows_begin_with_what_more_rows_have_taught():
    """Rows run out at the end: each size class must not begin with lockstep again."""
    source, controller = random.Random(1), Controller()
    for rows in [32] * 40 + [16] * 20 + [8] * 20 + [4] * 20 + [2] * 20 + [1] * 20:
        depth = controller.choose(rows)
        accepted = [next((i for i in range(depth) if source.random() > 0.85), depth) for _ in range(rows)]
        # Reading the weights binds few rows, arithmetic many.
        seconds = max(16, 10 + 0.5 * rows * depth) + depth * 2
        controller.observe(rows, depth, seconds * source.uniform(0.97, 1.03), accepted)
    assert controller.rounds[1] <= 3
    for rows in (32, 8, 1):
        chosen = controller.choose(rows)
        by_speed = {
            d: sum(0.85**i for i in range(d)) / (max(16, 10 + 0.5 * rows * d) + 2 * d) for d in DEPTHS
        }
        assert by_speed[chosen] >= 0.93 * max(by_speed.values()), rows


def test_never_deeper_than_allowed():
    assert set(simulate(0.9, 0.02, 1.0, 0.02, deepest=3).rounds) <= {1, 2, 3}
    assert set(simulate(0.9, 0.02, 1.0, 0.02, deepest=1).rounds) == {1}
    assert set(simulate(0.9, 0.02, 1.0, 0.02, fixed=5).rounds) == {5}
    assert Controller(fixed=5).deepest == 5
    assert Controller(deepest=None).deepest == max(DEPTHS)


def test_expected_tokens_are_the_geometric_sum():
    controller = simulate(0.8, 0.1, 1.0, 0.0, rounds=3_000, fixed=8)
    for depth in DEPTHS:
        assert controller.tokens(depth) == pytest.approx((1 - 0.8**depth) / (1 - 0.8), rel=0.03)


def test_acceptance_is_learned_for_each_place():
    """Rows that were accepted so far may be the easy ones: β of the second place is another."""
    controller = Controller(fixed=3)
    for _ in range(500):
        controller.observe(2, 3, 1.0, [0, 3])
    assert controller.tokens(3) == pytest.approx(1 + 0.5 + 0.5, rel=0.05)


def test_it_says_what_it_chose():
    assert str(simulate(0.9, 0.02, 1.0, 0.02, rounds=10, fixed=4)).startswith(
        "10 rounds (K = 4 in 100%), β = 0."
    )
    assert str(Controller()) == "0 rounds (none)"


def test_a_neighbour_is_timed_where_rounds_are_recorded_first():
    """Spans grow, so that a depth that came for one round at a time would be of a new shape each time."""
    kept, controller, timed = Graphs(8, lambda work: work), Controller(), Counter()
    for turn in range(2_000):
        depth = controller.choose(8)
        kept.run((depth, kept.span(200 + 3 * turn % 900)), 8, lambda: (torch.zeros(1),))
        timed[depth] += kept.settled
        controller.observe(8, depth, 1 + 0.1 * depth if kept.settled else None, [min(depth, 3)] * 8)
    best = timed.most_common(1)[0][0]
    near = DEPTHS.index(best)
    for neighbour in (DEPTHS[near - 1], DEPTHS[near + 1]):
        assert timed[neighbour] > controller.rounds[neighbour] / 5 > 0
