"""The code behind a plug-in decides about reruns; its comments do not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from own_modules import SCORER, counter, module, refused, write

from winnow import plugins, scoring

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture
def mark(tmp_path):
    """The fingerprint of a package with helpers, after an edit; each time in a folder of its own."""

    def compute(changes: dict[str, tuple[str, str]] | None = None, top: str = "here") -> str:
        home = tmp_path / top / str(next(counter))
        package = {
            "mine/__init__.py": "SHIPPED = 1\n",
            "mine/scorers.py": '''
                """Words."""
                import json
                import numpy
                import mine.words
                from . import marks
                from .deep.inner import value
                from beside import LIMIT
                from winnow.scoring.answers import normalize

                class Length:
                    """Words."""
                    version = 3  # why
                    def score(self, text, reference):
                        from mine import late
                        log.info("told")
                        raise UserError("told", "b", "c", description="seen")
            ''',
            "mine/words.py": "WORDS = 1\nlog.info('told')\n",
            "mine/marks.py": "from .. import nothing\nMARKS = 1\n",
            "mine/late.py": "LATE = 1\n",
            "mine/deep/__init__.py": "",
            "mine/deep/inner.py": "from ..below import value\n",
            "mine/below.py": "value = 1\n",
            "mine/unused.py": "UNUSED = 1\n",
            "beside.py": "LIMIT = 1\n",
            "numpy.py.txt": "",
        }
        for path, code in package.items():
            code = textwrap.dedent(code)
            if changes and path in changes:
                old, new = changes[path]
                assert old in code
                code = code.replace(old, new)
            write(home / path, code)
        return plugins.fingerprints.module_fingerprint("mine.scorers", home / "mine/scorers.py")

    return compute


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("mine/scorers.py", "version = 3", "version = 4"),
        ("mine/scorers.py", "text, reference", "text, gold"),
        ("mine/scorers.py", '"told"', '"said"'),
        ("mine/scorers.py", 'log.info("told")', 'log.info("said")'),
        ("mine/scorers.py", 'description="seen"', 'description="read"'),
        ("mine/scorers.py", "import json", "import math"),
        ("mine/words.py", "1", "2"),
        ("mine/words.py", "told", "said"),
        ("mine/marks.py", "1", "2"),
        ("mine/late.py", "1", "2"),
        ("mine/__init__.py", "1", "2"),
        ("mine/deep/inner.py", "value", "value as value"),
        ("mine/below.py", "1", "2"),
        ("beside.py", "1", "2"),
    ],
)
def test_code_behind_a_plugin_counts(mark, path, old, new):
    if new == "value as value":
        new = "value as other"
    assert mark({path: (old, new)}) != mark()


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("mine/scorers.py", "# why", "# because"),
        ("mine/scorers.py", '"""Words."""', '"""Other words."""'),
        ("mine/scorers.py", "import json", "import  json"),
        ("mine/words.py", "WORDS", "# a comment\nWORDS"),
        ("mine/unused.py", "1", "2"),
    ],
)
def test_words_layout_and_other_modules_do_not_count(mark, path, old, new):
    assert mark({path: (old, new)}) == mark()


def test_in_site_packages_only_the_package_itself_counts(mark):
    site = "lib/site-packages"
    assert mark({"mine/words.py": ("1", "2")}, site) != mark(top=site)
    assert mark({"beside.py": ("1", "2")}, site) == mark(top=site)


def test_our_own_modules_behind_a_plugin_count_without_their_messages(mark, monkeypatch):
    before = mark()
    code = plugins.fingerprints._code

    def changed(path):
        return code(path) + ("changed" if path.name == "answers.py" else "")

    monkeypatch.setattr(plugins.fingerprints, "_code", changed)
    assert mark() != before


def test_a_package_itself_may_be_named():
    name = f"pack{next(counter)}"
    write(f"{name}/__init__.py", "from .impl import Thing")
    write(f"{name}/impl.py", "class Thing: ...")
    first = plugins.fingerprint([f"{name}:Thing"])
    other = f"pack{next(counter)}"
    write(f"{other}/__init__.py", "from .impl import Thing")
    write(f"{other}/impl.py", "class Thing: x = 1")
    second = plugins.fingerprint([f"{other}:Thing"])
    assert list(first) == [f"{name}:Thing"]
    assert set(first.values()) != set(second.values())


def test_versions_carry_the_code():
    one, two, three = (
        module(SCORER.replace(*change)) + ":Length"
        for change in [("# why", "# because"), ("# why", ""), ("== 0", "<= 0")]
    )
    found = scoring.versions({"exact_answer": {}, one: {}, two: {"target": 2}, three: {}})
    assert found["exact_answer"].startswith(f"{scoring.build('exact_answer').version}, ")
    assert found[one] == found[two] != found[three]
    assert found[one].startswith("3, ")


def test_what_has_no_source_has_no_fingerprint():
    for name in ("math:floor", "time:sleep"):
        assert "not Python source" in refused(plugins.fingerprint, [name]).found
    name = module("def f():\n    import torn\nclass X: ...")
    write("torn.py", "def (")
    assert "torn.py, line 1" in refused(plugins.fingerprint, [f"{name}:X"]).found


def test_latin_1_sources_can_be_read():
    Path("latin.py").write_bytes("# coding: latin-1\nNAME = 'é'\n".encode("latin-1"))
    assert plugins.fingerprint(["latin:NAME"])
