# What a run says of itself while it runs and when it fails. Snakemake calls these in its main process only.

import os
import sys
from pathlib import Path

from winnow.watching.failures import Failure, report
from winnow.watching.follow import start_following
from winnow.watching.plan import plan_of

# Between two lines of progress; 0 prints none.
PROGRESS_SECONDS = float(os.getenv("WINNOW_PROGRESS_SECONDS", "15"))


def quiet_about(*kinds):
    """Whether --quiet was given for everything, or for one of these."""
    given = {kind.name.lower() for kind in workflow.output_settings.quiet or ()}
    return bool(given & {"all", *kinds})


def failures():
    """The jobs that failed in this run."""
    for job in workflow.scheduler.failed:
        for each in job.jobs if job.is_group() else [job]:
            yield Failure(each.rule.name, each.wildcards_dict, str(each.log[0]))


onstart:
    plan = plan_of(
        workflow.dag.needrun_jobs(exclude_finished=False),
        Path(RESULTS),
        config["selection"]["scorer"],
    )
    if PROGRESS_SECONDS and not workflow.touch and not quiet_about("progress"):
        start_following(Path(RESULTS), plan, PROGRESS_SECONDS)


onerror:
    # With --show-failed-logs Snakemake has shown them, unless --quiet rules held that back as well.
    shown = workflow.output_settings.show_failed_logs and not quiet_about("rules")
    if not quiet_about() and workflow.scheduler.failed:
        print(report(failures(), not shown), file=sys.stderr)
