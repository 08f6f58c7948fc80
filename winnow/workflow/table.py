"""A plan as text: one line a stage, the totals, the reasons with their counts, and what is reused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from winnow.workflow.plan import Cost, Plan, StagePlan
from winnow.workflow.snapshot import DONE

MOST_REASONS, MOST_STAGES = 16, 8
"""Reasons that are printed, and stages of a reason; the rest are counted."""

HEADINGS = ("stage", "run", "reuse", "completions", "tokens", "GPU-h", "job time", "estimated from")


def render(plan: Plan, now: datetime) -> str:
    """The plan for a terminal.

    Args:
        plan: what to print.
        now: when the run would start, for its end.
    """
    if not plan.jobs:
        return f"{plan.run}: nothing to be done; {_reused(plan)}"
    lines = [f"{plan.run}: {plan.jobs:,} of {plan.jobs + plan.reused_jobs:,} jobs to run", ""]
    lines += aligned([HEADINGS, *map(_stage_cells, plan.stages), _total_cells(plan)], left={0, 7})
    lines += ["", *_end(plan, now), "", "Why", *_reasons(plan), "", f"Reused: {_reused(plan)}"]
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    """Rows of cells as lines with columns of equal width; those in `left` are flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``5 h 12 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 9.5 or not seconds else f"{seconds:.1f} s"
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def _stage_cells(stage: StagePlan) -> tuple[str, ...]:
    done = stage.states.get(DONE, 0)
    cells = (stage.stage, f"{stage.jobs:,}" if stage.jobs else "", f"{done:,}" if done else "")
    if not stage.jobs:
        return (*cells, "", "", "", "", "")
    return (*cells, *_cost_cells(stage.cost, stage.jobs), _sources(stage))


def _total_cells(plan: Plan) -> tuple[str, ...]:
    return ("total", f"{plan.jobs:,}", f"{plan.reused_jobs:,}", *_cost_cells(plan.total, plan.jobs), "")


def _cost_cells(cost: Cost, jobs: int) -> tuple[str, ...]:
    """Completions, tokens, GPU-hours and time: `?` where nothing is known, `+ ?` where a part is not."""
    return (
        _or_unknown(f"{cost.completions:,}" if cost.completions else "", cost.unknown_completions),
        _or_unknown(f"{cost.tokens:,}" if cost.tokens else "", cost.unknown_tokens),
        _or_unknown(f"{cost.gpu_hours:,.2f}" if cost.gpu_hours else "", cost.unknown_gpu_hours),
        _or_unknown(duration(cost.seconds) if cost.unknown_seconds < jobs else "", cost.unknown_seconds),
    )


def _or_unknown(text: str, unknown: int) -> str:
    """The known part, and whether there is another."""
    return " + ".join([text] * bool(text) + ["?"] * bool(unknown))


def _sources(stage: StagePlan) -> str:
    words = list(stage.sources[:2]) + ["…"] * (len(stage.sources) > 2)
    return ", ".join(words + [f"{stage.cost.unknown_seconds:,} unknown"] * bool(stage.cost.unknown_seconds))


def _end(plan: Plan, now: datetime) -> Iterator[str]:
    unknown = [
        (stage.stage, stage.cost.unknown_seconds) for stage in plan.stages if stage.cost.unknown_seconds
    ]
    if plan.total.unknown_seconds == plan.jobs:
        yield "How long it takes is unknown: no run in this results folder has run any of these stages."
    else:
        at_least = "at least" if unknown else "about"
        yield f"Takes {at_least} {duration(plan.seconds)} {_at_once(plan)}{_when(plan, now)}."
    if 0 < plan.total.unknown_seconds < plan.jobs:
        yield f"Not counted, for no run in this results folder has run them: {_counts(unknown)}."
    if plan.limits.executor != "local":
        yield f"Waiting in the queue of {plan.limits.executor} counts as in this run's last jobs, if any."
    if plan.resumed_completions:
        yield f"Resumes {plan.resumed_completions:,} completions from journals of interrupted jobs."
    if plan.interrupted:
        yield f"{plan.interrupted:,} interrupted jobs: give snakemake --rerun-incomplete."


def _when(plan: Plan, now: datetime) -> str:
    ends = now + timedelta(seconds=plan.seconds)
    shown = f"{ends:%H:%M:%S}" if ends.date() == now.date() else f"{ends:%a %d %b, %H:%M}"
    return "" if plan.total.unknown_seconds else f"; would end at {shown}"


def _at_once(plan: Plan) -> str:
    limits = plan.limits
    if limits.executor == "local":
        words = [f"{limits.cores} core{'s' * (limits.cores != 1)}"]
    else:
        words = [f"{limits.jobs:,} jobs at once" if limits.jobs is not None else "any number of jobs at once"]
    return "on " + ", ".join(words + [f"{name}={amount}" for name, amount in limits.resources.items()])


def _reasons(plan: Plan) -> list[str]:
    """Each reason once with its jobs by stage; jobs that only follow others in one line at the end."""
    by_words: dict[str, list[tuple[str, int]]] = {}
    for stage in plan.stages:
        for reason, count in stage.why:
            if not reason.follows:
                by_words.setdefault(reason.words, []).append((stage.stage, count))
    rows = [_reason_cells(words, stages) for words, stages in by_words.items()]
    if len(rows) > MOST_REASONS:
        rows = [*rows[:MOST_REASONS], ("", f"and {len(rows) - MOST_REASONS} more reasons, all in --json")]
    followers = [(stage.stage, stage.followers) for stage in plan.stages if stage.followers]
    if followers:
        rows.append(_reason_cells("their inputs are made anew", followers))
    return [f"  {line}" for line in aligned(rows, left={1})]


def _reason_cells(words: str, stages: Sequence[tuple[str, int]]) -> tuple[str, str]:
    named = _counts(stages) if len(stages) > 1 else stages[0][0]
    return f"{sum(count for _, count in stages):,}", f"{words} ({named})"


def _counts(stages: Sequence[tuple[str, int]]) -> str:
    named = [f"{name} {count:,}" for name, count in stages[:MOST_STAGES]]
    return ", ".join(named + ["…"] * (len(stages) > MOST_STAGES))


def _reused(plan: Plan) -> str:
    words = [f"{plan.reused_jobs:,} " + ("job" if plan.reused_jobs == 1 else "jobs")]
    if plan.reused_completions:
        tokens = "" if plan.reused_tokens is None else f" ({plan.reused_tokens:,} tokens)"
        words.append(f"{plan.reused_completions:,} completions{tokens}")
    return ", ".join(words) + (" are there already." if not plan.jobs else ".")
