"""Where the time of q*'s rounds goes: a table of torch's profiler."""

from __future__ import annotations

from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.qstar_pair import Pair, clear, run
from benchmarks.qstar_workload import N, rows

DEPTH, TOKENS, LINES = 4, 12, 25


def write(pair: Pair, strength: float, file: Path) -> None:
    """Some rounds of four drafts in all slots, by the time on the device and by the host's own.

    Args:
        pair: the models, warm.
        strength: of the noise.
        file: gets two tables of 25 lines.
    """
    mixture, slots = pair.mixed(strength), pair.slots
    work = rows(-(-slots // N), N, TOKENS, TOKENS, both=True)[:slots]
    clear(mixture, slots)
    bare = run(mixture, "kl_symmetry", work, slots, DEPTH)[0]
    clear(mixture, slots)
    on_device = mixture.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=activities) as found:
        taken, controller = run(mixture, "kl_symmetry", work, slots, DEPTH)
    averages = found.key_averages()
    rounds = sum(controller.rounds.values())
    text = (
        f"{pair.name}, {slots} slots, {rounds} rounds of {DEPTH} drafts: {1e3 * bare:.1f} ms with "
        f"the prefill, {1e3 * taken:.1f} ms under the profiler\n"
    )
    for order in ("self_device_time_total", "self_cpu_time_total") if on_device else ("self_cpu_time_total",):
        text += f"\nby {order}\n{averages.table(sort_by=order, row_limit=LINES, max_name_column_width=70)}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
