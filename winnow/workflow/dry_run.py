"""Ask Snakemake what a run would do: the DAG, read once, with nothing run, locked or written.

The arguments are those of `snakemake` itself and go through its own command line, so that a plan sees
what the run will see: profiles, --configfile, --config, --forcerun, --until, --omit-from. Only the
last step differs: where Snakemake would execute the DAG, it is read into a `Snapshot`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from snakemake import cli
from snakemake import logging as snakemake_logging
from snakemake.exceptions import print_exception
from snakemake.workflow import Workflow

from winnow.errors import UserError
from winnow.workflow.dag import read_dag
from winnow.workflow.snapshot import Limits, Snapshot

ACTIONS = (
    "touch", "lint", "list_target_rules", "list_rules", "print_compilation", "containerize", "report",
    "reporter", "report_after_run", "generate_unit_tests", "dag", "rulegraph", "filegraph", "d3dag",
    "unlock", "cleanup_metadata", "conda_cleanup_envs", "conda_create_envs_only", "list_conda_envs",
    "cleanup_shadow", "container_cleanup_images", "list_changes", "list_input_changes",
    "list_params_changes", "list_untracked", "summary", "detailed_summary", "archive",
    "delete_all_output", "delete_temp_output", "deploy_sources", "draft_notebook", "edit_notebook",
)  # fmt: skip
"""Options that make Snakemake do something else than run the DAG."""


def take_snapshot(arguments: Sequence[str]) -> Snapshot:
    """The DAG that ``snakemake ARGUMENTS`` would run.

    Without --cores and --jobs, all cores of this machine. Interrupted jobs count as with
    --rerun-incomplete.

    Raises:
        UserError: an option that asks for something else than a run.
        SystemExit: Snakemake refuses the arguments, the config or the DAG; it has said why.
    """
    taken: list[Snapshot] = []

    def look(workflow: Any, executor_plugin: Any, executor_settings: Any, **_: Any) -> None:
        _build(workflow, executor_plugin, executor_settings)
        taken.append(read_dag(workflow, _limits(workflow, args)))

    with _instead_of_running(look), _errors_only(), contextlib.redirect_stdout(sys.stderr):
        try:
            parser, args = cli.parse_args(list(arguments))
            _refuse_actions(args)
            _settle(args)
            cli.args_to_api(args, parser)
        except UserError:
            raise
        except Exception as error:
            print_exception(error)
    if not taken:
        sys.exit(1)
    return taken[0]


def _refuse_actions(args: Any) -> None:
    for name in ACTIONS:
        if getattr(args, name, None):
            option = f"--{name.replace('_', '-')}"
            raise UserError(
                option,
                "asks Snakemake for something else than a run",
                "targets and options of a run",
                f"leave it out, or give it to snakemake: snakemake {option}",
            )


def _settle(args: Any) -> None:
    """What a dry run and a real run would settle differently."""
    local = args.executor in (None, "local")
    if args.cores is None:
        # A dry run would take one core, and count no job as wider than that.
        args.cores = (args.jobs or os.cpu_count()) if local else sys.maxsize
    if local:
        args.jobs = None
    args.dryrun = True
    args.rerun_incomplete = not args.ignore_incomplete
    args.logger = []


@contextlib.contextmanager
def _instead_of_running(look: Callable[..., None]) -> Iterator[None]:
    original = Workflow.execute
    Workflow.execute = look
    try:
        yield
    finally:
        Workflow.execute = original


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Let Snakemake say what is wrong, once, and nothing of its progress."""

    def warns(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger = snakemake_logging.logger
    logger.addFilter(warns)
    # The programs log to the same terminal.
    logger.propagate = False
    with warnings.catch_warnings():
        # Sizes of inputs that are not there yet, which Snakemake asks for and drops.
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
        try:
            yield
        finally:
            logger.removeFilter(warns)
            logger.propagate = True


def _build(workflow: Any, executor_plugin: Any, executor_settings: Any) -> None:
    """Build the DAG as a dry run does, without its lock and without the inventory that it leaves."""
    workflow._executor_plugin = executor_plugin
    workflow.executor_settings = executor_settings
    workflow._prepare_dag(
        forceall=workflow.dag_settings.forceall,
        ignore_incomplete=workflow.execution_settings.ignore_incomplete,
        lock_warn_only=True,
        nolock=True,
    )
    workflow.persistence.save_iocache = lambda: None
    workflow._build_dag()
    workflow.dag.cleanup()


def _limits(workflow: Any, args: Any) -> Limits:
    given = {
        name: resource.value
        for name, resource in workflow.global_resources.items()
        if not name.startswith("_") and isinstance(resource.value, int)
    }
    executor = args.executor or "local"
    if executor == "local":
        return Limits(args.cores, None, given, executor)
    return Limits(args.local_cores or os.cpu_count(), args.jobs, given, executor)
