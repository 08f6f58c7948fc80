"""How attention is computed: as the config says, or an error before anything is trained."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from winnow.errors import UserError
from winnow.training import sft
from winnow.training.attention import IMPLEMENTATIONS, PACKAGES, check_installed
from winnow.training.recipe import Recipe

ROOT = Path(__file__).parents[2]


def installed(monkeypatch, *packages):
    def version(name):
        if name not in packages:
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("winnow.training.attention.version", version)


@pytest.mark.parametrize("implementation", [None, *IMPLEMENTATIONS])
def test_a_package_that_is_not_installed_is_named(implementation, monkeypatch):
    package = PACKAGES.get(implementation)
    installed(monkeypatch, *PACKAGES.values())
    check_installed(implementation)
    installed(monkeypatch, *(set(PACKAGES.values()) - {package}))
    if package is None:
        check_installed(implementation)
        return
    with pytest.raises(UserError, match=f"the package {package} is not installed"):
        check_installed(implementation)


@pytest.mark.parametrize("flag", [["--flash_attn"], ["--attn_implementation", "flash_attention_2"]])
def test_the_program_says_so_before_it_looks_at_anything_else(flag, tmp_path):
    command = [sys.executable, str(ROOT / "scripts/train.py"), "--pretrain", "gone", "--train_data", "gone"]
    done = subprocess.run(
        [*command, "--save_path", str(tmp_path / "s"), *flag], capture_output=True, text=True
    )
    assert done.returncode == 2 and "flash-attn is not installed" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("implementation", "dtype", "bf16", "fits"),
    [
        ("flash_attention_2", "float32", False, False), ("flash_attention_3", "float64", False, False),
        ("flash_attention_2", "float32", True, True), ("flash_attention_2", "bfloat16", False, True),
        ("sdpa", "float64", False, True), (None, "float32", False, True),
    ],
)  # fmt: skip
def test_flash_attention_takes_half_precision_alone(implementation, dtype, bf16, fits):
    options = {"attn_implementation": implementation, "dtype": dtype, "bf16": bf16}
    if fits:
        Recipe("p", "d", "c", **options)
        return
    with pytest.raises(UserError, match="half precision"):
        Recipe("p", "d", "c", **options)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_model_has_what_was_chosen(student, implementation):
    model = sft._model(Recipe("p", "d", "c", attn_implementation=implementation), student, False, False)
    assert model.config._attn_implementation == implementation


def test_what_transformers_cannot_load_is_a_users_error(student):
    recipe = Recipe("p", "d", "c", attn_implementation="flash_attention_2", bf16=True)
    with pytest.raises(UserError, match="transformers cannot load it"):
        sft._model(recipe, student, False, False)
