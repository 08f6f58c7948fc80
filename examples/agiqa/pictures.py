"""Small grey pictures with a known quality: a scene of smooth shapes, and noise over it.

Nothing here is random but what the caller's generator draws, so a seed names a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE = 32  # pixels
WORST, BEST = 1.0, 5.0  # of the mean opinion score
STRONGEST_NOISE = 64.0  # standard deviation at the worst score, in grey levels of 256

SHAPES = ("disc", "ring", "bar", "wave")
TONES = ("bright", "dark")

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """What is to be seen, before noise.

    Attributes:
        shape: one of SHAPES.
        tone: of the shape; the ground has the other.
        pixels: grey levels [EDGE, EDGE], 0 to 255.
    """

    shape: str
    tone: str
    pixels: NDArray[np.float64]

    @property
    def caption(self) -> str:
        """The words that it was drawn from."""
        ground = TONES[1 - TONES.index(self.tone)]
        return f"a {self.tone} {self.shape} on {ground} ground"


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a shape somewhere on a ground that is not quite even."""
    shape, tone = str(rng.choice(SHAPES)), str(rng.choice(TONES))
    rows, columns = np.mgrid[0:EDGE, 0:EDGE].astype(float)
    middle, size = rng.uniform(11, 21, 2), rng.uniform(6, 10)
    away = np.hypot(rows - middle[0], columns - middle[1])
    angle = rng.uniform(0, np.pi)
    along = (rows - middle[0]) * np.cos(angle) + (columns - middle[1]) * np.sin(angle)
    inside = {
        "disc": size - away,
        "ring": size / 3 - np.abs(away - size),
        "bar": size / 2 - np.abs(along),
        "wave": 3 * np.sin(along * np.pi / size),
    }[shape]
    # A smooth edge: hard ones would look like noise to a patch.
    covered = 1 / (1 + np.exp(-inside))
    low, high = rng.uniform(50, 95), rng.uniform(160, 205)
    ground, figure = (low, high) if tone == "bright" else (high, low)
    slope = rng.uniform(-12, 12, 2) / EDGE
    lit = slope[0] * (rows - EDGE / 2) + slope[1] * (columns - EDGE / 2)
    return Scene(shape, tone, ground + (figure - ground) * covered + lit)


def noisy(scene: Scene, score: float, rng: np.random.Generator) -> Picture:
    """The scene with the noise of a mean opinion score."""
    deviation = STRONGEST_NOISE * (BEST - score) / (BEST - WORST)
    pixels = scene.pixels + deviation * rng.standard_normal(scene.pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def draw_score(rng: np.random.Generator) -> float:
    """A mean opinion score from 1.0 to 5.0, with one decimal."""
    return float(round(rng.uniform(WORST, BEST), 1))
