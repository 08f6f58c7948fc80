"""generate.py told of its end, and over several devices: the same texts as one undisturbed process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples/arithmetic/models"
PROMPTS = ROOT / "examples/arithmetic/data/heldout.jsonl"


def generate(output: Path, *more: str, devices: str = "") -> subprocess.Popen[str]:
    command = [
        sys.executable, "scripts/generate.py", "--dataset", str(PROMPTS), "--num_samples", "24",
        "--prompt_template", "What is {{ problem }}?", "--num_rollout", "4", "--max_new_tokens", "48",
        "--model_theta", str(MODELS / "policy-step-460"), "--model_t", str(MODELS / "teacher"),
        "--alpha_method", "kl_symmetry", "--dtype", "float64", "--save_diagnostics",
        "--output", str(output), *more,
    ]  # fmt: skip
    # Nothing of a cluster that the tests themselves may run on.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, "CUDA_VISIBLE_DEVICES": devices, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "out.jsonl"
    process = generate(output, "--batch_size", "32")
    assert process.communicate()[1] and process.returncode == 0
    return files(output)


def files(output: Path) -> dict[str, bytes]:
    """Everything that was written, by name."""
    return {path.name: path.read_bytes() for path in output.parent.iterdir()}


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("end", ["SIGTERM", "deadline"])
def test_told_of_its_end_it_stops_and_goes_on(
    tmp_path: Path, undisturbed: dict[str, bytes], end: str
) -> None:
    output = tmp_path / "out.jsonl"
    journal = tmp_path / "out.jsonl.partial"
    deadline = "7" if end == "deadline" else "none"
    process = generate(output, "--batch_size", "1", "--deadline", deadline)
    if end == "SIGTERM":
        while lines(journal) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    if process.returncode == 0 and end == "deadline":
        pytest.skip("this machine drew everything within the deadline")
    assert process.returncode == 75, said
    assert "what is finished is kept, run again to go on" in said and "Traceback" not in said
    kept = lines(journal) - 1
    assert journal.read_bytes().endswith(b"\n")
    process = generate(output, "--batch_size", "32")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    if kept > 0:
        assert f"resumed {kept} of 96 completions" in said
    assert files(output) == undisturbed


def test_two_devices_share_the_prompts(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    output = tmp_path / "out.jsonl"
    process = generate(output, "--batch_size", "16", "--devices", "2", devices="0,1")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "2 workers, on the GPUs 0, 1" in said
    assert files(output) == undisturbed


def test_a_worker_that_dies_is_noticed_and_loses_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    journal = tmp_path / "out.jsonl.partial"
    process = generate(output, "--batch_size", "1", "--devices", "2", devices="0,1")
    while lines(journal) < 5:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True
    )
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, 2), said
    assert "a worker died with exit code -9" in said
    assert lines(journal) >= 5
    assert not subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True).stdout
