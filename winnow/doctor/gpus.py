"""The GPUs that the driver shows, and whether torch sees the same."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from winnow.doctor.commands import ask
from winnow.doctor.finding import FAIL, OK, WARN, Finding

QUERY = "name,memory.total,driver_version"
TORCH = """
import json, torch
available = torch.cuda.is_available()
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda,
                  "count": torch.cuda.device_count() if available else 0}))
"""
TORCH_TIMEOUT_S = 120
"""On a cold network file system torch takes a minute to import."""


@dataclass(frozen=True)
class Gpu:
    """One device, as nvidia-smi names it; memory in MiB."""

    model: str
    memory_mib: int | None
    driver: str


def check(look_at_torch: bool = False) -> Iterator[Finding]:
    """The machine's GPUs; torch is imported, in another process, where there are some or where asked."""
    answer = ask(["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"], timeout_s=30)
    gpus = parse(answer.output) if not answer.problem else []
    if answer.missing:
        yield Finding(OK, "GPUs", "none here: there is no nvidia-smi (fine for a login node, or on CPUs)")
    elif answer.problem:
        yield Finding(FAIL, "GPUs", answer.problem, "the NVIDIA driver is at fault: reload it, or reboot")
    elif not gpus:
        yield Finding(WARN, "GPUs", "nvidia-smi lists none", "look at the driver's log: dmesg | grep -i nvrm")
    else:
        yield Finding(OK, "GPUs", described(gpus))
    if gpus or look_at_torch:
        yield torch_finding(gpus)


def parse(output: str) -> list[Gpu]:
    """The lines of nvidia-smi's CSV answer to `QUERY`."""
    gpus = []
    for line in output.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3:
            gpus.append(Gpu(parts[0], int(parts[1]) if parts[1].isdigit() else None, parts[2]))
    return gpus


def described(gpus: list[Gpu]) -> str:
    """``2 × NVIDIA H100 80GB HBM3, 80 GiB each; driver 580.65``."""
    kinds = Counter((gpu.model, gpu.memory_mib) for gpu in gpus)
    told = [
        f"{count} × {model}" + (f", {memory / 1024:.0f} GiB" if memory else "")
        for (model, memory), count in kinds.items()
    ]
    return f"{'; '.join(told)}; driver {gpus[0].driver}"


def torch_finding(gpus: list[Gpu]) -> Finding:
    """Whether the jobs' Python has a torch that sees the GPUs."""
    python = os.environ.get("WINNOW_PYTHON", sys.executable)
    answer = ask([python, "-c", TORCH], timeout_s=TORCH_TIMEOUT_S)
    try:
        told = json.loads(answer.output.splitlines()[-1])
    except (ValueError, IndexError):
        mend = "make setup, or install torch there; `python -c 'import torch'` tells more"
        return Finding(FAIL, "torch", f"does not import in {python}: {answer.problem or 'no answer'}", mend)
    built = f"CUDA {told['cuda']}" if told["cuda"] else "no CUDA"
    sees = f"torch {told['torch']}, built with {built}, sees {told['count']} of {len(gpus)} GPUs"
    if told["count"] == len(gpus):
        return Finding(OK, "torch", sees)
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if masked is not None:
        return Finding(
            WARN, "torch", f"{sees}: CUDA_VISIBLE_DEVICES={masked!r}", "unset CUDA_VISIBLE_DEVICES to use all"
        )
    if not told["cuda"]:
        return Finding(FAIL, "torch", sees, "make setup ENV=cuda")
    mend = (
        f"driver {gpus[0].driver} is too old for CUDA {told['cuda']}: update it, or take a torch built for it"
    )
    return Finding(FAIL, "torch", sees, mend)
