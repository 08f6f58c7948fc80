"""What is asked and answered in the two image examples, and the single opinions that the models learn from.

The models are shown opinions of single raters, who scatter about the mean opinion that is the truth: so even
a model that sees well answers at T = 1 as unsurely as its raters, and selecting what is right sharpens it.
"""

from __future__ import annotations

import numpy as np
from pictures import BEST, WORST

RATER_DEVIATION = 0.8  # of one rater's opinion about the mean, in points of the score

RATE = "<image>How good is this picture, from 1.0 to 5.0?"
COMPARE = "<image><image>Both were drawn from: {caption}. Which image is better?"
THINK_FIRST = " Think first."

GRAIN = ("no", "faint", "visible", "strong", "heavy")


def opinion(score: float, rng: np.random.Generator) -> float:
    """What one rater says of a picture."""
    return float(np.clip(round(rng.normal(score, RATER_DEVIATION), 1), WORST, BEST))


def grain(said: float) -> str:
    """The word for the noise of a picture that a rater gave so many points."""
    return GRAIN[min(int(BEST - said + 0.5), len(GRAIN) - 1)]


def rating(score: float, rng: np.random.Generator) -> str:
    """One rater's answer to RATE."""
    said = opinion(score, rng)
    return f"<think>It has {grain(said)} grain.</think><answer>{said:.1f}</answer>"


def verdict(first: float, second: float) -> str:
    """Which of two scores is the better one."""
    return f"Image {1 if first > second else 2} is better"


def comparison(first: float, second: float, think: bool, rng: np.random.Generator) -> str:
    """One rater's answer to COMPARE, for pictures of these scores."""
    said, other = opinion(first, rng), opinion(second, rng)
    if said == other:
        said += rng.choice([-0.1, 0.1])
    answer = f"<answer>{verdict(said, other)}</answer>"
    if not think:
        return answer
    reasons = f"Image 1 has {grain(said)} grain, image 2 has {grain(other)} grain."
    return f"<think>{reasons}</think>{answer}"
