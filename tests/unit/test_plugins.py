"""A user's own scorer, adapter and format: found by their import paths, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from own_modules import ADAPTER, FORMAT, SCORER, counter, module, refused, write

from winnow import adapters, formats, jsonl, plugins, scoring
from winnow import config as configs

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.mark.parametrize("name", ["alone_{}", "pack_{}.scorers", "name_{}.space.scorers"])
def test_modules_of_the_working_directory(name):
    name = name.format(next(counter))
    path = Path(*name.split("."))
    if name.startswith("pack"):
        write(path.parent / "__init__.py", "")
    write(path.with_suffix(".py"), "Thing = 5")
    assert plugins.load("scorer", f"{name}:Thing") == 5


def test_modules_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    name = f"installed{next(counter)}"
    write(f"site/{name}.py", "Thing = 5")
    assert plugins.load("scorer", f"{name}:Thing") == 5


def test_the_working_directory_comes_last_and_once():
    before = list(sys.path)
    name = module("Thing = 5")
    plugins.load("scorer", f"{name}:Thing")
    plugins.load("scorer", f"{name}:Thing")
    assert sys.path == [*before, str(Path.cwd())]


def test_a_module_that_nobody_names_is_not_imported(tmp_path):
    name = module("raise RuntimeError('imported')")
    write("winnow.py", "raise RuntimeError('imported')")
    scoring.build("exact_answer")
    adapters.adapter("auto")
    formats.find("messages")
    assert plugins.fingerprint(["exact_answer", "messages"]) == {}
    assert list(scoring.versions({"exact_answer": {}})) == ["exact_answer"]
    assert str(tmp_path) not in sys.path
    assert name not in sys.modules


@pytest.mark.parametrize("path", ["a:", ":B", "a b:C", "a..b:C", "a:B.C", "a:B:C", "./a.py:B", "a;id:B"])
def test_not_an_import_path(path):
    assert refused(plugins.load, "scorer", path).found == "not an import path"


def test_what_cannot_be_found_is_named_with_what_is_near():
    write("my_reward/__init__.py", "")
    write("my_reward/scorers.py", "Brevity = 1\n_hidden = 2\n")
    for path, words in [
        ("my_rewards.scorers:Brevity", "no module 'my_rewards' (did you mean 'my_reward'?)"),
        ("my_reward.scorer:Brevity", "no module 'my_reward.scorer' (did you mean 'my_reward.scorers'?)"),
        ("my_reward.scorers:Brevty", "scorers.py has no 'Brevty' (did you mean 'Brevity'?)"),
        ("my_reward:Brevity", "my_reward/__init__.py has no 'Brevity'"),
        ("math:Brevity", "has no 'Brevity'"),
        ("time:Brevity", "a module built into Python has no 'Brevity'"),
    ]:
        error = refused(scoring.build, path)
        assert error.where == f"scorer {path!r}"
        assert words in error.found


def test_names_without_a_colon():
    for find, kind, builtin in [
        (scoring.build, "scorer", "exact_answer"),
        (adapters.adapter, "adapter", "generic"),
        (formats.find, "format", "sharegpt"),
    ]:
        error = refused(find, "my_project.data.Thing")
        assert error.where == f"{kind} 'my_project.data.Thing'"
        assert "did you mean 'my_project.data:Thing'?" in error.found
        assert "package.module:Name" in error.expected
        assert f"did you mean {builtin!r}?" in refused(find, builtin + "x").found


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\ndef (", "SyntaxError: invalid syntax ({}.py, line 2)"),
        ("import no_such_package", "No module named 'no_such_package' ({}.py, line 1)"),
        ("from math import no_such", "ImportError: cannot import name 'no_such'"),
        ("import plu", "No module named 'plu' ({}.py, line 1)"),
        ("def f():\n    1 / 0\n\nf()", "ZeroDivisionError: division by zero ({}.py, line 2)"),
        ("import json\njson.loads('{')", "({}.py, line 2)"),
    ],
)
def test_a_module_that_cannot_be_imported(code, words):
    name = module(code)
    error = refused(plugins.load, "format", f"{name}:X")
    assert f"importing {name} raises" in error.found
    assert words.format(name) in error.found
    assert name in error.mend


def test_the_line_of_the_plugin_is_told_where_it_calls_a_helper_of_its_own():
    helper = module("def f(): raise ValueError('no')")
    name = module(f"import {helper}\n{helper}.f()")
    assert f"ValueError: no ({helper}.py, line 1)" in refused(plugins.load, "format", f"{name}:X").found


@pytest.mark.parametrize("name", ["select", "time", "json", "winnow", "email.mine", "select.mine"])
def test_a_name_that_something_else_has(name):
    own = write(Path(*name.split(".")).with_suffix(".py"), "class X: ...")
    error = refused(plugins.load, "scorer", f"{name}:X")
    assert f"{own.name} is hidden behind another module" in error.found.replace(f"{own.parent}/", "")
    assert "rename" in error.mend


def test_a_folder_of_that_name_hides_nothing():
    """Tools leave folders such as wandb/ in the working directory; a module's own file decides."""
    write("json/notes.txt", "")
    assert refused(plugins.load, "scorer", "json:X").found.endswith("json/__init__.py has no 'X'")


def small(**changes):
    return {
        "run": "x",
        "data": {"train": {"path": "a.jsonl"}, "heldout": {"path": "b.jsonl"}, **changes.pop("data", {})},
        "models": {"policy": {"0": "models/p"}},
        "arms": [{"step": "0", "alpha": ["policy"], "n": [4]}],
        **changes,
    }


def test_a_config_names_them():
    scorer, adapter, fmt = module(SCORER) + ":Length", module(ADAPTER) + ":adapt", module(FORMAT) + ":Pair"
    config = small(
        data={"adapter": adapter},
        scoring={"exact_answer": {}, scorer: {"target": 3}},
        selection={"strategy": "min_error", "scorer": scorer},
        export={"formats": ["messages", fmt]},
    )
    configs.check(config)
    assert config["selection"]["scorer"] == scorer


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"data": {"adapter": "absent_module:f"}}, "data.adapter"),
        ({"data": {"adapter": "genric"}}, "data.adapter"),
        ({"data": {"adapter": "generic"}}, "data.adapter"),
        ({"scoring": {"exact_answer": {}, "absent_module:F": {}}}, "scoring"),
        ({"export": {"formats": ["absent_module:F"]}}, "export.formats"),
        ({"export": {"formats": ["sharegtp"]}}, "export.formats"),
        ({"export": {"formats": ["messages", "messages"]}}, "export.formats"),
        ({"selection": {"scorer": "absent_module:F"}}, "selection.scorer"),
    ],
)
def test_the_key_is_named(change, key):
    assert refused(configs.check, small(**change)).where.startswith(f"config, key {key}")


def test_the_programs_take_the_same_names(tmp_path):
    """In a folder with files that Python, Winnow or a program would trip over if they came first."""
    for clash in ("select.py", "winnow.py", "scripts/__init__.py", "orjson.py", "argparse.py"):
        write(clash, "raise RuntimeError('imported')")
    for name, code in (("scorers", SCORER), ("data", ADAPTER), ("formats", FORMAT)):
        write(f"mine/{name}.py", code)
    Path("d.jsonl").write_bytes(b"".join(jsonl.dumps({"ask": f"q{i}", "gold": i}) for i in range(2)))

    def program(name, *flags):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / f"{name}.py", *flags],
            capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    shard = "p/00000-of-00001.jsonl"
    program("prompts", "--dataset", "d.jsonl", "--dataset_adapter", "mine.data:adapt", "--output_dir", "p")
    drawn = {
        "sample": 0, "seed": 0, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1,
        "step": "0", "alpha": "policy", "model": "m",
    }  # fmt: skip
    Path("c.jsonl").write_bytes(
        b"".join(
            jsonl.dumps({"id": f"{p['id']}/0", "prompt_id": p["id"], "text": "abc" + "d" * i, **drawn})
            for i, p in enumerate(jsonl.rows(shard))
        )
    )
    name = "mine.scorers:Length"
    scorer = f'{name}={{"target": 4}}'
    program("score", "--input", "c.jsonl", "--prompts", "p", "--scorers", scorer, "--output", "s.jsonl")
    assert [row["scores"][name]["value"] for row in jsonl.rows("s.jsonl")] == [1.0, 0.0]
    flags = ("--prompts", shard, "--input", "s.jsonl", "--n", "1", "--block_size", "1", "--output_dir", "sel")
    program("select", *flags, "--scorer", name, "--strategy", "min_error", "--max_error", "0.5")
    flags = ("--accepted", "sel/accepted.jsonl", "--prompts", "p", "--scorers", scorer, "--output_dir", "out")
    program("export", *flags, "--formats", "messages", "mine.formats:Pair")
    assert list(jsonl.rows("out/pair.jsonl")) == [{"q": "q1", "a": "abcd"}]
