"""The recorded commands of a run as the world may see them: what determines the data, and no machine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from winnow.publishing.arm_files import STAGES
from winnow.publishing.job_records import JobRecord
from winnow.publishing.run_files import RunFiles, public_name

MACHINE = {
    "attempts", "base_url", "batch_size", "block", "concurrency", "deadline", "device", "device_t",
    "devices", "draft_tokens", "gpu_memory_utilization", "gres", "image_root", "max_retries",
    "progress_scorer", "request_timeout", "scorer_access", "served_model_name", "server_timeout",
    "tensor_parallel_size", "title", "vllm_args", "vllm_log", "vllm_python",
}  # fmt: skip
"""Flags that say where and how fast, or what a page is called: they change no row."""

_FOLDERS = re.compile(r'"[/~][^"]*/([^"/]+)/?"')
_SECRET = re.compile(
    r'(?i)("[^"]*(?:api_?key|password|secret|authorization|token|base_?url)":\s*)(?:"[^"]*"|\[[^\]]*\])'
)


def commands(run: RunFiles) -> dict[str, str]:
    """The commands behind the files, by stage and arm; those of all arms once.

    Where many jobs made a stage's files, it is the command of the first.
    """
    found = {}
    if run.prompts is not None:
        found["prompts"] = command(run.prompts)
    for arm in run.arms:
        for stage in STAGES:
            if stage in arm.records:
                found[f"{stage} {arm.arm.path}"] = command(arm.records[stage])
    return found


def unrecorded(run: RunFiles) -> list[str]:
    """The stages and arms whose commands are not known, named as in `commands`."""
    wanted = ["prompts", *(f"{stage} {arm.arm.path}" for arm in run.arms for stage in STAGES)]
    known = commands(run)
    return [name for name in wanted if name not in known]


def command(record: JobRecord) -> str:
    """A command with its flags in order, without those of the machine."""
    parts = [f"scripts/{record.program}"]
    for name, values in options(record).items():
        if name == "stop":
            parts += [f"--stop={shlex.quote(value)}" for value in values]
        else:
            parts.append(" ".join([f"--{name}", *map(shlex.quote, values)]))
    return " \\\n    ".join(parts)


def options(record: JobRecord) -> dict[str, tuple[str, ...]]:
    """Flags and values that may be shown: absolute paths by their last part, no secret."""
    return {
        name: tuple(_public(value) for value in values)
        for name, values in record.options.items()
        if name not in MACHINE
    }


def _public(value: str) -> str:
    """A flag's value, or the JSON of a scorer's options, without folders of this machine and secrets."""
    name, named, behind = value.partition("=")
    if named and behind.startswith(("/", "~")):
        # name=/a/folder/file, as a test set is named.
        return f"{name}={public_name(behind)}"
    return _SECRET.sub(r'\1"…"', _FOLDERS.sub(r'"\1"', public_name(value)))


def seeds(run: RunFiles) -> dict[str, tuple[str, ...]]:
    """The run's seeds as they were recorded: of drawing and of the subset that is kept."""
    records = [arm.records for arm in run.arms]
    return {stage: tuple(sorted(_values(records, stage, "seed"))) for stage in ("generate", "select")}


def _values(records: list[Mapping[str, JobRecord]], stage: str, flag: str) -> set[str]:
    return {value for of_arm in records if stage in of_arm for value in of_arm[stage].options.get(flag, ())}


def servers(run: RunFiles) -> bool:
    """Whether any arm was drawn by a server, which promises the request and not the tokens."""
    return "vllm" in _values([arm.records for arm in run.arms], "generate", "backend")


def provenance(run: RunFiles, configurations: Mapping[str, str]) -> dict[str, Any]:
    """The card's facts for a program: winnow.json.

    Args:
        run: what is published.
        configurations: path in the repository → name of the configuration.
    """
    return {
        "run": run.name,
        "source_sha256": run.source_sha256,
        "arms": [
            {
                "step": each.arm.step,
                "alpha": each.arm.alpha,
                "n": each.arm.n,
                "models": each.models,
                "teachers": each.teachers,
                "statistics": dict(each.totals),
                "files": [
                    {
                        "configuration": configurations[entry.file.path],
                        "path": entry.file.path,
                        "rows": entry.rows,
                        "bytes": entry.file.size,
                        "sha256": entry.file.sha256,
                    }
                    for entry in each.formats
                ],
            }
            for each in run.arms
        ],
        "models": [
            {
                "name": model.name,
                "source": model.source,
                "model": model.model,
                "tokenizer": model.tokenizer,
                "parent": model.parent,
            }
            for model in run.models
        ],
        "commands": dict(_flat(run)),
    }


def _flat(run: RunFiles) -> Iterator[tuple[str, str]]:
    for name, text in commands(run).items():
        yield name, text.replace(" \\\n    ", " ")
