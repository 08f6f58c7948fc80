#!/usr/bin/env python
"""The DAG of thousands of jobs: a dry run and a rerun without changes, beside a bare Snakefile.

    python benchmarks/dag.py [--quick] [--json FILE]

The bare file has as many jobs and output files, with the same inputs (prompts and models, generate, score,
select, diagnose; a last rule that asks for all of them, so that a deleted one is made again), and nothing
but inputs, outputs and commands. What Winnow adds (logs, benchmarks,
resources, messages, parameters that are compared with the last run's, fingerprints of the code,
environments) should cost at most 0.4 of the bare file's time: the goal that is printed beside each ratio.
For the rerun, all outputs are there, with the metadata that Snakemake itself wrote, and both say "Nothing
to be done".

Each is a process of its own, in turn; the best of several runs counts, in processor time, which other
programs on the machine disturb least. About 9,000 and 18,000 jobs; 1,000 with --quick.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import yaml

from benchmarks.report import flags, tell

GOAL = 1.4
STEPS, ALPHAS, BLOCKS = ("250", "460", "530"), ("policy", "teacher", "kl_symmetry"), 4

BARE = """
SHARDS = [f"{{index:05d}}-of-{shards:05d}" for index in range({shards})]

rule all:
    input:
        expand("selected/step-{{step}}/{{alpha}}.jsonl", step={steps}, alpha={alphas}),
        expand("diagnostics/step-{{step}}/{{alpha}}.json", step={steps}, alpha={alphas}),
        expand(
            "{{stage}}/step-{{step}}/{{alpha}}/{{shard}}.block-{{block}}.jsonl",
            stage=["completions", "scored"], step={steps}, alpha={alphas},
            shard=SHARDS, block=range({blocks}),
        ),
        expand("rest/{{job}}-0.txt", job=range({rest_jobs})),

rule prompts:
    input: "data.jsonl"
    output: expand("prompts/{{shard}}.jsonl", shard=SHARDS)
    shell: "prompts {{input}} {{output}}"

rule model:
    output: "models/{{model}}.json"
    shell: "describe {{output}}"

rule generate_policy:
    input: "prompts/{{shard}}.jsonl", "models/policy-{{step}}.json"
    output: "completions/step-{{step}}/policy/{{shard}}.block-{{block}}.jsonl"
    shell: "generate {{input}} {{output}}"

rule generate_teacher:
    input: "prompts/{{shard}}.jsonl", "models/teacher.json"
    output: "completions/step-{{step}}/teacher/{{shard}}.block-{{block}}.jsonl"
    shell: "generate {{input}} {{output}}"

rule generate_both:
    input: "prompts/{{shard}}.jsonl", "models/policy-{{step}}.json", "models/teacher.json"
    output:
        "completions/step-{{step}}/kl_symmetry/{{shard}}.block-{{block}}.jsonl",
        "completions/step-{{step}}/kl_symmetry/{{shard}}.block-{{block}}.diagnostics.jsonl",
    shell: "generate {{input}} {{output}}"

rule score:
    input:
        "completions/step-{{step}}/{{alpha}}/{{shard}}.block-{{block}}.jsonl",
        "prompts/{{shard}}.jsonl",
    output: "scored/step-{{step}}/{{alpha}}/{{shard}}.block-{{block}}.jsonl"
    shell: "score {{input}} {{output}}"

rule select:
    input:
        expand("prompts/{{shard}}.jsonl", shard=SHARDS),
        expand(
            "scored/step-{{{{step}}}}/{{{{alpha}}}}/{{shard}}.block-{{block}}.jsonl",
            shard=SHARDS, block=range({blocks}),
        ),
    output: "selected/step-{{step}}/{{alpha}}.jsonl"
    shell: "select {{input}} {{output}}"

rule diagnose:
    input:
        rules.select.input,
        lambda w: [] if w.alpha != "kl_symmetry" else expand(
            "completions/step-{{step}}/{{alpha}}/{{shard}}.block-{{block}}.diagnostics.jsonl",
            step=w.step, alpha=w.alpha, shard=SHARDS, block=range({blocks}),
        ),
    output: "diagnostics/step-{{step}}/{{alpha}}.json"
    shell: "diagnose {{input}} {{output}}"

rule rest:
    output: [f"rest/{{{{job}}}}-{{part}}.txt" for part in range({rest_files})]
    shell: "rest {{output}}"
"""

# Snakemake's own --touch writes the metadata of jobs that ran; it sleeps a tenth of a second a job.
TOUCH = (
    "from snakemake.executors import touch; from snakemake.cli import main;"
    "touch.Executor.SLEEPING_TIME = 0; main()"
)


@dataclass(frozen=True)
class Workflow:
    """A Snakefile in a folder of its own.

    Attributes:
        who: its name in the table.
        folder: the working directory.
        arguments: what Snakemake needs to find it.
    """

    who: str
    folder: Path
    arguments: tuple[str, ...] = ()

    def command(self, *more: str, python: tuple[str, ...] = ("-m", "snakemake")) -> list[str]:
        """Snakemake on this workflow."""
        return [sys.executable, *python, *self.arguments, "--cores", "2", *more]

    def measure(self, *more: str) -> tuple[float, float, float, str]:
        """(processor seconds, wall seconds, peak MiB, output) of a process."""
        start = time.perf_counter()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self.command(*more), cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            output.seek(0)
            text = output.read().decode()
        if status:
            raise SystemExit(f"{self.who} failed:\n{text[-2000:]}")
        return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, text

    def outputs(self) -> list[Path]:
        """The output files of all jobs."""
        listed = subprocess.run(
            self.command("--summary"), cwd=self.folder, check=True, capture_output=True, text=True
        )
        return [self.folder / line.split("\t")[0] for line in listed.stdout.splitlines()[1:]]

    def finish(self, outputs: list[Path]) -> None:
        """Make it as if all jobs had run: every output there, and its metadata."""
        for path in outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        subprocess.run(
            self.command("--touch", "--quiet", "all", python=("-c", TOUCH)), cwd=self.folder, check=True
        )


def winnow(folder: Path, shards: int) -> Workflow:
    """Nine arms of three steps, on the embedded models; the data is not read."""
    example = ROOT / "examples" / "arithmetic"
    config = {
        "run": "many",
        "data": {
            "train": {"path": str(example / "data/train.jsonl"), "shards": shards},
            "heldout": {"path": str(example / "data/heldout.jsonl")},
        },
        "models": {
            "policy": {step: str(example / f"models/policy-step-{step}") for step in STEPS},
            "teacher": str(example / "models/teacher"),
        },
        "generation": {"block_size": 8},
        "arms": [{"step": step, "alpha": list(ALPHAS), "n": [8 * BLOCKS]} for step in STEPS],
    }
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Workflow("winnow", folder, ("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"))


def bare(folder: Path, shards: int, jobs: int, files: int) -> Workflow:
    """The same shape and as many jobs; what Winnow has besides (models, figures …) is made by a last rule."""
    blocks = shards * BLOCKS * len(STEPS) * len(ALPHAS)
    arms, models = len(STEPS) * len(ALPHAS), len(STEPS) + 1
    rest_jobs = jobs - (2 + models + 2 * blocks + 2 * arms)
    rest_files = files - (models + shards + 2 * blocks + blocks // len(ALPHAS) + 2 * arms)
    folder.mkdir()
    (folder / "data.jsonl").touch()
    snakefile = BARE.format(
        shards=shards, steps=STEPS, alphas=ALPHAS, blocks=BLOCKS,
        rest_jobs=rest_jobs, rest_files=-(-rest_files // rest_jobs),
    )  # fmt: skip
    (folder / "Snakefile").write_text(snakefile)
    return Workflow("bare", folder)


def compare(workflows: tuple[Workflow, ...], what: str, repeats: int, *more: str) -> list[dict[str, Any]]:
    """A row for each workflow."""
    measured: dict[str, list[tuple[float, float, float, str]]] = {each.who: [] for each in workflows}
    for _ in range(repeats):
        for each in workflows:
            measured[each.who].append(each.measure(*more))
            if what == "rerun" and "Nothing to be done" not in measured[each.who][-1][3]:
                raise SystemExit(f"{each.who} has something to do:\n{measured[each.who][-1][3][-2000:]}")
    return [
        {
            "what": what,
            "who": each.who,
            "processor seconds": min(cpu for cpu, _, _, _ in measured[each.who]),
            "wall seconds": min(wall for _, wall, _, _ in measured[each.who]),
            "peak MiB": max(peak for _, _, peak, _ in measured[each.who]),
        }
        for each in workflows
    ]


def jobs_of(workflow: Workflow) -> int:
    """The jobs of a run that has not begun."""
    text = workflow.measure("-n", "--quiet", "rules", "reason", "host")[3]
    found = re.search(r"^total\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no job statistics:\n{text[-2000:]}")
    return int(found[1])


def both(folder: Path, shards: int, repeats: int) -> list[dict[str, Any]]:
    """Four rows: the dry run and the rerun, the bare file's before ours."""
    ours = winnow(folder / "winnow", shards)
    jobs, outputs = jobs_of(ours), ours.outputs()
    rival = bare(folder / "bare", shards, jobs, len(outputs))
    beside = rival.outputs()
    if jobs_of(rival) != jobs or abs(len(beside) - len(outputs)) > jobs // 50:
        raise SystemExit(f"not as many: {jobs_of(rival)} jobs and {len(beside)} files beside {len(outputs)}")
    found = compare((rival, ours), "dry run", repeats, "-n")
    rival.finish(beside)
    ours.finish(outputs)
    found += compare((rival, ours), "rerun", repeats)
    return [{"jobs": jobs, "files": len(outputs), **row} for row in found]


def main() -> None:
    arguments = flags(__doc__).parse_args()
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for shards in (6,) if arguments.quick else (124, 249):
        with tempfile.TemporaryDirectory() as name:
            found = both(Path(name), shards, 1 if arguments.quick else 3)
        rows += found
        for beside, own in zip(found[::2], found[1::2], strict=True):
            times = own["processor seconds"] / beside["processor seconds"]
            print(f"{own['what']} of {own['jobs']:,} jobs: {times:.2f} times the bare file (goal: {GOAL})")
            what = f"{own['what']} of {own['jobs']:,} jobs, bare over ours (goal: {1 / GOAL:.2f})"
            ratios[what] = 1 / times
    tell("dag", ratios, rows, arguments.json)


if __name__ == "__main__":
    main()
