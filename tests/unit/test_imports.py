"""What programs may load: those that need no torch start without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = (
    "prompts",
    "score",
    "select",
    "export",
    "publish",
    "diagnose",
    "evaluate",
    "summarize",
    "manifest",
    "generate",
    "train",
    "trace",
)


@pytest.mark.parametrize("name", LIGHT)
def test_starts_without_torch(name):
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('program', 'scripts/{name}.py')\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.path.insert(0, 'scripts')\n"
        "spec.loader.exec_module(module)\n"
        "assert module.flags() and module.main\n"
        "heavy = {'torch', 'transformers', 'datasets', 'trl', 'accelerate'} & sys.modules.keys()\n"
        "print('loaded:', *sorted(heavy))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert found.stdout.split() == ["loaded:"]
