"""Where a model comes from and where it goes: whether two names mean one directory, and a device's name."""

from __future__ import annotations

from pathlib import Path

import torch

from winnow.devices import SHARDED
from winnow.errors import UserError
from winnow.manifest import place


def one_place(model_theta: str | Path, model_t: str | Path) -> bool:
    """Whether both are the same files, in whatever words."""
    places = [place(each) for each in (model_theta, model_t)]
    if None in places:
        return str(model_theta) == str(model_t)
    return len({each.resolve() for each in places if each}) == 1


def usable(device: str, flag: str) -> str:
    """A device's name, `auto` resolved and a GPU numbered.

    Raises:
        UserError: no device's name, or a GPU that torch cannot use.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == SHARDED:
        return device
    try:
        found = torch.device(device)
    except RuntimeError as error:
        expected = f"auto, cpu, cuda, cuda:1 … or {SHARDED}"
        raise UserError(flag, repr(device), expected, "correct the name") from error
    if found.type != "cuda":
        return device
    index = found.index or 0
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise UserError(
            flag,
            device,
            f"one of the {count} GPUs that this process sees" if count else "a GPU that torch can use",
            "choose another, or ask for more" if count else "make setup ENV=cuda, or choose the device cpu",
        )
    return f"cuda:{index}"
