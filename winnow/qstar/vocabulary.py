"""Whether two models speak of the same tokens, and how wide their common logits are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from winnow.errors import UserError

log = logging.getLogger("generate")

MOST_EXTRAS = 0.01
"""Of a map's ids, those that it may have beyond the other's."""


def common_width(
    theta: Mapping[str, int],
    t: Mapping[str, int],
    width_theta: int,
    width_t: int,
    where: str,
    extras: bool = False,
) -> int:
    """The number of leading logits that mean the same in both models.

    Padding of the output layer (151,936 against 152,064 rows over one token map) is cut away.

    Args:
        theta: the student's token → id map.
        t: the teacher's.
        width_theta: columns of the student's logits.
        width_t: columns of the teacher's logits.
        where: the two models' names, for the message.
        extras: cut away as well the last ids of a map, where the other ends before them: tokens that were
            added to one model (of a later version, or one that calls tools).

    Raises:
        UserError: the maps disagree; the first differing ids are named.
    """
    by_id_theta = {index: token for token, index in theta.items()}
    by_id_t = {index: token for token, index in t.items()}
    differing = sorted(
        index for index in by_id_theta.keys() | by_id_t.keys() if by_id_theta.get(index) != by_id_t.get(index)
    )
    end = min(max(each, default=-1) for each in (by_id_theta, by_id_t)) + 1
    if differing and extras and differing[0] >= end and len(differing) <= MOST_EXTRAS * end:
        first = differing[0]
        whose, token = (
            ("student", by_id_theta[first]) if first in by_id_theta else ("teacher", by_id_t[first])
        )
        log.warning(
            "%s: only the %s has the last %d ids, from %d (%r) on: they are not drawn",
            where, whose, len(differing), first, token,
        )  # fmt: skip
        differing = []
    if differing:
        shown = "; ".join(
            f"id {index} is {by_id_theta.get(index)!r} for the student, "
            f"{by_id_t.get(index)!r} for the teacher"
            for index in differing[:3]
        )
        raise UserError(
            where,
            f"the tokenizers differ in {len(differing)} ids: {shown}",
            "student and teacher with one token → id map, for q* mixes their next-token distributions",
            "use a teacher of the same family, or alpha=policy or alpha=teacher, which run one model",
        )
    return min(width_theta, width_t, end)


def token_map(tokenizer: Any) -> dict[str, int]:
    """A tokenizer's token → id map, added tokens included."""
    return dict(tokenizer.get_vocab())
