"""Measure how well each step of the image model rates and compares pictures that it has not seen, at T = 1.

    python examples/agiqa/measure_models.py

takes half a minute. A rating is right within 0.75 of the mean opinion score, a comparison when it names the
better picture. Ends with an error if a figure lies outside its band.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from conversations import COMPARE, RATE, THINK_FIRST, verdict
from pictures import draw_scene, draw_score, noisy
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

MODELS = Path(__file__).parent / "models"
STEPS = (110, 150, 210)
THREADS = 1
QUESTIONS = 400
SEED = 7
LONGEST_COMPLETION = 40
TOLERANCE = 0.75


def stated(text: str) -> str | None:
    """The answer, where there is one."""
    found = re.findall(r"<answer>(.*?)</answer>", text)
    return found[0] if len(found) == 1 else None


def near(text: str, score: float) -> bool:
    """Whether a rating is within the tolerance."""
    try:
        return abs(float(stated(text) or "nan") - score) <= TOLERANCE
    except ValueError:
        return False


def ask(kind: str) -> list[tuple[list[Image.Image], str, Callable[[str], bool]]]:
    """Pictures, a question about them, and who is right."""
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(QUESTIONS):
        scene, scores = draw_scene(rng), [draw_score(rng), draw_score(rng)]
        pictures = [Image.fromarray(noisy(scene, score, rng)).convert("RGB") for score in scores]
        if kind == "rate":
            found.append((pictures[:1], RATE, lambda text, score=scores[0]: near(text, score)))
            continue
        asked = COMPARE.format(caption=scene.caption) + THINK_FIRST * (kind == "compare, thinking")
        right = verdict(*scores)
        if scores[0] != scores[1]:
            found.append((pictures, asked, lambda text, right=right: stated(text) == right))
    return found


@dataclass(frozen=True)
class Band:
    """The rates between which a model has to lie, asked in one way."""

    step: int
    kind: str
    lowest: float
    highest: float


BANDS = [
    Band(110, "rate", 0.20, 0.37),
    Band(150, "rate", 0.37, 0.50),
    Band(210, "rate", 0.50, 0.65),
    Band(110, "compare", 0.40, 0.60),
    Band(150, "compare", 0.63, 0.82),
    Band(210, "compare", 0.68, 0.88),
    Band(110, "compare, thinking", 0.40, 0.60),
    Band(150, "compare, thinking", 0.63, 0.82),
    Band(210, "compare, thinking", 0.68, 0.88),
]


@dataclass(frozen=True)
class Measurement:
    """The share of right answers."""

    band: Band
    rate: float
    example: str

    @property
    def in_band(self) -> bool:
        return self.band.lowest <= self.rate <= self.band.highest

    def __str__(self) -> str:
        return (
            f"policy-step-{self.band.step:<5} {self.band.kind:18} {self.rate:6.1%} right "
            f"(band {self.band.lowest:.0%} to {self.band.highest:.0%})  {self.example}"
        )


def measure(band: Band, models: Path) -> Measurement:
    """Sample a stored model, in float32."""
    folder = models / f"policy-step-{band.step}"
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    asked = ask(band.kind)
    batch = processor(
        text=[f"<|user|>{question}<|im_end|><|assistant|>" for _, question, _ in asked],
        images=[each for pictures, _, _ in asked for each in pictures],
        padding=True,
        return_tensors="pt",
    )
    torch.manual_seed(SEED)
    with torch.inference_mode():
        sequences = model.generate(
            **batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST_COMPLETION
        )
    texts = processor.batch_decode(sequences[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    rights = [right(text) for text, (_, _, right) in zip(texts, asked, strict=True)]
    return Measurement(band, sum(rights) / len(rights), texts[0])


def measure_all(models: Path) -> list[Measurement]:
    """Measure every step, printing each result as it comes."""
    measurements = []
    for band in BANDS:
        measurements.append(measure(band, models))
        print(measurements[-1], flush=True)
    return measurements


def require_bands(measurements: list[Measurement]) -> None:
    """Exit with an error that names what is outside its band."""
    outside = [str(measurement) for measurement in measurements if not measurement.in_band]
    if outside:
        sys.exit("outside the band; choose other steps:\n" + "\n".join(outside))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=MODELS,
        help="folder that holds the models (default: models, beside this file)",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    logging.disable_progress_bar()
    require_bands(measure_all(arguments.models))


if __name__ == "__main__":
    main()
