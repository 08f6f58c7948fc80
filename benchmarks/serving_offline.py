"""vLLM's offline `generate`, run by a Python that has vLLM; a part of benchmarks/serving.py.

    python serving_offline.py bare JSON      completions of one model
    python serving_offline.py qstar JSON     of the teacher alone and of q*, by the same engine

The settings are JSON; the last line of standard output is the result, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt

Draw = tuple[list[int], SamplingParams]


def engine(settings: dict[str, Any], **more: Any) -> LLM:
    """As the server is started."""
    return LLM(
        settings["model"],
        dtype="float32",
        max_model_len=settings["longest"],
        max_num_seqs=settings["sequences"],
        enforce_eager=True,
        **more,
    )


def seconds(llm: LLM, draws: list[Draw]) -> tuple[float, int]:
    """(seconds, tokens) of all draws, tokens only: no text is made of them."""
    start = time.perf_counter()
    found = llm.generate(
        [TokensPrompt(prompt_token_ids=ids) for ids, _ in draws], [each for _, each in draws], use_tqdm=False
    )
    taken = time.perf_counter() - start
    return taken, sum(len(choice.token_ids) for request in found for choice in request.outputs)


def bare(settings: dict[str, Any]) -> dict[str, Any]:
    """n completions of each prompt; what a user of `LLM.generate` would write."""
    llm = engine(settings)
    parameters = SamplingParams(n=settings["n"], max_tokens=settings["tokens"], temperature=1.0)
    draws = [(ids, parameters) for ids in settings["prompts"]]
    seconds(llm, draws[: len(draws) // 8])
    taken, tokens = seconds(llm, draws)
    return {"seconds": taken, "tokens": tokens}


def qstar(settings: dict[str, Any]) -> dict[str, Any]:
    """Both sides in turn, the best of several repeats for each."""
    llm = engine(
        settings,
        logits_processors=["winnow.qstar.vllm_processor:QStarProcessor"],
        additional_config={"winnow": settings["winnow"]},
        enable_chunked_prefill=False,
    )
    common = {"max_tokens": settings["tokens"], "temperature": 1.0, "ignore_eos": True, "detokenize": False}

    def draws(mixed: bool) -> list[Draw]:
        return [
            (
                ids,
                SamplingParams(
                    **common, seed=index, extra_args={"student_prompt": ids[:-8]} if mixed else None
                ),
            )
            for index, ids in enumerate(settings["prompts"])
        ]

    rates: dict[str, list[float]] = {"teacher": [], "qstar": []}
    for mixed in (False, True):
        seconds(llm, draws(mixed)[: settings["sequences"]])
    for _ in range(settings["repeats"]):
        for name, mixed in (("teacher", False), ("qstar", True)):
            taken, tokens = seconds(llm, draws(mixed))
            rates[name].append(tokens / taken)
    return {name: max(each) for name, each in rates.items()}


if __name__ == "__main__":
    part, given = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps({"bare": bare, "qstar": qstar}[part](given)))
