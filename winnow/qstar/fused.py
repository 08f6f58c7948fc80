"""Logits in, tokens out, in one launch: the solver and the draw of `kernel` for a batch of rows."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from winnow.arms import Alpha
from winnow.qstar import kernel
from winnow.qstar.alpha import TOLERANCE
from winnow.qstar.roots import MAX_PASSES

_METHODS = {
    "policy": kernel.FIXED,
    "teacher": kernel.FIXED,
    "fixed": kernel.FIXED,
    "kl_symmetry": kernel.KL_SYMMETRY,
    "entropy": kernel.ENTROPY,
    "reverse_kl_symmetry": kernel.REVERSE_KL_SYMMETRY,
}
BLOCK = 4096
"""Tokens that a program reads at a time: eight for each of its threads. Not tuned on a GPU yet."""
WARPS = 16


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a batch; each a tensor [rows] on the logits' device, float32 where not said.

    Attributes:
        token: the token of the step, int64; −1 where a model gave NaN or nothing at all.
        accepted: whether it is the student's draft, bool.
        alpha, log_z, kl_theta, kl_t, ess_theta, ess_t, beta: see `alpha.AlphaSolution`; NaN where
            the token is −1.
        log_q: log q* of the token, in nats; NaN likewise.
        passes: evaluations of the vocabulary that the solver took, int64.
        disjoint: rows without common support, drawn from the teacher, bool.
        lost: 1 where the student gave no distribution, else 2 where the teacher did not, else 0, int64.
    """

    token: Tensor
    accepted: Tensor
    alpha: Tensor
    log_z: Tensor
    kl_theta: Tensor
    kl_t: Tensor
    ess_theta: Tensor
    ess_t: Tensor
    beta: Tensor
    log_q: Tensor
    passes: Tensor
    disjoint: Tensor
    lost: Tensor


def supports(alpha: Alpha) -> bool:
    """Whether the kernel knows the method: all but `ess_balance`, which the torch solver serves."""
    return alpha.method in _METHODS


def verify(
    logits_theta: Tensor,
    logits_t: Tensor,
    drafted: Tensor,
    accept: Tensor,
    residual: Tensor,
    alpha: Alpha,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
    block: int = BLOCK,
) -> Step:
    """Accept what the student drafted with probability min(1, q*/π_θ), else draw from (q* − π_θ)₊.

    Speculative sampling with q* as its target (arXiv 2302.01318, algorithm 2).

    Args:
        logits_theta: the student's, [rows, vocabulary], bfloat16, float16 or float32; the last
            dimension contiguous. What was drafted must come from their softmax at `temperature`.
        logits_t: the teacher's, of the same shape and device.
        drafted: token ids [rows], int64.
        accept, residual: numbers in [0, 1) [rows], float64, as `randomness.uniforms` gives them.
        alpha: the method; see `supports`.
        temperature: divides both models' logits; above 0.
        tolerance: of the solver; see `roots.find_root`.
        block: tokens read at a time, a power of 2.

    No truncation: q* keeps its whole support. Nothing is waited for on the host.

    Raises:
        ValueError: shapes differ, or what the kernel does not know.
    """
    return _launch(logits_theta, logits_t, drafted, accept, residual, alpha, temperature, tolerance, block)


def sample(
    logits_theta: Tensor,
    logits_t: Tensor,
    draws: Tensor,
    alpha: Alpha,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
    block: int = BLOCK,
) -> Step:
    """Draw from q* itself, by the inverse of its distribution function; see `verify`.

    Args:
        draws: numbers in [0, 1) [rows], float64.
    """
    return _launch(logits_theta, logits_t, None, draws, draws, alpha, temperature, tolerance, block)


def _launch(
    logits_theta: Tensor,
    logits_t: Tensor,
    drafted: Tensor | None,
    accept: Tensor,
    draws: Tensor,
    alpha: Alpha,
    temperature: float,
    tolerance: float,
    block: int,
) -> Step:
    rows, width = logits_theta.shape
    if logits_theta.shape != logits_t.shape:
        raise ValueError(f"student {tuple(logits_theta.shape)} and teacher {tuple(logits_t.shape)} differ")
    if not supports(alpha) or temperature <= 0 or logits_theta.dtype == torch.float64:
        raise ValueError(
            f"{alpha.name} at temperature {temperature:g} in {logits_theta.dtype} is for `mixture.mix`"
        )
    if logits_theta.stride(1) != 1 or logits_t.stride(1) != 1:
        raise ValueError("the logits of a row must lie side by side")
    device = logits_theta.device
    numbers = torch.empty(rows, 8, dtype=torch.float32, device=device)
    counts = torch.empty(rows, 5, dtype=torch.int64, device=device)
    # Triton launches on the current device, wherever the tensors lie.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel.step_kernel[(rows,)](
            logits_theta,
            logits_t,
            logits_theta.stride(0),
            logits_t.stride(0),
            width,
            1.0 / temperature,
            0.0 if alpha.weight is None else alpha.weight,
            tolerance,
            counts if drafted is None else drafted.contiguous(),
            accept.double().contiguous(),
            draws.double().contiguous(),
            numbers,
            counts,
            METHOD=_METHODS[alpha.method],
            SPECULATIVE=drafted is not None,
            LIMIT=MAX_PASSES + 2,
            BLOCKS=triton.next_power_of_2(triton.cdiv(width, block)),
            BLOCK=block,
            num_warps=WARPS,
        )
    token, accepted, passes, disjoint, lost = counts.unbind(1)
    weight, log_z, kl_theta, kl_t, ess_theta, ess_t, beta, log_q = numbers.unbind(1)
    return Step(
        token=token,
        accepted=accepted.bool(),
        alpha=weight,
        log_z=log_z,
        kl_theta=kl_theta,
        kl_t=kl_t,
        ess_theta=ess_theta,
        ess_t=ess_t,
        beta=beta,
        log_q=log_q,
        passes=passes,
        disjoint=disjoint.bool(),
        lost=lost,
    )
