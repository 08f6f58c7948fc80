"""Winnow's engine beside other programs, on one set of weights, and on the embedded example's models."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import clock
from benchmarks import qstar_rivals as rivals
from benchmarks.qstar_models import SHAPES, plain
from benchmarks.qstar_pair import Pair, in_turn, speed, warm_up
from benchmarks.qstar_workload import N, Work, noise_bank
from winnow import jsonl
from winnow.qstar import OptimalSampler
from winnow.qstar.decoder import Decoder
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import OneModel, TwoPrompts
from winnow.records import Prompt

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "arithmetic"


def beside_others(
    pair: Pair, strength: float, work: Work, prompts: int, vllm: str | None
) -> dict[str, float]:
    """Ratios over transformers' `generate`, over a lockstep as system C has it, and over vLLM."""
    both, one = (work.rows(prompts, two) for two in (True, False))
    slots, mixture = pair.slots, pair.mixed(strength)
    tokens = sum(row.max_new_tokens for row in one)
    teacher, student = plain(pair.teacher), plain(pair.student)
    bank = noise_bank(strength, SHAPES[teacher.name].vocabulary).to(teacher.device)

    def static(side: Callable[[], float], *models: LoadedModel) -> float:
        with rivals.own_attention(*models):
            return tokens / side()

    speeds = in_turn(
        work,
        {
            "teacher": lambda: speed(pair.alone, "policy", one, slots)[0],
            "generate": lambda: static(lambda: rivals.static_generate(teacher, one, slots), teacher),
            "q*": lambda: speed(mixture, "kl_symmetry", both, slots)[0],
            "static lockstep": lambda: static(
                lambda: rivals.static_lockstep(student, teacher, both, slots, bank), student, teacher
            ),
        },
    )
    told = {
        f"teacher alone over transformers generate, {slots} slots": speeds["teacher"] / speeds["generate"],
        f"q* over a static-batch lockstep, {slots} slots": speeds["q*"] / speeds["static lockstep"],
    }
    if vllm:
        theirs = tokens / rivals.vllm_offline(vllm, teacher, one, slots)
        print(f"  vLLM offline, {slots} sequences: {theirs:.1f} tok/s")
        told[f"teacher alone over vLLM offline, {slots} slots"] = speeds["teacher"] / theirs
    return told


def two_prompts(loaded: LoadedModel, slots: int, work: Work, prompts: int) -> dict[str, float]:
    """One set of weights with two prompts, over the same model alone: as many completions, as many rows."""
    both, one = (work.rows(prompts, two) for two in (True, False))
    half, whole = (Decoder(loaded, loaded.width, count, work.capacity) for count in (slots // 2, slots))
    few, lone, mixture = OneModel(half), OneModel(whole), TwoPrompts(whole)
    warm_up(few, "policy", slots // 2)
    warm_up(lone, "policy", slots)
    warm_up(mixture, "kl_symmetry", slots // 2)
    speeds = in_turn(
        work,
        {
            "alone": lambda: speed(few, "policy", one, slots // 2)[0],
            "rows": lambda: speed(lone, "policy", one, slots)[0],
            "q*": lambda: speed(mixture, "kl_symmetry", both, slots // 2)[0],
        },
    )
    tokens, read = speeds["q*"] / speeds["alone"], 2 * speeds["q*"] / speeds["rows"]
    return {
        f"same weights, two prompts, tokens over plain decoding's, {slots // 2} completions": tokens,
        f"same weights, two prompts, rows over plain decoding's, {slots} rows": read,
    }


def embedded(slots: int, repeats: int, dtype: str, device: str) -> dict[str, float]:
    """The embedded example's own models, real prompts and β; the student is hardly smaller."""
    prompts = []
    for index, row in enumerate(jsonl.rows(EXAMPLE / "data" / "train.jsonl")):
        if index == 4 * slots:
            break
        asked = f"What is {row['problem']}?"
        shown = [
            [{"role": "user", "content": text}] for text in (asked, f"{asked} The answer is {row['answer']}.")
        ]
        prompts.append(Prompt(str(index), *shown))
    policy, teacher = (str(EXAMPLE / "models" / name) for name in ("policy-step-460", "teacher"))
    parameters = SamplingParameters(max_new_tokens=64)
    speeds, said = {}, ""
    for alpha in ("teacher", "kl_symmetry"):
        sampler = OptimalSampler(policy, teacher, alpha, parameters=parameters, dtype=dtype, device=device)
        work = [
            row
            for prompt in prompts
            for row in sampler.rows(prompt, [(f"{prompt.id}/{i}", N * int(prompt.id) + i) for i in range(N)])
        ]
        times = []
        for _ in range(repeats):
            start = clock.now(torch.device(device))
            drawn = list(sampler.draw(work, slots))
            taken = clock.now(torch.device(device)) - start
            times.append(sum(len(each.token_ids) for each in drawn) / taken)
        speeds[alpha] = statistics.median(times)
        if alpha == "kl_symmetry":
            betas = [beta for each in drawn if each.metrics is not None for beta in each.metrics[:, -1]]
            said = f"embedded models, {slots} slots, β {statistics.mean(betas):.2f}"
    return {f"q* over the teacher alone, {said}": speeds["kl_symmetry"] / speeds["teacher"]}
