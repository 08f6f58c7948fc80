"""How a model computes its attention while it is trained. Needs no torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from winnow.errors import UserError

IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
"""Those of transformers that run code which is installed; it would fetch others, as kernels, from the hub."""
PACKAGES = {"flash_attention_2": "flash-attn", "flash_attention_3": "flash-attn-3"}
"""What an implementation needs beside torch."""


def check_installed(implementation: str | None) -> None:
    """Look for the package that an implementation needs; transformers looks when the weights are loaded.

    Raises:
        UserError: it is not installed.
    """
    package = PACKAGES.get(implementation or "")
    if package is None:
        return
    try:
        version(package)
    except PackageNotFoundError:
        raise UserError(
            f"--attn_implementation {implementation}",
            f"the package {package} is not installed",
            f"{package}, built for this environment's torch and CUDA",
            f"install {package}, or set training.attn_implementation to sdpa or null",
        ) from None


def check_precision(implementation: str | None, dtype: str, bf16: bool) -> None:
    """Hold an implementation against the numbers that it can compute with.

    Raises:
        UserError: it takes half precision alone.
    """
    if implementation in PACKAGES and dtype != "bfloat16" and not bf16:
        raise UserError(
            f"--attn_implementation {implementation}",
            f"--dtype {dtype} without --bf16",
            "half precision, the only one that it computes in",
            "set training.bf16 to true, or training.dtype to bfloat16",
        )
