"""Fingerprints change with what the code does, and with nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from winnow import fingerprint as fingerprints
from winnow.fingerprint import PLUMBING, closure, fingerprint

SCRIPTS = Path(__file__).parents[2] / "scripts"
CODE = '''"""A program."""

import os

from winnow.arms import Alpha


class A:
    """A class."""

    x: int = 1
    """An attribute."""

    def f(self, y):
        """A method."""
        return self.x + y  # why
'''
counter = itertools.count()


@pytest.fixture
def mark(tmp_path):
    def compute(code: str) -> str:
        # Another file each time: what was parsed once is remembered.
        path = tmp_path / f"{next(counter)}.py"
        path.write_text(code)
        return fingerprint(path)

    return compute


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# because"),
        ("A program.", "Another text."),
        ('    """A class."""\n\n', ""),
        ("An attribute.", "Told better."),
        ('        """A method."""\n', ""),
        ("\n\n\nclass", "\n\n\n\n\nclass"),
        ("import os\n", "import  os\n"),
        ("from winnow.arms import Alpha", "from winnow.arms import (\n    Alpha,\n)"),
    ],
)
def test_words_and_layout_do_not_count(mark, old, new):
    assert old in CODE
    assert mark(CODE.replace(old, new)) == mark(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.x + y", "self.x - y"),
        ("x: int = 1", "x: int = 2"),
        ("def f(self, y)", "def f(self, y=0)"),
        ("import os", "import sys"),
        ("winnow.arms import Alpha", "winnow.arms import Arm"),
        ("winnow.arms import Alpha", "winnow.records import Prompt"),
        ("return self.x", "return 'text' and self.x"),
    ],
)
def test_code_counts(mark, old, new):
    assert old in CODE
    assert mark(CODE.replace(old, new)) != mark(CODE)


def test_a_library_module_counts_through_other_modules(mark, monkeypatch):
    before = mark("from winnow.qstar.mixture import mix")
    plain = mark("from winnow.shards import shard_files")
    code = fingerprints._code

    def changed(path):
        return code(path) + ("changed" if path.name == "alpha.py" else "")

    monkeypatch.setattr(fingerprints, "_code", changed)
    assert mark("from winnow.qstar.mixture import mix") != before
    assert mark("from winnow.shards import shard_files") == plain


@pytest.mark.parametrize(
    "code",
    [
        "import winnow.qstar.alpha",
        "from winnow.qstar import alpha",
        "from winnow.qstar.alpha import solve_alpha",
        "def f():\n    from winnow.qstar.alpha import solve_alpha",
        "if TYPE_CHECKING:\n    import winnow.qstar.alpha",
        "from winnow.qstar.sampler import OptimalSampler",
    ],
)
def test_every_way_to_import_is_seen(tmp_path, code):
    (tmp_path / "program.py").write_text(code)
    assert {"winnow.qstar.alpha", "winnow.arms"} <= closure(tmp_path / "program.py")


def test_generation_rests_on_the_solver_and_on_no_later_stage():
    modules = closure(SCRIPTS / "generate.py")
    assert {
        f"winnow.qstar.{name}" for name in ("alpha", "engine", "mixture", "randomness", "sampler")
    } <= modules
    assert {"winnow.generation", "winnow.records"} <= modules
    # How prompts were read is behind the prompts themselves.
    later = (
        "adapters",
        "templates",
        "prompting",
        "scoring",
        "selection",
        "formats",
        "training",
        "diagnostics",
        "summary",
    )
    assert not [m for m in modules if m.startswith(tuple(f"winnow.{part}" for part in later))]
    assert not modules & PLUMBING


def test_what_only_speaks_to_people_changes_nothing(tmp_path):
    def of(name: str, flag: str, help_text: str, told: str) -> str:
        program = tmp_path / name
        program.write_text(
            f"p.add_argument({flag!r}, help={help_text!r})\nlog.info({told!r}, n)\n"
            f"raise UserError({told!r}, 'b', 'c', 'd')\n"
        )
        return fingerprint(program)

    first = of("a.py", "--n", "how many", "one")
    assert of("b.py", "--n", "the count", "two") == first
    assert of("c.py", "--m", "how many", "one") != first


def test_other_programs_rest_on_their_own_stage():
    assert {"winnow.adapters.fields", "winnow.prompting", "winnow.templates"} <= closure(
        SCRIPTS / "prompts.py"
    )
    trained = closure(SCRIPTS / "train.py")
    assert "winnow.training.sft" in trained
    # A mended scorer is behind other rows, and if they are the same, no checkpoint is trained again.
    assert not [m for m in trained if m.startswith(("winnow.scoring", "winnow.selection", "winnow.adapters"))]
    # Scorers have versions and hashes of their own: one that a config does not name reruns nothing.
    assert {"winnow.scoring.streams", "winnow.scoring.windows"} <= closure(SCRIPTS / "score.py")
    assert "winnow.scoring.exact_answer" not in closure(SCRIPTS / "score.py")
    assert "winnow.selection.rules" in closure(SCRIPTS / "select.py")
    assert {"winnow.formats.sharegpt", "winnow.formats.files"} <= closure(SCRIPTS / "export.py")
    for name in ("prompts", "score", "select", "export"):
        assert not [
            m for m in closure(SCRIPTS / f"{name}.py") if m.startswith(("winnow.qstar", "winnow.training"))
        ]


def test_plumbing_names_modules_that_exist():
    for module in PLUMBING:
        assert fingerprints._library(module)
