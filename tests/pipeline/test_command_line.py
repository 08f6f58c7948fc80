"""Snakemake's own options, on a finished run: each does here what its users expect."""

from __future__ import annotations

import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from workspace import GENERATION, Outcome, Workspace

pytestmark = pytest.mark.slow

COLDER = {"generation": {"temperature": 0.5}, "data": {"heldout": {"num_samples": 5}}}
ANOTHER_RUN = "--config run=another"
BY_OPTION = "--config 'generation={temperature: 0.5}' 'data={heldout: {num_samples: 5}}' --printshellcmds"
BY_FILE = "--configfile config.yaml colder.yaml --printshellcmds"
UNTIL = f"{ANOTHER_RUN} --until select"
OMIT_FROM = f"{ANOTHER_RUN} --omit-from train"
FORCERUN = "--forcerun score"
SITE = "--workflow-profile site --forcerun train --until train --printshellcmds"
LOGPROBS = "--config 'generation={save_logprobs: true}' --printshellcmds"
DRY_RUNS = [ANOTHER_RUN, BY_OPTION, BY_FILE, UNTIL, OMIT_FROM, FORCERUN, LOGPROBS]

# Two GPUs for training, whatever the config says.
SITE_PROFILE = {"set-resources": {"train": {"gpu": 2}}}
LOST = "scored/train/step-late/policy/00001-of-00002.block-0.jsonl"


@pytest.fixture(scope="module")
def asked(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the finished run, for dry runs."""
    space = finished.copy(tmp_path_factory.mktemp("asked"))
    (space.root / "colder.yaml").write_text(yaml.safe_dump(COLDER))
    return space


@pytest.fixture(scope="module")
def changed(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Another copy, which is changed."""
    space = finished.copy(tmp_path_factory.mktemp("changed"))
    (space.root / "site").mkdir()
    (space.root / "site/config.yaml").write_text(yaml.safe_dump(SITE_PROFILE))
    return space


@pytest.fixture(scope="module")
def answers(asked: Workspace, changed: Workspace) -> dict[str, Outcome]:
    """What Snakemake says to each command line, both copies at a time."""
    with ThreadPoolExecutor(2) as pool:
        dry = pool.submit(lambda: {line: asked.plan(*shlex.split(line)) for line in DRY_RUNS})
        others = pool.submit(change, changed)
        return dry.result() | others.result()


def change(space: Workspace) -> dict[str, Outcome]:
    """A profile; then a change that --touch accepts, then a lost file and another config."""
    said = {SITE: space.plan(*shlex.split(SITE))}
    scorer = space.root / "winnow/scoring/exact_answer.py"
    scorer.write_text(
        re.sub(r"version: ClassVar\[int\] = \d+", "version: ClassVar[int] = 99", scorer.read_text())
    )
    said["before --touch"] = space.plan()
    said["--touch"] = space.run("--touch")
    said["after --touch"] = space.plan()
    (space.results / LOST).unlink()
    said["--summary"] = space.snakemake("--summary", "--config", "evaluation={temperature: 0.5}")
    return said


def commands(outcome: Outcome, program: str) -> list[str]:
    return re.findall(rf"^Shell command: .*? (scripts/{program}\.py .*)$", outcome.text, re.MULTILINE)


def test_another_run_name_makes_another_run(answers: dict[str, Outcome]) -> None:
    outcome = answers[ANOTHER_RUN]
    assert outcome.jobs["generate"] == 4
    assert outcome.jobs["describe_model"] == 3
    assert "results/another/summary.json" in outcome.text
    assert "results/small" not in outcome.text


def test_config_merges_deeply_and_keeps_types(answers: dict[str, Outcome]) -> None:
    outcome = answers[BY_OPTION]
    assert outcome.jobs["prompts_train"] == outcome.jobs["describe_model"] == 0
    drawn = [command for command in commands(outcome, "generate") if "/train/" in command]
    assert len(drawn) == outcome.jobs["generate"] + outcome.jobs["generate_qstar"] == 6
    for command in drawn:
        assert "--temperature=0.5 " in command
        assert "--max_new_tokens=48" in command
        assert "--dtype=float64" in command
    # The run's own config file still holds.
    (prompts,) = commands(outcome, "prompts")
    assert "--num_samples=5 " in prompts
    assert "--dataset=examples/arithmetic/data/heldout.jsonl" in prompts


def test_log_probabilities_are_kept_of_what_is_selected_from(answers: dict[str, Outcome]) -> None:
    drawn = commands(answers[LOGPROBS], "generate")
    kept = {command for command in drawn if "--save_logprobs" in command}
    assert kept == {command for command in drawn if "/completions/train/" in command}
    assert kept


def test_several_configfiles_merge(answers: dict[str, Outcome]) -> None:
    assert answers[BY_FILE].jobs == answers[BY_OPTION].jobs
    assert sorted(commands(answers[BY_FILE], r"\w+")) == sorted(commands(answers[BY_OPTION], r"\w+"))


def test_until_goes_so_far_and_no_further(answers: dict[str, Outcome]) -> None:
    assert answers[UNTIL].jobs == {
        "prompts_train": 1, "describe_model": 3, "generate": 4, "generate_qstar": 2, "score": 6, "select": 3,
    }  # fmt: skip


def test_omit_from_leaves_out_a_stage_and_what_needs_it(answers: dict[str, Outcome]) -> None:
    whole, without = answers[ANOTHER_RUN].jobs, answers[OMIT_FROM].jobs
    assert set(whole) - set(without) == {"train", "summarize"}
    # The untrained checkpoints are measured.
    assert (whole["evaluate"], without["evaluate"]) == (3, 2)
    unchanged = set(without) - {"generate_heldout", "score_heldout", "evaluate"}
    assert all(whole[rule] == without[rule] for rule in unchanged)


def test_forcerun_takes_what_is_below_along(answers: dict[str, Outcome]) -> None:
    jobs = answers[FORCERUN].jobs
    assert jobs["score"] == 6
    assert jobs["select"] == 3
    assert jobs["train"] == jobs["summarize"] == 1
    assert not (GENERATION - {"generate_heldout"}) & set(jobs)
    assert jobs["generate_heldout"] == 1, "that of the new checkpoint"


def test_a_workflow_profile_sets_resources_and_reruns_nothing(answers: dict[str, Outcome]) -> None:
    outcome = answers[SITE]
    assert outcome.jobs == {"train": 1}
    (train,) = commands(outcome, "train")
    assert " --devices 2 " in train


def test_touch_accepts_what_is_there(
    answers: dict[str, Outcome], finished: Workspace, changed: Workspace
) -> None:
    """After a change of which one knows that it changes no result."""
    assert answers["before --touch"].jobs["score"] == 6
    assert "Traceback" not in answers["--touch"].text
    assert answers["after --touch"].nothing_to_do
    before, after = contents(finished.results), contents(changed.results)
    assert before.pop(LOST)
    assert after == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_summary_tells_the_state_of_each_file(answers: dict[str, Outcome]) -> None:
    found = states(answers["--summary"])
    assert found[LOST] == ("missing", "update pending")
    assert found["selected/step-late/policy/n-4/accepted.jsonl"] == ("ok", "update pending")
    drawn = "evaluation/step-late/untrained/completions/00000-of-00001.block-0.jsonl"
    assert found[drawn] == ("params changed", "update pending")
    for kept in (
        "completions/train/step-late/policy/00001-of-00002.block-0.jsonl",
        "selected/step-middle/policy/n-4/accepted.jsonl",
        "checkpoints/step-middle/policy/n-4/manifest.json",
    ):
        assert found[kept] == ("ok", "no update")


def states(outcome: Outcome) -> dict[str, tuple[str, str]]:
    """File → status and plan, from the table of --summary."""
    assert outcome.code == 0, outcome.text
    _, _, table = outcome.text.partition("output_file\tdate\trule\tlog-file(s)\tstatus\tplan\n")
    rows = [line.split("\t") for line in table.splitlines()]
    assert len(rows) > 50
    return {row[0].removeprefix("results/small/"): (row[-2], row[-1]) for row in rows if len(row) == 6}
