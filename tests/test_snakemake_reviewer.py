"""What a reviewer of Snakemake workflows checks, and what the workflow catalog asks for."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import snakemake
import yaml
from packaging.version import Version
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

ROOT = Path(__file__).parents[1]
SNAKEFILES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
CONFIGS = ["config.yaml", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("examples/*/config.yaml"))]
ABSOLUTE = re.compile(r"""(?:^|[\s"'=:,\[({])(?:~?/|[A-Z]:\\)\w""", re.MULTILINE)


@pytest.fixture(scope="module")
def workflows() -> Iterator[dict[str, Any]]:
    """The workflow as Snakemake parses it with each shipped config."""
    found = {}
    with pytest.MonkeyPatch.context() as patch, SnakemakeApi(OutputSettings(quiet=set())) as api:
        patch.chdir(ROOT)
        patch.setattr(sys, "path", list(sys.path))
        for config in CONFIGS:
            given = () if config == "config.yaml" else (Path(config),)
            workflow = api.workflow(
                snakefile=ROOT / "Snakefile",
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=given),
            )
            linted = workflow.lint()
            found[config] = (workflow._workflow, linted)
        yield found


@pytest.fixture(scope="module")
def rules(workflows: dict[str, Any]) -> dict[str, Any]:
    """The rules of the embedded example that run a program, by name."""
    found = {rule.name: rule for rule in workflows["config.yaml"][0].rules if not rule.norun}
    assert len(found) >= 15
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_the_linter_finds_nothing(workflows: dict[str, Any], config: str) -> None:
    """`snakemake --lint`; what it printed is in the captured output."""
    assert workflows[config][1] is False


def test_snakefmt_finds_nothing() -> None:
    check = [sys.executable, "-m", "snakefmt.snakefmt", "--check", *map(str, SNAKEFILES)]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(SNAKEFILES)} file(s) would be left unchanged" in done.stderr


def test_every_rule_says_where_it_logs_what_it_costs_and_what_it_needs(rules: dict[str, Any]) -> None:
    for rule in rules.values():
        assert rule.log, rule.name
        assert rule.benchmark, rule.name
        assert rule.message, rule.name
        assert rule.conda_env == "../envs/winnow.yaml", rule.name
        assert {"mem_mb", "runtime"} <= rule.resources.keys(), rule.name
        assert "{log}" in rule.shellcmd, rule.name
    environment = yaml.safe_load((ROOT / "envs/winnow.yaml").read_text())
    assert {"channels", "dependencies"} <= environment.keys()


def test_every_wildcard_is_constrained(rules: dict[str, Any]) -> None:
    for rule in rules.values():
        constrained = rule.wildcard_constraints.keys() | rule.workflow.wildcard_constraints.keys()
        assert rule.wildcard_names <= constrained, rule.name


def test_what_runs_beside_snakemake_is_light(workflows: dict[str, Any], rules: dict[str, Any]) -> None:
    assert {name for name, rule in rules.items() if rule.ruleinfo.localrule} == {"describe_model"}
    # Snakemake itself runs those without a program on its own machine.
    assert {rule.name for rule in workflows["config.yaml"][0].rules if rule.norun} == {"all", "selected"}


def test_the_oldest_snakemake_is_named() -> None:
    declared = re.search(r'^min_version\("([\d.]+)"\)$', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert declared
    # pathvars and module prefixes as they are used here.
    assert Version("9.21") <= Version(declared[1]) <= Version(snakemake.__version__)


def test_no_absolute_paths() -> None:
    files = [*SNAKEFILES, *(ROOT / path for path in CONFIGS), ROOT / "config/config.yaml"]
    files += [*ROOT.glob("profiles/*/*"), *ROOT.glob("profiles/*.yaml"), *ROOT.glob("envs/**/*.yaml")]
    assert len(files) > 25
    for file in files:
        code = re.sub(r"^ *#.*$", "", file.read_text(), flags=re.MULTILINE)
        assert not ABSOLUTE.findall(code), file


def commands(config: str) -> list[str]:
    """The Snakemake commands that a config opens with."""
    head = (ROOT / config).read_text().partition("\n\n")[0]
    return re.findall(r"^#   (snakemake .*?)(?:  .*)?$", head, re.MULTILINE)


def test_every_example_opens_with_commands_that_run_and_name_no_absolute_path() -> None:
    found = [command for config in CONFIGS for command in commands(config)]
    assert all(commands(config) for config in CONFIGS)
    runs = [[*shlex.split(command)[1:], "--dry-run", "--printshellcmds", "--forceall"] for command in found]
    with ThreadPoolExecutor(2) as pool:
        for command, done in zip(found, pool.map(dry_run, runs), strict=True):
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            shells = re.findall(r"^Shell command: (.* scripts/.*)$", done.stdout, re.MULTILINE)
            assert shells, command
            # But for the Python that runs Snakemake, which no record holds.
            assert not [shell for shell in shells if ABSOLUTE.search(shell.replace(sys.executable, "python"))]


def dry_run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_catalog_finds_what_it_asks_for() -> None:
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    # Beside a folder of this name, the catalog looks for no Snakefile in the root.
    assert not (ROOT / "workflow").exists()
    assert {path.suffix for path in (ROOT / "rules").iterdir()} == {".smk"}
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    assert usage["software-stack-deployment"]["conda"] is True


def test_the_config_s_readme_is_what_the_schema_says() -> None:
    spec = importlib.util.spec_from_file_location("document_config", ROOT / "schemas/document_config.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    text = program.README.read_text()
    assert text == program.document(), "run: python schemas/document_config.py"
    for key in ("`run`", "`data.<split>.shards`", "`arms[].alpha`", "`resources.<stage>.gpu`"):
        assert f"\n| {key} | " in text
