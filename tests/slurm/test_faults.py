"""What goes wrong at night: jobs cancelled, out of time, on a node that dies, and Snakemake itself killed."""

from __future__ import annotations

import pytest
from jobs import SlurmWorkspace, long_generation
from workspace import kill_group

pytestmark = pytest.mark.slow

BLOCK = "completions/train/step-middle/kl_symmetry/00000-of-00001.block-0.jsonl"
LOG = f"logs/{BLOCK.removesuffix('.jsonl')}.log"
TARGET = f"results/small/{BLOCK}"
FEW, MANY = 120, 360
"""Prompts of the block; taken one by one, the many outlast a minute's limit on a fast machine too."""


@pytest.fixture(scope="module")
def undisturbed(prepared: SlurmWorkspace, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The block as an undisturbed run on this machine writes it."""
    space = prepared.copy(tmp_path_factory.mktemp("undisturbed"))
    space.configure(lambda config: block(config, MANY))
    space.run(TARGET)
    return (space.results / BLOCK).read_bytes()


def block(config: dict, prompts: int) -> None:
    long_generation(config)
    config["data"]["train"]["num_samples"] = prompts


def slowly(space: SlurmWorkspace, batch_size: int = 1, runtime: int = 20, prompts: int = FEW) -> None:
    """Row by row and token by token the block takes minutes."""

    def change(config: dict) -> None:
        block(config, prompts)
        config["generation"].update(batch_size=batch_size, draft_tokens=1)
        config["resources"]["generate"]["runtime"] = runtime

    space.configure(change)


def quickly(space: SlurmWorkspace, prompts: int = FEW) -> None:
    """What is left goes in large batches, for the job that runs has read its own; the texts are the same."""
    space.configure(lambda config: block(config, prompts))


def finished(space: SlurmWorkspace) -> int:
    """Completions in the journal."""
    path = space.results / f"{BLOCK}.partial"
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def test_scancel_in_the_middle(space: SlurmWorkspace, undisturbed: bytes) -> None:
    slowly(space, 2)
    process = space.submit(TARGET)
    space.until(lambda: finished(space) >= 20, process)
    quickly(space)
    first = space.jobs("generate_qstar")[0]
    space.cluster.command("scancel", first["JobId"])
    space.finish(process)
    assert len(space.jobs("generate_qstar")) == 2
    resumed(space, undisturbed)


@pytest.mark.parametrize("deadline", ["auto", "none"])
def test_the_time_limit(space: SlurmWorkspace, undisturbed: bytes, deadline: str) -> None:
    """`auto` stops before the limit; with `none` SLURM ends the job at the limit. The retry has more time."""
    slowly(space, runtime=1, prompts=MANY)
    process = space.submit(TARGET, WINNOW_DEADLINE=deadline)
    space.until(lambda: finished(space) >= 1, process)
    quickly(space, MANY)
    space.until(lambda: len(space.jobs("generate_qstar")) == 2, process, seconds=300)
    first, second = space.jobs("generate_qstar")
    assert first["JobState"] == ("FAILED" if deadline == "auto" else "TIMEOUT")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:01:00", "00:02:00")
    reason = "the end of its time" if deadline == "auto" else "SIGTERM"
    assert f"stopped ({reason}); what is finished is kept" in space.said
    space.finish(process)
    resumed(space, undisturbed, MANY)


def test_a_node_dies(space: SlurmWorkspace, undisturbed: bytes) -> None:
    slowly(space, 2)
    process = space.submit(TARGET)
    space.until(lambda: finished(space) >= 20, process)
    quickly(space)
    first = space.jobs("generate_qstar")[0]
    node = first["NodeList"]
    space.cluster.kill_node(node)
    try:
        space.cluster.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        space.until(lambda: len(space.jobs("generate_qstar")) == 2, process)
        space.finish(process)
        first, second = space.jobs("generate_qstar")
        assert first["JobState"] == "NODE_FAIL"
        assert second["NodeList"] not in (node, "(null)")
    finally:
        space.cluster.start_node(node)
        space.cluster.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    resumed(space, undisturbed)


def test_snakemake_is_killed(space: SlurmWorkspace, undisturbed: bytes) -> None:
    """Its job goes on; the next run waits for it, and computes nothing twice that was finished."""
    slowly(space, 2)
    process = space.submit(TARGET)
    space.until(lambda: finished(space) >= 20, process)
    quickly(space)
    prompts = (space.results / "prompts/train/00000-of-00001.jsonl").stat().st_mtime_ns
    kept = finished(space)
    kill_group(process)
    assert [job["JobState"] for job in space.jobs("generate_qstar")] == ["RUNNING"]
    unlocked = space.snakemake("--unlock")
    assert unlocked.code == 0, unlocked.text
    space.finish(space.submit(TARGET))
    whole(space, undisturbed)
    assert (space.results / "prompts/train/00000-of-00001.jsonl").stat().st_mtime_ns == prompts
    log = (space.results / LOG).read_text()
    assert "another process is writing it" in log or f"of {4 * FEW:,} completions" in log, log
    assert kept >= 20


def resumed(space: SlurmWorkspace, undisturbed: bytes, prompts: int = FEW) -> None:
    """The last attempt went on from what an earlier one had finished, to what an undisturbed run writes."""
    log = (space.results / LOG).read_text()
    assert f"of {4 * prompts:,} completions" in log and "resumed" in log, log
    whole(space, undisturbed, prompts)


def whole(space: SlurmWorkspace, undisturbed: bytes, prompts: int = FEW) -> None:
    rows = undisturbed.splitlines(keepends=True)
    assert len(rows) == 4 * MANY
    assert (space.results / BLOCK).read_bytes() == b"".join(rows[: 4 * prompts])


def test_scancel_of_training(space: SlurmWorkspace) -> None:
    """Told of its end, training saves a checkpoint after the step in hand, and the retry goes on from it."""
    target = "results/small/checkpoints/step-middle/policy/n-4"
    space.configure(longer_training)
    process = space.submit(f"{target}/manifest.json")
    folder = space.root / target
    space.until(lambda: bool(list(folder.glob("unfinished/checkpoint-*/whole"))), process)
    job = space.jobs("train")[0]
    marks = {path.parent.name for path in folder.glob("unfinished/checkpoint-*/whole")}
    space.cluster.command("scancel", job["JobId"])
    space.finish(process)
    log = (space.results / "logs/checkpoints/step-middle/policy/n-4.log").read_text()
    assert "resumed from checkpoint-" in log
    assert "stopped (SIGTERM); the last checkpoint is kept" in space.said
    assert len(space.jobs("train")) == 2 and marks


def longer_training(config: dict) -> None:
    long_generation(config)
    config["training"].update(max_epochs=24, save_steps=20)
