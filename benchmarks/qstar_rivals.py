"""What benchmarks/qstar.py has to beat: the same completions by other programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks import clock
from winnow.qstar import attention
from winnow.qstar.models import LoadedModel
from winnow.qstar.scheduler import Row


@contextmanager
def own_attention(*models: LoadedModel) -> Iterator[None]:
    """transformers' own attention, as its users run it."""
    for loaded in models:
        loaded.model.set_attn_implementation("sdpa")
    yield
    for loaded in models:
        loaded.model.set_attn_implementation(attention.NAME)


def in_batches(rows: list[Row], slots: int) -> list[list[Row]]:
    """Static batches, in the order of the prompts."""
    return [rows[start : start + slots] for start in range(0, len(rows), slots)]


def padded(prompts: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


@torch.inference_mode()
def static_generate(loaded: LoadedModel, rows: list[Row], slots: int) -> float:
    """Seconds of transformers' `generate`: a batch runs until its longest row is done."""
    model: Any = loaded.model
    start = clock.now(loaded.device)
    for batch in in_batches(rows, slots):
        ids, mask = padded([row.prompt for row in batch])
        longest = max(row.max_new_tokens for row in batch)
        model.generate(
            input_ids=ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            do_sample=True,
            top_k=0,
            max_new_tokens=longest,
            min_new_tokens=longest,
            pad_token_id=0,
        )
    return clock.now(loaded.device) - start


@torch.inference_mode()
def static_lockstep(theta: LoadedModel, t: LoadedModel, rows: list[Row], slots: int, noise: Tensor) -> float:
    """Seconds of q* as system C's transformers backend draws it: both models at each token, static
    batches, no shared prefill, and α by 20 bisections of the difference of the KL divergences.
    """
    models: list[Any] = [theta.model, t.model]
    start = clock.now(t.device)
    for batch in in_batches(rows, slots):
        read = [padded([row.prompts[i] for row in batch]) for i in (0, 1)]
        ids, masks = ([each[i].to(t.device) for each in read] for i in (0, 1))
        caches = [DynamicCache(config=model.config) for model in models]
        for _ in range(max(row.max_new_tokens for row in batch)):
            logits = []
            for i, model in enumerate(models):
                places = (masks[i].cumsum(1) - 1).clamp_min(0)[:, -ids[i].shape[1] :]
                out = model(
                    input_ids=ids[i],
                    attention_mask=masks[i],
                    position_ids=places,
                    past_key_values=caches[i],
                    use_cache=True,
                    logits_to_keep=1,
                )
                logits.append(out.logits[:, -1].float())
            logits[1] = logits[0] + noise[ids[0][:, -1] * 31 % len(noise)]
            token = torch.multinomial(bisected(*logits).exp(), 1)
            ids = [token, token]
            masks = [torch.cat([mask, torch.ones_like(token)], dim=1) for mask in masks]
    return clock.now(t.device) - start


def bisected(first: Tensor, second: Tensor, steps: int = 20) -> Tensor:
    """log q* at KL symmetry, [rows, vocabulary]."""
    s, t = first.log_softmax(-1), second.log_softmax(-1)
    low, high = s.new_zeros(len(s), 1), s.new_ones(len(s), 1)
    for _ in range(steps):
        alpha = (low + high) / 2
        log_q = ((1 - alpha) * s + alpha * t).log_softmax(-1)
        q = log_q.exp()
        nearer = (q * (log_q - s)).sum(-1, keepdim=True) < (q * (log_q - t)).sum(-1, keepdim=True)
        low, high = torch.where(nearer, alpha, low), torch.where(nearer, high, alpha)
    alpha = (low + high) / 2
    return ((1 - alpha) * s + alpha * t).log_softmax(-1)


VLLM = """
import json, sys, time
from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
model, work, slots = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
llm = LLM(model, dtype="float32", max_model_len=1024, max_num_seqs=slots, enforce_eager=True,
          skip_tokenizer_init=True, enable_prefix_caching=True)
def run(work):
    prompts = [TokensPrompt(prompt_token_ids=p) for p, _ in work]
    each = [SamplingParams(max_tokens=n, ignore_eos=True, detokenize=False) for _, n in work]
    llm.generate(prompts, each, use_tqdm=False)
run(work[:slots])
start = time.perf_counter()
run(work)
print("SECONDS", time.perf_counter() - start)
"""


def vllm_offline(python: str, loaded: LoadedModel, rows: list[Row], slots: int) -> float:
    """Seconds of vLLM's offline `generate`, in an environment of its own that holds it.

    Raises:
        SystemExit: it did not run; its last lines are shown.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded.model.save_pretrained(folder / "model")
        (folder / "work.json").write_text(json.dumps([(row.prompt, row.max_new_tokens) for row in rows]))
        command = [
            python,
            "-c",
            textwrap.dedent(VLLM),
            str(folder / "model"),
            str(folder / "work.json"),
            str(slots),
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        for line in done.stdout.splitlines():
            if line.startswith("SECONDS"):
                return float(line.split()[1])
    raise SystemExit(f"vLLM did not run:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    sys.exit("a part of benchmarks/qstar.py")
