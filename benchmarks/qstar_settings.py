"""What benchmarks/qstar.py measures on a CPU and on a GPU, and the flags that change it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.qstar_models import SHAPES
from benchmarks.qstar_workload import STRENGTHS, Work
from benchmarks.report import flags
from winnow.qstar.loading import DTYPES

PARTS = ("pairs", "steps", "others", "two_prompts", "embedded")


@dataclass(frozen=True)
class Setting:
    """What is measured on a kind of device unless flags say otherwise.

    Attributes:
        dtype: of the weights.
        pairs: teacher/student, with the strengths of noise.
        slots: sequences in progress.
        parts: of `PARTS`.
        work: how much is drawn.
        fewest: prompts at the least; else half as many as slots.
        beside: slots, and prompts, of the part `others`.
        rows: in progress in the part `two_prompts`.
    """

    dtype: str
    pairs: dict[str, tuple[float, ...]]
    slots: tuple[int, ...]
    parts: tuple[str, ...]
    work: Work
    fewest: int = 2
    beside: tuple[int, int] = (16, 8)
    rows: int = 32

    def prompts(self, slots: int) -> int:
        """So many that slots are filled a few times over."""
        return max(self.fewest, slots // 2)

    @property
    def quick(self) -> Setting:
        """The first pair alone, seconds of it."""
        pair = next(iter(self.pairs))
        return replace(
            self,
            pairs={pair: self.pairs[pair][:1]},
            slots=(8,),
            parts=("pairs", "steps", "others"),
            work=Work(8, 24, 1),
            fewest=1,
            beside=(4, 1),
            rows=4,
        )


SETTINGS = {
    "cpu": Setting(
        "float32",
        {"120M/7M": STRENGTHS, "120M/30M": STRENGTHS[1:]},
        (1, 8, 16, 32, 64),
        ("pairs", "others", "two_prompts", "embedded"),
        Work(40, 160, 3),
    ),
    "cuda": Setting(
        "bfloat16", {"7B/1.5B": STRENGTHS}, (1, 8, 32, 64), PARTS, Work(48, 192, 2, 20), 1, (32, 16)
    ),
}


def asked(doc: str | None, argv: list[str] | None) -> tuple[argparse.Namespace, Setting]:
    """The flags, and what they come to.

    Args:
        doc: the program's description.
        argv: None is the command line.
    """
    parser = flags(doc)
    parser.add_argument("--device", choices=SETTINGS, default="cpu")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights; float32 on the CPU, bfloat16 on CUDA"
    )
    parser.add_argument("--slots", type=int, nargs="+", help="sequences in progress at a time")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what is measured")
    parser.add_argument("--pairs", nargs="+", help="teacher/student, of " + ", ".join(SHAPES))
    parser.add_argument("--noise", type=float, nargs="+", help="its strengths, 0.70 and 0.46 as a rule")
    parser.add_argument("--vllm", help="a Python that has vLLM; on the CPU")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, help="of a row, after which nothing is repeated")
    parser.add_argument("--figure", type=Path, help="draw the ratios into this file")
    parser.add_argument("--profile", type=Path, help="write a table of torch's profiler to this file")
    parser.add_argument("--profile_slots", type=int, default=32)
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    if arguments.device == "cuda" and arguments.vllm:
        parser.error("--vllm: it is run in float32 on a CPU")
    setting = SETTINGS[arguments.device]
    if arguments.quick:
        setting = setting.quick
    pairs = arguments.pairs or setting.pairs
    for pair in pairs:
        names = pair.split("/")
        if len(names) != 2 or not SHAPES.keys() >= {*names}:
            parser.error(f"--pairs {pair}: give teacher/student, each one of {', '.join(SHAPES)}")
        if len({SHAPES[name].vocabulary for name in names}) > 1:
            parser.error(f"--pairs {pair}: they have vocabularies of unequal size")
    return arguments, replace(
        setting,
        dtype=arguments.dtype or setting.dtype,
        pairs={pair: tuple(arguments.noise or setting.pairs.get(pair, STRENGTHS)) for pair in pairs},
        slots=tuple(arguments.slots or setting.slots),
        parts=tuple(arguments.parts or setting.parts),
        work=replace(
            setting.work,
            repeats=arguments.repeats or setting.work.repeats,
            seconds=arguments.seconds or setting.work.seconds,
        ),
    )
