"""What a run says of itself: its arms, its source data set, its models. Read, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.layout import Layout
from winnow.publishing.arm_files import ArmFiles, num_shards, read_arm
from winnow.publishing.job_records import JobRecord, JobRecords

_TO_EXPORT = "set `export: true` (or `train: true`) for the arm in the config, and run the pipeline"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the run, by its manifest.

    Attributes:
        name: `policy-460`, `teacher`, or the path of the arm that a checkpoint was trained on.
        source: a hub name, or the last part of a local path.
        model, tokenizer: hashes of the manifest.
        parent: the hash of the model that it was trained from, or None.
    """

    name: str
    source: str
    model: str
    tokenizer: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What is published of a run.

    Attributes:
        name: of the run.
        arms: its arms, at least one.
        models: those that drew the arms' completions, and those that they were trained from.
        prompts: the job that made the prompts, where Snakemake kept a record of it.
        source_sha256: of the local file that the prompts were read from, where recorded.
    """

    name: str
    arms: tuple[ArmFiles, ...]
    models: tuple[Model, ...]
    prompts: JobRecord | None
    source_sha256: str | None


def read_run(
    results: Path, arms: Sequence[Arm], formats: Sequence[str], workdir: Path | None = None
) -> RunFiles:
    """Read and check some arms of a run.

    Args:
        results: ``results/<run>``.
        arms: which of its arms.
        formats: of the training data; none takes those that were exported.
        workdir: the folder in which Snakemake ran, where its records are not found by themselves.

    Raises:
        UserError: see `read_arm` and `JobRecords`.
    """
    layout, records = Layout(str(results)), JobRecords(results, workdir)
    found = tuple(read_arm(layout, arm, formats, records) for arm in arms)
    # Shards of another number, which the config once had, may lie there still.
    count = next(filter(None, (num_shards(arm.records) for arm in found)), None)
    shards = "*.jsonl" if count is None else f"*-of-{count:05d}.jsonl"
    shard = next(iter(sorted((results / "prompts" / "train").glob(shards))), None)
    prompts = records.of(shard) if shard else None
    hashes = [h for arm in found for h in (*arm.models, *arm.teachers)]
    source = prompts.first("dataset") if prompts else None
    checksum = prompts.checksums.get(source) if prompts and source else None
    return RunFiles(results.resolve().name, found, _models(results, hashes), prompts, checksum)


def find_arms(results: Path, step: str | None, alpha: str | None, n: int | None, every: bool) -> list[Arm]:
    """The arms with training data that the flags name: one, or with `every` all of them.

    Raises:
        UserError: no such folder, no arm like that, or several where one is wanted.
    """
    folder = results / "training_data"
    if not folder.is_dir():
        raise _nothing_exported(results)
    known = sorted(
        (
            Arm(path.parts[-3].removeprefix("step-"), path.parts[-2], int(path.parts[-1].removeprefix("n-")))
            for path in folder.glob("step-*/*/n-*")
            if path.is_dir() and path.name.removeprefix("n-").isdigit()
        ),
        key=lambda arm: (arm.step, arm.alpha, arm.n),
    )
    found = [
        arm for arm in known if step in (None, arm.step) and alpha in (None, arm.alpha) and n in (None, arm.n)
    ]
    if not known:
        raise _nothing_exported(results)
    if not found:
        raise UserError(
            "--step, --alpha, --n",
            f"no training data of such an arm in {folder}",
            f"one of {', '.join(arm.path for arm in known)}",
            f"correct the flags, or {_TO_EXPORT}",
        )
    if len(found) > 1 and not every:
        raise UserError(
            "--step, --alpha, --n",
            f"{len(found)} arms: {', '.join(arm.path for arm in found)}",
            "one arm, or --all for a configuration of each",
            "name step, alpha and n; or add --all",
        )
    return found


def _nothing_exported(results: Path) -> UserError:
    selected = sorted(path.parent for path in results.glob("selected/step-*/*/n-*/statistics.json"))
    if not selected:
        return UserError(
            results,
            "no training_data/ and no selected/ in it",
            "the results of a run, as results/arithmetic",
            "correct --results",
        )
    arms = ", ".join(str(path.relative_to(results / "selected")) for path in selected)
    return UserError(
        results / "training_data",
        f"no training data: none of the arms that were selected ({arms}) was trained or exported",
        "the training data of an arm",
        _TO_EXPORT,
    )


def _models(results: Path, hashes: Sequence[str]) -> tuple[Model, ...]:
    """The manifests of these hashes and of their parents, in the order of their names."""
    known: dict[str, Model] = {}
    for path in sorted(
        [*results.glob("models/*/manifest.json"), *results.glob("checkpoints/*/*/*/manifest.json")]
    ):
        model = _model(path, results)
        known.setdefault(model.model, model)
    wanted: set[str] = set()
    queue = list(hashes)
    while queue:
        each = queue.pop()
        if each in known and each not in wanted:
            wanted.add(each)
            parent = known[each].parent
            queue += [parent] if parent else []
    return tuple(sorted((known[each] for each in wanted), key=lambda model: model.name))


def _model(path: Path, results: Path) -> Model:
    content: Any = jsonl.read_json(path)
    try:
        return Model(
            str(path.parent.relative_to(results)).partition("/")[2],
            public_name(content["directory"]),
            content["model"],
            content["tokenizer"],
            content["parent"],
        )
    except (KeyError, TypeError):
        raise UserError(
            path, "not a manifest", "manifest.json, as manifest.py or train.py writes it", "run it again"
        ) from None


def public_name(path: str) -> str:
    """A path without the folders of this machine: an absolute one by its last part."""
    return Path(path).name if path.startswith(("/", "~")) else path
