"""Measure how often each model of the arithmetic example is right on the held-out prompts, sampled at T = 1.

    python examples/arithmetic/measure_models.py

takes a minute on two busy cores. Each prompt is answered four times; the teacher is asked with and
without the answer in its prompt. Ends with an error if a rate lies outside its band.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from conversations import Messages, is_right, student_messages, teacher_messages
from make_prompts import Operands, draw_splits
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

MODELS = Path(__file__).parent / "models"
POLICY_STEPS = (250, 460, 530)
THREADS = 2
SAMPLES = 4
SEED = 7
LONGEST_COMPLETION = 64


@dataclass(frozen=True)
class Band:
    """The rates between which a model has to lie, asked in one way."""

    model: str
    ask: Callable[[Operands], Messages]
    lowest: float
    highest: float


BANDS = [
    Band(f"policy-step-{POLICY_STEPS[0]}", student_messages, 0.05, 0.15),
    Band(f"policy-step-{POLICY_STEPS[1]}", student_messages, 0.25, 0.45),
    Band(f"policy-step-{POLICY_STEPS[2]}", student_messages, 0.55, 0.75),
    Band("teacher", teacher_messages, 0.95, 1.00),
    Band("teacher", student_messages, 0.80, 1.00),
]


@dataclass(frozen=True)
class Measurement:
    """The share of right completions and their lengths in tokens, the end-of-turn token included."""

    band: Band
    rate: float
    lengths: list[int]

    @property
    def in_band(self) -> bool:
        return self.band.lowest <= self.rate <= self.band.highest

    def __str__(self) -> str:
        asked = "with the answer" if self.band.ask is teacher_messages else "without the answer"
        mean_length = sum(self.lengths) / len(self.lengths)
        return (
            f"{self.band.model:16} asked {asked:18} {self.rate:6.1%} right"
            f" (band {self.band.lowest:.0%} to {self.band.highest:.0%}),"
            f" tokens {min(self.lengths)} / {mean_length:.1f} / {max(self.lengths)}"
        )


def measure(band: Band, folder: Path) -> Measurement:
    """Sample a stored model, in float32, on every held-out prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    problems = [operands for operands in draw_splits().heldout for _ in range(SAMPLES)]
    prompts = tokenizer.apply_chat_template(
        [band.ask(operands) for operands in problems],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    torch.manual_seed(SEED)
    with torch.inference_mode():
        sequences = model.generate(
            **prompts, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST_COMPLETION
        )
    completions = sequences[:, prompts["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
    rights = [is_right(text, operands) for text, operands in zip(texts, problems, strict=True)]
    lengths = (completions != tokenizer.pad_token_id).sum(dim=1).tolist()
    return Measurement(band, rate=sum(rights) / len(rights), lengths=lengths)


def measure_all(models: Path) -> list[Measurement]:
    """Measure every model, printing each result as it comes."""
    measurements = []
    for band in BANDS:
        measurements.append(measure(band, models / band.model))
        print(measurements[-1], flush=True)
    return measurements


def require_bands(measurements: list[Measurement]) -> None:
    """Exit with an error that names the models outside their bands."""
    outside = [str(measurement) for measurement in measurements if not measurement.in_band]
    if outside:
        sys.exit("outside the band; choose other steps in the recipe:\n" + "\n".join(outside))


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
