"""The data card: README.md, made of the run's files and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from winnow.publishing import recipe
from winnow.publishing.arm_files import ArmFiles
from winnow.publishing.front_matter import as_yaml, configurations, front_matter
from winnow.publishing.image_files import Images
from winnow.publishing.image_section import images_shown
from winnow.publishing.markup import fenced, plain, table
from winnow.publishing.run_files import RunFiles, public_name

UNKNOWN = (
    "There is no record of the commands: Snakemake keeps one in its working directory, and this was "
    "published without."
)


def card(
    run: RunFiles, repo_id: str, revision: str, license_name: str | None, images: Images | None = None
) -> str:
    """README.md. The same run gives the same card: it bears no date.

    Args:
        run: what is published.
        repo_id: where it goes, for the command that loads it.
        revision: its branch.
        license_name: as the hub knows it; None says that none was named.
        images: those that go along; None where they stay.
    """
    sections = [
        f"# {plain(run.name)}",
        "Training data of language models: completions that models drew, scored, selected by rule and "
        "exported. Every figure here was read from the files of the run.",
        *_use(run, repo_id, revision),
        "## Arms",
        *_arms(run),
        "## Files",
        *_files(run),
        *images_shown(run, images, repo_id, revision),
        "## What became of every completion",
        *_ledger(run),
        "## Source",
        *_source(run),
        "## Models",
        *_models(run),
        "## Drawing, scoring, selection",
        *_rules(run),
        "## Reproducing it",
        *_reproducing(run),
        "## Licence",
        f"{plain(license_name)}, as its publisher states." if license_name else "Its publisher named none.",
    ]
    return as_yaml(front_matter(run, license_name)) + "\n" + "\n\n".join(sections) + "\n"


def _use(run: RunFiles, repo_id: str, revision: str) -> Iterator[str]:
    name = next(iter(configurations(run).values()))
    at = "" if revision == "main" else f", revision={revision!r}"
    yield fenced(
        f'from datasets import load_dataset\n\nrows = load_dataset({repo_id!r}, {name!r}, split="train"{at})',
        "python",
    )


def _arms(run: RunFiles) -> Iterator[str]:
    yield (
        "An arm is a way of drawing: **step**, the checkpoint of the policy; **alpha**, the teacher's weight "
        "or the rule that sets it (`policy` is the policy alone, `teacher` the teacher alone); **n**, the "
        "completions of each prompt. *Passed* are those that the selection's scorer passes, *eligible* those "
        "that the rules keep, *accepted* those of them that stand behind the rows; the yield is eligible "
        "over all."
    )
    columns = ("step", "alpha", "n", "prompts", "completions", "passed", "eligible", "yield", "accepted")
    keys = ("prompts", "completions", "passed", "eligible", "yield", "accepted")
    yield table(
        columns,
        [
            (
                a.arm.step,
                a.arm.alpha,
                a.arm.n,
                *(_share(a.totals[k]) if k == "yield" else a.totals[k] for k in keys),
            )
            for a in run.arms
        ],
    )
    yield table(
        ("step", "alpha", "n", "prompts with accepted", "completion tokens drawn"),
        [
            (
                a.arm.step,
                a.arm.alpha,
                a.arm.n,
                a.totals["prompts_with_accepted"],
                a.totals["completion_tokens"],
            )
            for a in run.arms
        ],
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _files(run: RunFiles) -> Iterator[str]:
    names = configurations(run)
    yield table(
        ("configuration", "file", "rows", "bytes", "SHA-256"),
        [
            (names[entry.file.path], entry.file.path, entry.rows, entry.file.size, entry.file.sha256)
            for arm in run.arms
            for entry in arm.formats
        ],
    )
    yield (
        "The files of an arm are made of the same selection; a row is a completion, a pair or a prompt, by "
        "its format. `selected/` has the statistics of each arm, `winnow.json` the facts of this card for a "
        "program."
    )


def _ledger(run: RunFiles) -> Iterator[str]:
    yield "Each completion ends in one outcome. The counts of an arm add up to prompts × n."
    for arm in run.arms:
        yield f"**{_title(arm)}**"
        rows: list[Sequence[Any]] = []
        for entry, count in arm.totals["outcomes"].items():
            outcome, _, reason = entry.partition(": ")
            rows.append((outcome, reason, count))
        total = sum(arm.totals["outcomes"].values())
        rows.append(("total", f"{arm.totals['prompts']:,} prompts × {arm.totals['n']}", total))
        yield table(("outcome", "reason", "completions"), rows)
        yield from _references(arm)


def _references(arm: ArmFiles) -> Iterator[str]:
    """What became of the references, where they were candidates."""
    told = arm.totals.get("references")
    if told is None:
        return
    yield (
        f"Beside them {told['candidates']:,} reference completions of the data set were candidates, as "
        "reward models scored them. No model of this run drew them, and no figure of completions, passes "
        f"or yields counts them; {told['accepted']:,} of them stand behind rows."
    )
    rows = [
        (*entry.partition(": ")[::2], count)
        for entry, count in (*told["outcomes"].items(), ("total", told["candidates"]))
    ]
    yield table(("outcome", "reason", "references"), rows)


def _title(arm: ArmFiles) -> str:
    return plain(f"step {arm.arm.step}, {arm.arm.alpha}, n = {arm.arm.n}")


def _source(run: RunFiles) -> Iterator[str]:
    if run.prompts is None:
        yield UNKNOWN
        return
    told = recipe.options(run.prompts)
    labels = (
        ("data set", "dataset"), ("split", "dataset_split"), ("adapter", "dataset_adapter"),
        ("prompt's field", "prompt_field"), ("reference's field", "response_field"),
        ("first row", "start_idx"), ("prompts at most", "num_samples"),
        ("rows that stand twice", "duplicates"),
        ("shown to the student", "prompt_template"), ("student's system message", "system_prompt"),
        ("shown to the teacher", "teacher_template"), ("teacher's system message", "teacher_system_prompt"),
    )  # fmt: skip
    rows = [(label, ", ".join(told[flag])) for label, flag in labels if told.get(flag)]
    if run.source_sha256:
        rows.append(("SHA-256 of the data set's file", run.source_sha256))
    yield table(("", ""), rows)


def _models(run: RunFiles) -> Iterator[str]:
    if run.models:
        yield "A model is known by the SHA-256 over the names and contents of its files."
        yield table(
            ("model", "from", "hash", "tokenizer", "trained from"),
            [(m.name, m.source, m.model, m.tokenizer, m.parent or "") for m in run.models],
        )
    yield table(
        ("step", "alpha", "n", "drawn by", "mixed with"),
        [(a.arm.step, a.arm.alpha, a.arm.n, ", ".join(a.models), ", ".join(a.teachers)) for a in run.arms],
    )
    known = {model.model for model in run.models}
    if any(each not in known for arm in run.arms for each in (*arm.models, *arm.teachers)):
        yield "The run's folder no longer has the manifest of every model that its completions name."


def _rules(run: RunFiles) -> Iterator[str]:
    commands = recipe.commands(run)
    if not commands:
        yield UNKNOWN
        return
    yield (
        "The commands that made these files, as Snakemake recorded them; of a stage that ran as many jobs, "
        "the first. Flags of the machine are left out, and of an absolute path all but its last part."
    )
    yield fenced("\n\n".join(f"# {_one_line(name)}\n{text}" for name, text in commands.items()), "bash")
    if missing := recipe.unrecorded(run):
        yield f"Of these stages there is no record: {plain(', '.join(missing))}."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _reproducing(run: RunFiles) -> Iterator[str]:
    seeds = recipe.seeds(run)
    if seeds["generate"]:
        yield (
            f"Seed of drawing: {plain(', '.join(seeds['generate']))}"
            + (f"; of the selection: {plain(', '.join(seeds['select']))}." if seeds["select"] else ".")
            + " Each completion has a seed of its own, a hash of the run's seed, the prompt's id and the "
            "sample's number."
        )
        if recipe.servers(run):
            yield (
                "Completions were drawn by a server: the same seed makes the same request, and the server "
                "does not promise the same tokens."
            )
        else:
            yield (
                "The same models, prompts, seed and flags give the same completions, however the work is "
                "split into jobs; other hardware or another floating-point type can change a token."
            )
    else:
        yield UNKNOWN
    scorers = sorted({public_name(s) for arm in run.arms for s in _verifiers(arm)})
    if scorers:
        again = plain(", ".join(scorers))
        yield (
            f"When the files were written, each row was read back and verified with {again}: what scores a "
            "text alone scored it again; of what looks at more (a model, a judge), the record was compared."
        )
    yield "Before they were published, rows, ledger and statistics were compared with each other."


def _verifiers(arm: ArmFiles) -> tuple[str, ...]:
    export = arm.records.get("export")
    return tuple(s.partition("=")[0] for s in export.options.get("scorers", ())) if export else ()
