"""A run in one line: ``37 of 96 jobs · generate 3 of 10 (11,840 of 12,800 completions) · 2,310 tok/s …``."""

from __future__ import annotations

import time

from winnow.watching.stage import COUNTED, Stage, seconds_left
from winnow.watching.watch import Watch

AT_ONCE = 3
"""Stages that a line names."""


def progress_line(watch: Watch) -> tuple[str, str]:
    """How far a run is, and the same with the time, the speed and what is left: what changes by itself."""
    stages = watch.stages
    done, total = (sum(getattr(s, name) for s in stages.values()) for name in ("done", "total"))
    facts = [f"{done:,} of {total:,} jobs"]
    begun = [name for name, stage in stages.items() if stage.begun]
    waiting = [name for name, stage in stages.items() if stage.done < stage.total]
    facts += [_stage(name, stages[name]) for name in (begun or waiting[:1])[:AT_ONCE]]
    share = []
    if watch.seen:
        share = [f"yield {100 * watch.eligible / watch.seen:.0f} %"]
    elif watch.pass_rate is not None:
        share = [f"{100 * watch.pass_rate:.0f} % passed"]
    speed = watch.tokens_per_second
    flow = [] if not speed else [f"{speed:,.0f} tok/s"]
    left = seconds_left(stages.values(), watch.elapsed)
    end = [] if left is None else [f"{'about' if left[1] else 'at least'} {in_words(left[0])} left"]
    return " · ".join(facts + share), f"{time.strftime('%H:%M:%S')} {' · '.join(facts + flow + share + end)}"


def in_words(seconds: float) -> str:
    """A duration as people say it: ``40 s``, ``4 min``, ``3 h 20 min``, ``2 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(10 * round(seconds / 10), 10)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _stage(name: str, stage: Stage) -> str:
    text = f"{name} {stage.done:,} of {stage.total:,}"
    expected, exact = stage.expected()
    for figure in COUNTED:
        if expected and stage.count(figure):
            about = "" if exact else "about "
            return f"{text} ({stage.count(figure):,} of {about}{expected:,} {figure})"
    return text
