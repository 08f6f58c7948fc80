"""Why a job runs, in words that many jobs share, so that they can be counted."""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.workflow.snapshot import MISSING, Cause, Job, Run, Snapshot

Flags = dict[str, list[str]]

PRODUCTS = {
    "models": "model description",
    "prompts": "prompts",
    "completions": "completions",
    "scored": "scores",
    "selected": "selection",
    "training_data": "training data",
    "diagnostics": "diagnostics",
    "checkpoints": "checkpoint",
    "evaluation.json": "evaluation",
    "summary.json": "summary",
}
"""A part of an output's path, and what the file is."""

FLAG_OF_PARAMETER = re.compile(r"--([\w-]+)[ =]\{params\.(\w+)")
LONGEST = 40


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job runs.

    Attributes:
        words: such as ``temperature changed from 0.8 to 1.0``.
        follows: another job of the run is the reason.
    """

    words: str
    follows: bool = False


def reasons(snapshot: Snapshot, job: Job) -> tuple[Reason, ...]:
    """Every reason why a job runs; none where it does not."""
    cause = job.cause
    if cause is None:
        return ()
    if cause.forced:
        return (Reason(f"forced by {cause.forced}"),)
    if cause.interrupted:
        return (Reason("an earlier run was interrupted while it wrote, or still runs"),)
    if cause.missing:
        some = len(cause.missing) < len(job.outputs)
        what = Path(cause.missing[0]).name if some else product_of(job.outputs[0])
        return (Reason(f"{what} deleted" if cause.made_before else f"{what} not made yet"),)
    found = [Reason(words) for words in _changes(snapshot, job, cause)]
    found += [Reason(words, follows=True) for words in _made(snapshot, cause)]
    return tuple(dict.fromkeys(found)) or (Reason("it has no outputs to look at"),)


def product_of(path: str) -> str:
    """What a file of a run is: ``completions``, ``training data``, else ``output``."""
    return next((PRODUCTS[part] for part in reversed(Path(path).parts) if part in PRODUCTS), "output")


def _changes(snapshot: Snapshot, job: Job, cause: Cause) -> Iterator[str]:
    if cause.then is not None and cause.now is not None:
        if cause.parameters:
            template = snapshot.rules[job.rule].command or ""
            yield from parameter_changes(template, cause.named, cause.then, cause.now)
        if cause.inputs:
            yield _input_changes(cause.then.inputs, cause.now.inputs)
    if cause.code:
        yield f"the command of {snapshot.stage(job)} changed"
    if cause.software:
        yield "the software environment changed"
    makers = {path: snapshot.jobs[parent] for parent in job.parents for path in snapshot.jobs[parent].outputs}
    for path in cause.updated:
        maker = makers.get(path)
        yield f"output of {snapshot.stage(maker)} changed" if maker else f"{path} changed"


def _made(snapshot: Snapshot, cause: Cause) -> Iterator[str]:
    for number in cause.from_jobs:
        parent = snapshot.jobs[number]
        new = parent.state == MISSING and parent.cause is not None and not parent.cause.made_before
        yield f"output of {snapshot.stage(parent)} {'newly made' if new else 'made again'}"


def _input_changes(then: Sequence[str], now: Sequence[str]) -> str:
    added, removed = len(set(now) - set(then)), len(set(then) - set(now))
    counts = [f"{added} added"] * bool(added) + [f"{removed} removed"] * bool(removed)
    return f"inputs: {', '.join(counts) or 'another order'}"


def parameter_changes(template: str, named: Mapping[str, object], then: Run, now: Run) -> list[str]:
    """What changed between two runs of a job, by the names that its program gives to its flags.

    Snakemake records values without names; the recorded command has them.

    Args:
        template: the rule's command before anything is filled in.
        named: the next run's recorded parameters by name.
        then: the last run.
        now: the next.
    """
    old, new = _flags(then.command), _flags(now.command)
    by_flag = dict(FLAG_OF_PARAMETER.findall(template))
    strings = {name: _flags(value) for name, value in named.items() if isinstance(value, str)}
    in_strings = {flag for flags in strings.values() for flag in flags}
    written = set(re.findall(r"--([\w-]+)", template))
    elsewhere = new.keys() - written - in_strings
    compared = [
        flag
        for flag in dict.fromkeys([*new, *old])
        if by_flag.get(flag) in named or flag in in_strings or flag not in written | elsewhere
    ]
    found = (
        [phrase for flag in compared for phrase in _flag_change(flag, old.get(flag), new.get(flag))]
        if old
        else []
    )
    hidden = {
        name: value
        for name, value in named.items()
        if f"{{params.{name}" not in template and repr(value) not in then.parameters
    }
    for name, value in hidden.items():
        found += _hidden_change(
            name, value, then, now, changed={f for f in compared if old.get(f) != new.get(f)}
        )
    if found:
        return found
    before, after = Counter(then.parameters), Counter(now.parameters)
    return [f"parameters changed from {_listed(before - after)} to {_listed(after - before)}"]


def _flags(command: str | None) -> Flags:
    """``--name value value`` and ``--name=value`` of a shell command, up to its redirection."""
    found: Flags = {}
    try:
        tokens = shlex.split(command or "")
    except ValueError:
        return {}
    name = ""
    for token in tokens:
        if token in (">", ">>", "|", "2>&1", "&&"):
            break
        if token.startswith("--"):
            name, equals, value = token.removeprefix("--").partition("=")
            found[name] = [value] if equals else []
        elif name:
            found[name].append(token)
    return found


def _flag_change(name: str, old: list[str] | None, new: list[str] | None) -> list[str]:
    if old == new:
        return []
    if old is None or new is None:
        values = new if old is None else old
        if not values:
            return [f"{name} switched {'on' if old is None else 'off'}"]
        shown = _short(" ".join(values))
        return [f"{name} set to {shown}" if old is None else f"{name} no longer set (was {shown})"]
    if len(old) == len(new) == 1 and not _is_entry(old[0]):
        return [_from_to(name, old[0], new[0])]
    if all(map(_is_entry, old + new)):
        return _entries_change(name, dict(_entry(v) for v in old), dict(_entry(v) for v in new))
    added, removed = [v for v in new if v not in old], [v for v in old if v not in new]
    words = [f"{_listed(added)} added"] * bool(added) + [f"{_listed(removed)} removed"] * bool(removed)
    return [f"{name}: {', '.join(words) or 'another order'}"]


def _is_entry(value: str) -> bool:
    """Whether a value is ``name={…}``, as a scorer is given with its options."""
    return re.match(r"[\w.:]+=\{", value) is not None


def _entry(value: str) -> tuple[str, str]:
    name, _, options = value.partition("=")
    return name, options


def _entries_change(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    found = [f"{key} added to {name}" for key in new if key not in old]
    found += [f"{key} removed from {name}" for key in old if key not in new]
    changed = [key for key in new if key in old and old[key] != new[key]]
    return found + [_from_to(f"{name}, {key}", old[key], new[key]) for key in changed]


def _hidden_change(name: str, value: object, then: Run, now: Run, changed: set[str]) -> list[str]:
    """A parameter that is not in the command: it stands for the content of something that is."""
    flags = _flags(now.command)
    if name == "code":
        programs = [Path(word).name for word in shlex.split(now.command or "") if word.endswith(".py")]
        return [f"the code of {programs[0]} changed" if programs else "the code changed"]
    if name in ("content", "identity"):
        flag, words = ("dataset", "the data in") if name == "content" else ("model", "the weights in")
        path = " ".join(flags.get(flag, [name]))
        return [] if flag in changed else [f"{words} {path} changed"]
    if name == "versions" and isinstance(value, dict):
        return _version_changes(value, then)
    removed = Counter(then.parameters) - Counter(now.parameters)
    added = Counter(now.parameters) - Counter(then.parameters)
    if len(removed) == len(added) == 1:
        return [_from_to(name, next(iter(removed)), repr(value))]
    return [f"{name} changed"]


def _version_changes(versions: Mapping[str, object], then: Run) -> list[str]:
    before = [ast.literal_eval(text) for text in then.parameters if text.startswith("{")]
    old = before[0] if len(before) == 1 else {}
    return [
        f"scorer {name} changed from version {old[name]} to {version}"
        for name, version in versions.items()
        if name in old and old[name] != version
    ] or [f"versions changed to {versions}"] * (old.keys() == versions.keys())


def _from_to(name: str, old: str, new: str) -> str:
    shown = _short(old), _short(new)
    return f"{name} changed from {shown[0]} to {shown[1]}" if shown[0] != shown[1] else f"{name} changed"


def _listed(values: Sequence[str] | Counter[str]) -> str:
    """A few values, or how many there are."""
    values = list(values)
    return ", ".join(map(_short, values)) if 0 < len(values) <= 3 else f"{len(values)}"


def _short(text: str) -> str:
    """A value in one piece: in quotes where it has spaces, without its middle where it is long."""
    shown = text if text and (" " not in text or text.startswith(("{", "["))) else repr(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2 - 1]}…{shown[-LONGEST // 2 :]}"
