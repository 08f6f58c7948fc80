"""What a profile comes to: the settings of a run, and what each rule asks of the cluster.

    python -m winnow.workflow.profile --profile slurm --configfile examples/gsm8k/config.yaml

takes the arguments of `snakemake`, and prints one JSON object. They go through Snakemake's own parser
and Snakefile, so that profiles, --default-resources and --set-resources are merged as a run merges
them; no DAG is built, and nothing is run, locked or written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from snakemake import cli
from snakemake.exceptions import print_exception
from snakemake.iocontainers import Wildcards
from snakemake.resources import TBDString
from snakemake.workflow import Workflow
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from winnow.scoring import reward_files

SET_FOR_RULES = ("set_threads", "set_resources")
UNTOLD = re.compile(r"_|(mem|disk)(_mib)?$|tmpdir$")
HIDDEN = re.compile(r"token|password|secret|key", re.IGNORECASE)


def resolve(arguments: Sequence[str]) -> dict[str, Any]:
    """The settings that ``snakemake ARGUMENTS`` would run with.

    Returns:
        ``files``: the profiles, in the order in which they are read; ``lost``: what a later one takes
        from an earlier by replacing a mapping as a whole; ``executor``, ``jobs``, ``retries``,
        ``limits``; ``settings``: the executor's own; ``results``: the folder of all runs; ``rewards``: what
        the files of each reward model tell, by its scorer;
        ``unknown_rules``: names in --set-resources that no rule has; ``rules``: by name, ``local``, and
        per attempt its ``resources`` (``threads`` among them; null where only a job can tell), ``capped``:
        the amounts that ``limits`` make smaller, and the sbatch command as ``submit``, or why there is
        none as ``refused``.

    Raises:
        SystemExit: Snakemake refuses the arguments, the profile or the config; it has said why.
    """
    try:
        parser, args = cli.parse_args(list(arguments))
    except Exception as error:
        print_exception(error)
        sys.exit(1)
    args.dryrun = True
    if args.executor not in (None, "local"):
        # A dry run would take one core, and count no job as wider than that.
        args.cores = args.cores or sys.maxsize
    found: dict[str, Any] = {}

    def look(workflow: Any, **_: Any) -> None:
        rewards = reward_files.inspect(workflow.config["scoring"])
        found.update(
            _settings(args), **_rules(workflow, args), results=workflow.config["results"], rewards=rewards
        )

    with mock.patch.object(Workflow, "execute", look), contextlib.redirect_stdout(sys.stderr):
        cli.args_to_api(args, parser)
    if not found:
        sys.exit(1)
    files = [Path(file) for file in getattr(parser, "_default_config_files", [])]
    return {"files": [str(file) for file in files], "lost": _lost(files), **found}


def _settings(args: Any) -> dict[str, Any]:
    executor = args.executor or "local"
    settings = ExecutorPluginRegistry().get_plugin(executor).get_settings(args)
    own = dataclasses.asdict(settings) if settings else {}
    return {
        "executor": executor,
        "jobs": args.jobs,
        "retries": args.retries or 0,
        "limits": _limits(args),
        "settings": {
            name: value if isinstance(value, int | float | str | None) else str(value)
            for name, value in own.items()
            if not HIDDEN.search(name)
        },
    }


def _limits(args: Any) -> dict[str, int]:
    given = args.resources or {}
    return {name: resource.value for name, resource in given.items() if not name.startswith("_")}


def _rules(workflow: Any, args: Any) -> dict[str, Any]:
    names = {rule.name for rule in workflow.rules}
    told = {name for option in SET_FOR_RULES for name in getattr(args, option, None) or {}}
    rules = {
        rule.name: _rule(rule, rule.name in workflow._localrules, args)
        for rule in workflow.rules
        if not rule.norun
    }
    return {"rules": rules, "unknown_rules": sorted(told - names)}


def _rule(rule: Any, local: bool, args: Any) -> dict[str, Any]:
    attempts = [_resources(rule, attempt) for attempt in range(1, (args.retries or 0) + 2)]
    submit, refused = "", _fault(rule)
    if args.executor == "slurm" and not local and not refused:
        try:
            submit = _submit(rule.name, attempts[0])
        except Exception as error:
            refused = str(error)
    shown = [{name: _plain(value) for name, value in resources.items()} for resources in attempts]
    return {
        "local": local,
        "attempts": shown,
        "capped": _capped(rule, args),
        "submit": submit,
        "refused": refused,
    }


def _resources(rule: Any, attempt: int) -> dict[str, Any]:
    """A rule's resources without a job: those that ask for its wildcards or inputs stay unknown."""
    unknown = {name for name in rule.resources if _trouble(rule, name, attempt)}
    resources = dict(_expand(rule, attempt, unknown).items())
    threads = resources.pop("_cores")
    return {"threads": threads, **{k: v for k, v in resources.items() if not UNTOLD.match(k)}}


def _fault(rule: Any) -> str:
    """What is wrong with the rule's resources whatever the job; empty where nothing is."""
    troubles = filter(None, (_trouble(rule, name, 1) for name in rule.resources))
    return next((str(trouble.__cause__ or trouble) for trouble in troubles if _is_fault(trouble)), "")


def _trouble(rule: Any, name: str, attempt: int) -> Exception | None:
    """Why a resource has no value before there is a job."""
    try:
        _expand(rule, attempt, {*rule.resources} - {name, "_cores"})
    except Exception as error:
        return error
    return None


def _is_fault(trouble: Exception) -> bool:
    """Whether a job would meet it too: not where it misses wildcards or inputs, which are still empty."""
    root: BaseException = trouble
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    return not isinstance(root, AttributeError | LookupError | OSError)


def _capped(rule: Any, args: Any) -> dict[str, int]:
    """What the rule asks for more of than --resources allows: its jobs get less, without a word."""
    asked = {name: rule.resources[name] for name in _limits(args) if name in rule.resources}
    return {
        name: resource.value
        for name, resource in asked.items()
        if not resource.is_evaluable() and resource.value > _limits(args)[name]
    }


def _expand(rule: Any, attempt: int, skipped: set[str]) -> Any:
    return rule.expand_resources(Wildcards(), [], attempt, skip_evaluation=skipped)


def _plain(value: Any) -> Any:
    return None if isinstance(value, TBDString) else value


def _submit(name: str, resources: Mapping[str, Any]) -> str:
    """The sbatch command of a rule's job, up to what depends on the job, by the plugin's own hand."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

    known = {key: value for key, value in resources.items() if not isinstance(value, TBDString)}
    asked = _Resources(known)
    job = SimpleNamespace(name=name, resources=asked, threads=resources["threads"], is_group=lambda: False)
    validate_slurm_extra(job)
    account, partition = known.get("slurm_account"), known.get("slurm_partition")
    about = {
        "run_uuid": "winnow-doctor",
        "slurm_logfile": os.devnull,
        "comment_str": f"rule_{name}",
        "account": f"-A {account}" if account else "",
        "partition": f"-p {partition}" if partition else "",
        "workdir": None,
    }
    return " ".join((get_submit_command(job, about) + set_gres_string(job)).split())


class _Resources(dict[str, Any]):
    """Resources by key and by attribute, as a job has them."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _lost(files: Sequence[Path]) -> list[list[str]]:
    """Entries that are gone since a later profile has the same key: ``[key, entry, file, later file]``."""
    import yaml

    earlier: dict[str, tuple[set[str], Path]] = {}
    lost = []
    for file in files:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in content.items():
            if isinstance(value, dict | list):
                # Either form is allowed: a mapping, or a list of name=value.
                names = {str(entry).partition("=")[0] for entry in value}
                before, where = earlier.get(key, (set(), file))
                lost += [[key, name, str(where), str(file)] for name in sorted(before - names)]
                earlier[key] = names, file
    return lost


if __name__ == "__main__":
    print(json.dumps(resolve(sys.argv[1:])))
