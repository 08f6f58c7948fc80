"""The embedded example through `snakemake --profile slurm`: each rule gets what it asked for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from cluster import NODES, Cluster
from jobs import Seen, SlurmWorkspace, watching
from workspace import ROOT, Workspace

pytestmark = pytest.mark.slow

GPU_RULES = ("generate", "generate_qstar", "generate_heldout", "train")
STAGES = ("prompts", "score", "select", "export", "diagnose", "evaluate", "summarize")

LITTLE: dict[str, Any] = {
    # Each rule runs, some several times; the other arms of the example would run them again.
    "arms": [{"step": "460", "alpha": ["policy", "kl_symmetry"], "n": [4], "train": True}],
    "rounds": {"count": 2, "step": "460", "alpha": "policy", "n": 4},
    "data": {"train": {"num_samples": 12}, "heldout": {"num_samples": 4}},
    "selection": {"num_examples": None},
    "training": {"max_epochs": 1, "train_batch_size": 4, "micro_train_batch_size": 4},
    "resources": {
        "generate": {"gpu": 1, "mem_mb": 1100, "runtime": 11, "threads": 1},
        "train": {"gpu": 1, "gpu_model": "h100", "mem_mb": 1300, "runtime": 13, "threads": 1},
        **{stage: {"mem_mb": 600, "runtime": 7} for stage in STAGES},
    },
}


@pytest.fixture(scope="module")
def example(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SlurmWorkspace, set[Seen], dict[str, dict[str, str]]]:
    """Each rule of the example on little data: the workspace, its programs, its jobs as SLURM knew them."""
    space = SlurmWorkspace.of(Workspace.fresh(tmp_path_factory.mktemp("example")), cluster)
    shutil.copy(ROOT / "config.yaml", space.root)
    (space.root / "little.yaml").write_text(yaml.safe_dump(LITTLE))
    jobs: dict[str, dict[str, str]] = {}
    with watching(space.root) as seen:
        process = space.submit("--configfile", "config.yaml", "little.yaml")
        # The controller forgets a job some minutes after its end.
        while process.poll() is None:
            jobs |= mine(space)
            try:
                process.wait(20)
            except Exception as waiting:
                assert type(waiting).__name__ == "TimeoutExpired"
        jobs |= mine(space)
    assert process.returncode == 0, space.said[-6000:]
    return space, seen, jobs


def mine(space: SlurmWorkspace) -> dict[str, dict[str, str]]:
    return {job["JobId"]: job for job in space.cluster.jobs() if job["WorkDir"] == str(space.root)}


def test_the_whole_dag_ran_on_both_nodes(example) -> None:
    space, seen, _ = example
    summary = orjson.loads((space.root / "results/arithmetic/summary.json").read_bytes())
    assert len(summary["arms"]) == 3
    assert {each.node for each in seen} == set(NODES)


def rule_of(job: dict[str, str]) -> str:
    return re.match(r"rule_(\w+?)(_wildcards_|$)", job["Comment"]).group(1)  # type: ignore[union-attr]


def test_each_rule_got_what_it_asked_for(example) -> None:
    _, _, jobs = example
    rules = {rule_of(job) for job in jobs.values()}
    assert set(GPU_RULES) <= rules
    for job in jobs.values():
        rule = rule_of(job)
        wanted = ("1100M", "00:11:00") if rule.startswith("generate") else ("600M", "00:07:00")
        wanted = ("1300M", "00:13:00") if rule == "train" else wanted
        memory = re.search(r"mem=(\w+)", job["TRES"]).group(1)  # type: ignore[union-attr]
        assert (memory, job["TimeLimit"]) == wanted, rule
        gpus = {"train": "gres:gpu:h100:1"}.get(rule, "gres:gpu:1" if rule in GPU_RULES else None)
        assert job.get("TresPerJob") == gpus, rule
        assert job["Account"] == "(null)" and "$" not in job["Partition"]


def test_the_jobs_saw_their_gpus_and_cpu_rules_none(example) -> None:
    _, seen, jobs = example
    counts = {"generate": 1, "train": 1}
    assert {each.program for each in seen} >= {"generate", "train", "score", "diagnose"}
    for each in seen:
        devices = [name for name in each.devices.split(",") if name not in ("", "NoDevFiles")]
        assert len(devices) == counts.get(each.program, 0), each
        assert each.job in jobs


def test_logs_are_kept_and_mirror_the_results(example) -> None:
    space, _, jobs = example
    assert len(list((space.root / "logs/slurm").rglob("*.log"))) == len(jobs)
    for path in (space.root / "results/arithmetic/completions").rglob("*.block-*.jsonl"):
        if ".diagnostics." not in path.name:
            log = Path(str(path).replace("results/arithmetic/", "results/arithmetic/logs/"))
            assert log.with_suffix(".log").exists()


def test_gres_and_the_variables_of_the_site(space: SlurmWorkspace) -> None:
    """The variant asks with --gres; SBATCH_PARTITION reaches sbatch, which refuses what is none."""
    target = "results/small/completions/train/step-late/policy/00000-of-00001.block-0.jsonl"
    process = space.submit(target, profile="slurm-gres")
    space.until(lambda: bool(space.jobs("generate")), process)
    job = space.jobs("generate")[0]
    assert job.get("TresPerNode") == "gres:gpu:1", job
    assert "TresPerJob" not in job
    space.finish(process)
    process = space.submit(target, "--forcerun", target, SBATCH_PARTITION="nowhere")
    assert process.wait(120) != 0
    assert "nowhere" in space.said


def test_a_site_has_one_small_file(space: SlurmWorkspace) -> None:
    """profiles/default/config.yaml is read besides the profile, and its numbers win."""
    site = space.root / "profiles/default/config.yaml"
    site.parent.mkdir()
    site.write_text(
        "default-resources:\n  - slurm_partition=main\n"
        "set-resources:\n  generate:\n    runtime: 17 * attempt\n    gpu: 2\n"
    )
    target = "results/small/completions/train/step-late/policy/00000-of-00001.block-0.jsonl"
    with watching(space.root) as seen:
        space.finish(space.submit(target))
    job = space.jobs("generate")[0]
    assert (job["TimeLimit"], job["TresPerJob"]) == ("00:17:00", "gres:gpu:2")
    assert {each.devices.count(",") + 1 for each in seen if each.program == "generate"} == {2}
    log = space.results / "logs/completions/train/step-late/policy/00000-of-00001.block-0.log"
    assert "2 workers, on the GPUs" in log.read_text()


def test_the_doctor_finds_the_cluster_well(space: SlurmWorkspace) -> None:
    """Every rule's job would be taken; a partition that does not exist is found before anything is spent."""
    found = space.program("doctor", "--profile", "slurm", "--json", "doctor.json")
    findings = (space.root / "doctor.json").read_text()
    assert found.code == 0, found.text
    assert "sbatch would take" in findings and "h100" in findings
    site = space.root / "profiles/default/config.yaml"
    site.parent.mkdir()
    site.write_text("default-resources:\n  - slurm_partition=nowhere\n")
    found = space.program("doctor", "--profile", "slurm")
    assert found.code == 1 and "nowhere" in found.text
