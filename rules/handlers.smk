# What a run says of itself while it runs and when it fails. Snakemake calls these in its main process only.

import os
import sys
import time
from pathlib import Path

from winnow.watching import failures
from winnow.watching.follow import follow_in_background, interval
from winnow.watching.plan import plan_of
from winnow.working_directory import note

BEGIN = time.time()

try:
    PROGRESS_SECONDS = interval(os.getenv("WINNOW_PROGRESS_SECONDS", "15"))
except UserError as error:
    raise WorkflowError(f"{error}") from None


def quiet_about(*kinds):
    """Whether --quiet was given for everything, or for one of these."""
    given = {kind.name.lower() for kind in workflow.output_settings.quiet or ()}
    return bool(given & {"all", *kinds})


def failed_jobs():
    """The jobs that failed in this run."""
    for job in workflow.scheduler.failed:
        for each in job.jobs if job.is_group() else [job]:
            log = str(each.log[0]) if each.log else ""
            yield failures.Failure(each.rule.name, each.wildcards_dict, log)


onstart:
    if not workflow.touch:
        note(RESULTS)
        jobs = workflow.dag.needrun_jobs(exclude_finished=False)
        follow_in_background(
            Path(RESULTS),
            lambda: plan_of(jobs, Path(RESULTS), config["selection"]["scorer"]),
            0 if quiet_about("progress") else PROGRESS_SECONDS,
        )


onerror:
    # With --show-failed-logs Snakemake has shown them, unless --quiet rules held that back as well.
    shown = workflow.output_settings.show_failed_logs and not quiet_about("rules")
    if not quiet_about() and workflow.scheduler.failed:
        print(failures.report(failed_jobs(), not shown, BEGIN), file=sys.stderr)
