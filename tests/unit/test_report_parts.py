"""Parts of the report: pages that show data and obey none of it, and labels that lead somewhere."""

from __future__ import annotations

import base64
import os
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from winnow.arms import Alpha, Arm
from winnow.pages import markdown_page, text_page

ROOT = Path(__file__).parents[2]
EVIL = "</pre><script>alert(1)</script> & \"quoted\" 'x'"
Flags = dict[str, Any]


def test_a_text_page_shows_every_character() -> None:
    page = text_page(EVIL, EVIL + "\n  indented")
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp;") == 3
    assert "\n  indented</pre>" in page


def test_a_markdown_page_keeps_its_tables_and_obeys_no_html(tmp_path: Path) -> None:
    (tmp_path / "summary.png").write_bytes(b"\x89PNG" * 300)
    text = f"# run\n\n| step | n |\n|---|--:|\n| {EVIL} | 4 |\n\n![Arms](summary.png)\n\n{EVIL}\n"
    page = markdown_page("run", text, tmp_path)
    assert "<script>" not in page
    assert '<td style="text-align:right">4</td>' in page
    source = page.partition('src="data:image/png;base64,')[2].partition('"')[0]
    assert base64.b64decode(source) == b"\x89PNG" * 300
    assert max(map(len, page.splitlines())) < 10_000, "docutils takes no longer line"
    with pytest.raises(FileNotFoundError):
        markdown_page("run", "![Arms](other.png)", tmp_path)


def flags_of(arms: list[Arm], path: str = "diagnostics/pass_at_k.png", namespace: str | None = None) -> Flags:
    """What rules/report.smk, which is plain Python, marks a file of an arm with."""
    found: dict[str, Any] = {
        "os": os,
        "ARMS": arms,
        "Alpha": Alpha,
        "config": {"run": "mine"},
        "workflow": SimpleNamespace(modifier=SimpleNamespace(namespace=namespace)),
        "report": lambda path, **flags: flags,
    }
    exec((ROOT / "rules" / "report.smk").read_text(), found)
    marked: Flags = found["of_arm"](path)
    return marked


def labels_of(arms: list[Arm], arm: Arm) -> dict[str, str]:
    wildcards = SimpleNamespace(step=arm.step, alpha=arm.alpha, n=str(arm.n))
    labels: dict[str, str] = flags_of(arms)["labels"](wildcards)
    return labels


def test_alpha_and_n_are_labels_of_their_own_where_each_alpha_has_each_n() -> None:
    arms = [Arm("18", alpha, n) for alpha, n in product(["policy", "entropy"], [8, 16])]
    arms.append(Arm("round-1", "policy", 16))
    assert labels_of(arms, arms[0]) == {"alpha": "policy", "n": " 8", "step": "18", "figure": "pass@k"}
    assert next(iter(labels_of(arms, arms[0]))) == "alpha", "the first label is never a switch"


def test_a_switch_that_would_lead_nowhere_is_none() -> None:
    # Two of four have n = 8, so the report would switch; but neither entropy at 16 nor teacher at 8 is there.
    arms = [Arm("18", *rest) for rest in (("policy", 8), ("policy", 16), ("entropy", 8), ("teacher", 16))]
    for arm in arms:
        labels = labels_of(arms, arm)
        assert set(labels) == {"alpha, n", "step", "figure"}
        assert labels["alpha, n"] == f"{arm.alpha}, n = {arm.n:>2}"


def test_headings_sort_as_text_in_the_order_of_the_numbers() -> None:
    arms = [Arm(step, "policy", n) for step in ("18", "108", "round-1") for n in (4, 16)]
    steps = [SimpleNamespace(step=step) for step in ("18", "108", "round-1")]
    folders = [flags_of(arms)["subcategory"](step) for step in steps]
    assert folders == sorted(folders)
    assert [" ".join(folder.split()) for folder in folders] == ["step 18", "step 108", "step round-1"]
    ns = [labels_of(arms, Arm("18", "policy", n))["n"] for n in (4, 16)]
    assert ns == sorted(ns)


def test_a_module_says_which_run_it_is() -> None:
    arms = [Arm("18", "policy", 4)]
    folder = flags_of(arms, namespace="winnow")["subcategory"](SimpleNamespace(step="18"))
    assert folder == "mine, step 18"


def test_every_file_of_the_report_has_its_caption() -> None:
    names = {path.stem for path in (ROOT / "report").glob("*.rst")} - {"workflow"}
    found: dict[str, Any] = {}
    exec((ROOT / "rules" / "report.smk").read_text().partition("# Where another")[0], found)
    assert names == {Path(name).stem for name in found["HEADINGS"]}
