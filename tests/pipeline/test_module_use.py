"""Winnow as a module of another workflow: from a folder, and from a repository by github()."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import GenericSourceFile
from workspace import PARTS, ROOT, Outcome, policy_steps

ARM = "step-late/policy/n-2"
TINY: dict[str, Any] = {
    "run": "tiny",
    "seed": 3,
    "data": {
        "train": {"path": "mine/train.jsonl", "num_samples": 6},
        "heldout": {"path": "mine/heldout.jsonl", "num_samples": 4},
    },
    "prompt": {"student": "What is {{ problem }}?"},
    "models": {"policy": {"late": "mine/policy"}},
    "generation": {"block_size": 2, "batch_size": 16, "max_new_tokens": 48},
    "arms": [{"step": "late", "alpha": ["policy"], "n": [2], "train": True}],
    "training": {"max_epochs": 1, "train_batch_size": 4, "micro_train_batch_size": 4},
    "evaluation": {"n": 1},
}

IMPORTING = """
import yaml

configfile: "config.yaml"

rule everything:
    input:
        "report.json",
        "own/12abc.txt",
        "second/results/other/prompts/train/00000-of-00001.jsonl",

module winnow:
    snakefile: "<snakefile>"
    config: config["winnow"]
    prefix: "upstream"

use rule * from winnow as winnow_*

use rule train from winnow as winnow_train with:
    threads: 2

module again:
    snakefile: "<snakefile>"
    config: {**config["winnow"], "run": "other"}
    prefix: "second"

use rule * from again as again_*

rule consume:
    input:
        summary=rules.winnow_summarize.output.json,
        data="upstream/results/tiny/training_data/<arm>/messages.jsonl",
    output:
        "report.json",
    shell:
        "cp {input.summary} {output}"

# In Winnow's own rules, n is a number.
rule own:
    output:
        "own/{n}.txt",
    shell:
        "echo {wildcards.n} > {output}"

onstart:
    shell("touch started")

with open("config.yaml") as file:
    if config != yaml.safe_load(file):
        raise ValueError("the module changed the config")
"""

# What `snakedeploy deploy-workflow` writes.
DEPLOYED = """
configfile: "config/config.yaml"

module winnow:
    snakefile: github("acme/winnow", path="Snakefile", tag="v1")
    config: config

use rule * from winnow
"""


@dataclass
class Importer:
    """A folder with a workflow that uses Winnow, with data and a model of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "mine").mkdir(parents=True)
        for name in ("train.jsonl", "heldout.jsonl"):
            shutil.copy(ROOT / "examples/arithmetic/data" / name, self.root / "mine" / name)
        shutil.copytree(policy_steps()[-1], self.root / "mine/policy")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_text(text)

    def snakemake(self, *arguments: str, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--show-failed-logs", *arguments],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        outcome = Outcome(done.returncode, done.stdout)
        assert outcome.code == 0, outcome.text[-6000:]
        return outcome


def checkout(root: Path) -> Path:
    """A copy of Winnow without its examples."""
    root.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir() and part != "examples":
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", root)
    return root


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    """A workflow that uses Winnow from a folder, twice."""
    winnow = checkout(tmp_path / "winnow")
    importer = Importer(tmp_path / "work")
    importer.write("Snakefile", IMPORTING.replace("<snakefile>", f"{winnow}/Snakefile").replace("<arm>", ARM))
    importer.write("config.yaml", yaml.safe_dump({"title": "mine", "winnow": TINY}))
    return importer


def test_the_importing_workflow_stays_as_it_is_and_paths_are_its_own(importer: Importer) -> None:
    outcome = importer.snakemake("--dry-run", "--printshellcmds")
    jobs = outcome.jobs
    # Its own default target, and Winnow's rules under the names that it chose.
    assert jobs["everything"] == jobs["consume"] == jobs["own"] == jobs["again_prompts_train"] == 1
    assert jobs["winnow_train"] == jobs["winnow_summarize"] == 1
    assert {name.partition("_")[0] for name in jobs} == {"everything", "consume", "own", "winnow", "again"}
    assert "localrules" not in outcome.text
    commands = re.findall(r"^Shell command: (.*/scripts/.*)$", outcome.text, re.MULTILINE)
    assert len(commands) == jobs.total() - 3
    # Data sets and models are the user's; what Winnow makes lies below the prefix.
    assert sum("--dataset=mine/" in command for command in commands) == 3
    assert sum("--model mine/policy " in command for command in commands) == 1
    for command in commands:
        places = set(re.findall(r"(\S*?)results/(\w+)", command))
        assert places in ({("upstream/", "tiny")}, {("second/", "other")}), command


@pytest.mark.slow
def test_a_workflow_consumes_what_winnow_made(importer: Importer) -> None:
    importer.snakemake()
    root = importer.root
    (arm,) = orjson.loads((root / "report.json").read_bytes())["arms"]
    assert (arm["step"], arm["completions"]) == ("late", 12)
    assert arm["seconds"] > 0, "the benchmarks were not found below the prefix"
    assert arm["accuracy_after"] is not None
    manifest = orjson.loads((root / f"upstream/results/tiny/checkpoints/{ARM}/manifest.json").read_bytes())
    source = orjson.loads((root / "upstream/results/tiny/models/policy-late/manifest.json").read_bytes())
    assert manifest["parent"] == source["model"]
    assert source["directory"] == "mine/policy"
    assert (root / "own/12abc.txt").read_text() == "12abc\n"
    assert (root / "started").exists()
    made = {path.name for path in root.iterdir()} - {".snakemake"}
    assert made == {
        "Snakefile", "config.yaml", "mine", "upstream", "second", "own", "report.json", "started",
    }  # fmt: skip
    assert importer.snakemake("--dry-run").nothing_to_do


def git(folder: Path, *arguments: str) -> str:
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(
        ["git", *person, *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def test_from_a_repository_by_github(tmp_path: Path) -> None:
    """A release's rules and programs run, and jobs that a cluster starts need no network for that."""
    repository = checkout(tmp_path / "github/acme/winnow")
    git(repository, "init", "--quiet", "--initial-branch", "main")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "A release")
    git(repository, "tag", "v1")
    release = git(repository, "rev-parse", "HEAD")
    (repository / "scripts/prompts.py").write_text("raise SystemExit('not released')\n")
    git(repository, "commit", "--quiet", "--all", "--message", "Broken")

    importer = Importer(tmp_path / "work", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    importer.write("Snakefile", DEPLOYED)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for split in ("train", "heldout"):
        config["data"][split]["path"] = f"mine/{split}.jsonl"
    config["data"].update(prompt_field="problem", response_field="answer")
    config["prompt"] = {"student": "{{ problem }}"}
    config["models"]["policy"] = {"0": "mine/policy"}
    importer.write("config/config.yaml", yaml.safe_dump(config))

    online = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/github/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    prompts = "results/mine/prompts/heldout/00000-of-00001.jsonl"
    outcome = importer.snakemake(prompts, **online)
    assert outcome.jobs == {"prompts_heldout": 1}
    assert len((importer.root / prompts).read_bytes().splitlines()) == 400
    unpacked = list((tmp_path / "cache").glob("**/source-cache/winnow/*"))
    assert [folder.name for folder in unpacked] == [release]

    shutil.rmtree(repository)
    # As an executor starts a job.
    job = ("--mode", "remote", "--target-jobs", "describe_model:model=policy-0", "--force", "--nolock")
    outcome = importer.snakemake(*job, "--allowed-rules", "describe_model")
    assert "Fetching" not in outcome.text
    assert (importer.root / "results/mine/models/policy-0/manifest.json").exists()


@pytest.fixture
def functions() -> dict[str, Any]:
    """The functions of rules/checkout.smk, which is Python throughout."""
    found: dict[str, Any] = {}
    exec((ROOT / "rules/checkout.smk").read_text(), found)
    return found


def test_a_snakefile_without_its_programs_is_refused(functions: dict[str, Any], tmp_path: Path) -> None:
    page = GenericSourceFile("https://raw.githubusercontent.com/acme/winnow/v1/Snakefile")
    with pytest.raises(WorkflowError, match=r"cannot be read from there\n  expected: a path, github\("):
        functions["checkout"](page, tmp_path)


def test_two_versions_in_one_workflow_are_refused(
    functions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    functions["use_library"](str(ROOT))
    with pytest.raises(WorkflowError, match="one version of Winnow in a workflow"):
        functions["use_library"](str(tmp_path))
