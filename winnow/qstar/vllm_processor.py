"""q* inside vLLM: a logits processor in the teacher's engine that hosts the student.

One forward pass of the student for each step of the engine, over all of its rows, in a cache of its own. The
teacher's logits are replaced by those whose softmax at the request's temperature is q*; top-k, top-p, stop
strings and the draw itself stay vLLM's. It is loaded by vLLM's process, which has its settings from
`additional_config`; each request brings the student's prompt as `student_prompt` among its extra arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import vllm
from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.qstar import diagnostics
from winnow.qstar.chunks import leave_threads
from winnow.qstar.decoder import Decoder
from winnow.qstar.loading import load
from winnow.qstar.mixture import mix
from winnow.qstar.probe import probed
from winnow.qstar.vocabulary import common_width, token_map
from winnow.serving.token_metrics import Writer

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig

KEY = "winnow"
"""Of `additional_config`: `student`, `alpha`, `dtype`, `capacity` and, if wanted, a folder for `metrics`."""
PROMPT = "student_prompt"
"""Of a request's extra arguments: token ids."""
KNOWN = ("0.32.",)
"""Versions whose interface this is written for."""


@dataclass
class _Row:
    """A request in vLLM's batch.

    Attributes:
        prompt: what the student sees, as token ids.
        outputs: the completion so far; vLLM's own list, which grows.
        temperature: of the draw that follows.
        seed: of the completion; None where the request has none.
        held: whether the student's cache has it.
    """

    prompt: tuple[int, ...]
    outputs: list[int]
    temperature: float
    seed: int | None
    held: bool = False


class QStarProcessor(LogitsProcessor):
    """See the module. Rows without a student's prompt are left as they are.

    Raises:
        RuntimeError: vLLM of a version that this is not written for.
        UserError: the student cannot be used, or its tokenizer is another one.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        if not vllm.__version__.startswith(KNOWN):
            known = ", ".join(f"{each}x" for each in KNOWN)
            raise RuntimeError(
                f"q* is written for vLLM {known}, this is {vllm.__version__}: install that, or draw with "
                "--backend transformers"
            )
        leave_threads()
        settings: dict[str, Any] = vllm_config.additional_config[KEY]
        model = vllm_config.model_config
        self._alpha = Alpha.parse(settings["alpha"])
        trusted = bool(settings.get("trust_remote_code"))
        student = probed(load(settings["student"], settings["dtype"], str(device), trusted))
        if not student.crops:
            raise UserError(
                student.name,
                "its rows have to be decoded one by one",
                "a student whose rows share a pass, for q* in vLLM",
                "draw with --backend transformers",
            )
        tokenizer = _tokenizer(model.tokenizer, trusted)
        width = common_width(
            token_map(student.tokenizer),
            token_map(tokenizer),
            student.width,
            model.get_vocab_size(),
            f"{settings['student']} and {model.model}",
        )
        slots = vllm_config.scheduler_config.max_num_seqs
        # One more, to swap two.
        self._spare, self._width = slots, width
        self._decoder = Decoder(student, width, slots + 1, settings["capacity"])
        self._rows: list[_Row | None] = [None] * slots
        self._metrics = Writer(settings["metrics"]) if settings.get("metrics") else None

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse a request whose student's prompt is none.

        Raises:
            ValueError: see above; vLLM answers with 400.
        """
        prompt = (sampling_params.extra_args or {}).get(PROMPT)
        sound = isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt)
        if prompt is not None and not sound:
            raise ValueError(f"{PROMPT} has to be a list of token ids, it is {str(prompt)[:80]}")

    def is_argmax_invariant(self) -> bool:
        """q*'s likeliest token need not be the teacher's."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows of vLLM's batch: which left, which came, which moved."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows[index] = None
        for index, parameters, _, outputs in batch_update.added:
            prompt = (parameters.extra_args or {}).get(PROMPT)
            temperature = 1.0 if parameters.temperature == 0 else parameters.temperature
            self._rows[index] = (
                None if prompt is None else _Row(tuple(prompt), outputs, temperature, parameters.seed)
            )
        for source, target, direction in batch_update.moved:
            if direction is MoveDirectionality.SWAP:
                self._copy(target, self._spare)
                self._copy(source, target)
                self._copy(self._spare, source)
                self._rows[source], self._rows[target] = self._rows[target], self._rows[source]
            else:
                self._copy(source, target)
                self._rows[target], self._rows[source] = self._rows[source], None

    def apply(self, logits: Tensor) -> Tensor:
        """The teacher's logits [rows, vocabulary] become those of q*, up to a constant of each row."""
        rows = [(slot, row) for slot, row in enumerate(self._rows[: len(logits)]) if row is not None]
        if not rows:
            return logits
        with torch.inference_mode():
            log_q = self._mixed(rows, logits)
        mixed = torch.full_like(logits[: len(rows)], -torch.inf)
        mixed[:, : self._width] = log_q
        slots = torch.tensor([slot for slot, _ in rows], device=logits.device)
        return logits.index_copy(0, slots, mixed)

    def _mixed(self, rows: list[tuple[int, _Row]], logits: Tensor) -> Tensor:
        slots = torch.tensor([slot for slot, _ in rows], device=logits.device)
        temperature = torch.tensor([row.temperature for _, row in rows], device=logits.device)[:, None]
        student = self._student(rows)[slots]
        log_theta, log_t = (
            torch.log_softmax(each[:, : self._width].float() / temperature, dim=-1)
            for each in (student, logits[slots])
        )
        log_q, solution = mix(log_theta, log_t, self._alpha)
        if self._metrics:
            self._tell(self._metrics, [row for _, row in rows], diagnostics.stack(solution))
        # vLLM divides by the temperature before it draws.
        return log_q * temperature

    def _tell(self, metrics: Writer, rows: list[_Row], values: Tensor) -> None:
        known = [index for index, row in enumerate(rows) if row.seed is not None]
        metrics.write(
            [int(rows[index].seed or 0) for index in known],
            [len(rows[index].outputs) for index in known],
            values[known].float().cpu().numpy(),
        )

    def _student(self, rows: list[tuple[int, _Row]]) -> Tensor:
        """The student's logits of the leading slots, [slots, width]; those without a row mean nothing."""
        count = rows[-1][0] + 1
        self._catch_up(rows, count)
        last = [0] * count
        for slot, row in rows:
            last[slot] = (row.outputs or row.prompt)[-1]
        if min(last) < 0:
            raise RuntimeError("vLLM has not told the last token yet: start it with --no-async-scheduling")
        self._decoder.place(count, 1)
        return self._decoder.forward(torch.tensor(last, device=self._decoder.device)[:, None])[:, 0]

    def _catch_up(self, rows: list[tuple[int, _Row]], count: int) -> None:
        """Read what the cache lacks: whole sequences of new rows, nothing but a length of the others."""
        counts, entries = [0] * count, []
        for slot, row in rows:
            behind = len(row.prompt) + len(row.outputs) - (self._decoder.lengths[slot] + 1)
            if row.held and behind in (0, 1):
                counts[slot] = behind
            else:
                # New, or again after it was preempted.
                entries.append((slot, (*row.prompt, *row.outputs)))
                row.held = True
        self._decoder.advance(counts)
        if entries:
            self._decoder.admit(entries)

    def _copy(self, source: int, target: int) -> None:
        row = self._rows[source] if source < len(self._rows) else None
        if source == self._spare or (row is not None and row.held):
            # The token that was read last belongs to the sequence, but its length is told in the next step.
            self._decoder.move(source, target, beyond=1)


def _tokenizer(name: str, trusted: bool) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=trusted)
