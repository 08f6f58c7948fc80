"""How much memory the slots of a model need, and whether it is there, before anything is drawn."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from winnow.errors import UserError

log = logging.getLogger("generate")

GIB = 2**30
TABLES, TABLES_OF_A_HEAD = 9, 13
"""float32 numbers for each token of the vocabulary and place of a round, at the peak (measured)."""
LACKING = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In the words of torch on a CPU, of CUDA where torch's allocator is not asked (a graph), and of cuBLAS."""
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def bytes_a_token(config: Any, dtype: torch.dtype) -> int | None:
    """Keys and values of one token in all layers of a model; None where its cache is of another kind.

    Args:
        config: the text model's configuration.
        dtype: of the cache.
    """
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        heads = 1
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not heads or not layers or not hidden or hasattr(config, "kv_lora_rank"):
        return None
    dimension = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    return int(2 * layers * heads * dimension * dtype.itemsize)


def bytes_of_a_round(slots: int, drafts: int, width: int, head: bool) -> int:
    """What distributions over the vocabulary take while a round is settled, at most.

    Args:
        slots: sequences that are decoded together.
        drafts: tokens that are drafted in the round.
        width: columns of the logits.
        head: whether they are sorted, for top-k, top-p or temperature 0.
    """
    return (TABLES_OF_A_HEAD if head else TABLES) * 4 * slots * drafts * width


@dataclass(frozen=True)
class Need:
    """The cache of one model.

    Attributes:
        where: the model's name.
        slots: sequences that are decoded together.
        capacity: the longest of them, in tokens.
        a_token: bytes of one token; None where that is not known.
        device: where the cache lies.
    """

    where: str
    slots: int
    capacity: int
    a_token: int | None
    device: torch.device

    @property
    def bytes(self) -> int:
        """Of the whole cache."""
        return self.slots * self.capacity * (self.a_token or 0)


def check(needs: list[Need], shortest: int = 0, deepest: int = 0) -> None:
    """Say how much the slots take, and refuse what cannot fit.

    Args:
        needs: of each model; rounds are settled where the first one lies.
        shortest, deepest: bytes that a round takes beside the caches, of one draft and of the most.

    Raises:
        UserError: it is more than a device has free.
    """
    for device in dict.fromkeys(need.device for need in needs):
        unknown = [need.where for need in needs if need.device == device and need.a_token is None]
        if unknown:
            log.info("how much the cache of %s takes is not known before it is there", ", ".join(unknown))
        here = [need for need in needs if need.device == device and need.a_token is not None]
        if not here:
            continue
        settles = device == needs[0].device
        caches, free = sum(need.bytes for need in here), available(device)
        total = caches + settles * shortest
        slots, capacity = here[0].slots, max(need.capacity for need in here)
        log.info(
            "%d slots of up to %s tokens take at most %.2f GiB of %s%s",
            slots,
            f"{capacity:,}",
            caches / GIB,
            device,
            f", a round up to {deepest / GIB:.2f} GiB more" if settles and deepest else "",
        )
        if free is not None and total > free:
            fitting = free * slots // total
            raise UserError(
                " and ".join(need.where for need in here),
                f"{slots} slots of {capacity:,} tokens would take {total / GIB:.1f} GiB, "
                f"{caches / GIB:.1f} of them for the cache",
                f"no more than the {free / GIB:.1f} GiB that {device} has free",
                f"set batch_size to {fitting} or less, or lower max_new_tokens"
                if fitting
                else "lower max_new_tokens, or leave out the longest prompts",
            )


def available(device: torch.device) -> int | None:
    """Bytes that a device has free; None where that cannot be told."""
    if device.type == "cuda":
        # What torch holds without using it, from earlier caches, is free as well.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    free = [_free_of_the_machine(), _free_of_the_group()]
    return min((each for each in free if each is not None), default=None)


def _free_of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


def _free_of_the_group() -> int | None:
    """What the container, or the cluster's job, may still take (control groups, version 2)."""
    try:
        own = OWN_GROUP.read_text().strip().rpartition("::")[2].lstrip("/")
    except OSError:
        return None
    folder, free = GROUPS / own, []
    while folder.is_relative_to(GROUPS):
        limit = _number(folder / "memory.max")
        used = _number(folder / "memory.current")
        if limit is not None and used is not None:
            free.append(limit - used + _file_pages(folder / "memory.stat"))
        folder = folder.parent
    return min(free, default=None)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # no such group, or no limit ("max")


def _file_pages(file: Path) -> int:
    """Bytes that the kernel would give back before it refuses any."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def release() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in LACKING)
    )
