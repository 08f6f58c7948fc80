"""The report of a finished run, opened in a real browser from its one file, without a network."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from playwright.sync_api import Browser, Error, Page, sync_playwright
from workspace import Workspace

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARMS = [
    (step, alpha, n)
    for step, alphas in (("middle", ("policy", "kl_symmetry")), ("late", ("policy",)))
    for alpha in alphas
    for n in ("2", "4")
]
HOSTILE = "</script><script>window.obeyed = 1</script> `x`_ *a* |b| c_ \\ **d** .. e::\n\n- f"


def grid(config: dict[str, Any]) -> None:
    """n = 2 beside n = 4: a view on the same completions."""
    config["arms"] = [
        {"step": "middle", "alpha": ["policy"], "n": [4], "train": True},
        {"step": "middle", "alpha": ["policy"], "n": [2]},
        {"step": "middle", "alpha": ["kl_symmetry"], "n": [2, 4]},
        {"step": "late", "alpha": ["policy"], "n": [2, 4]},
    ]


@pytest.fixture(scope="module")
def run(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run of the grid; not to be changed."""
    space = finished.copy(tmp_path_factory.mktemp("report"))
    space.configure(grid)
    space.run()
    return space


@pytest.fixture(scope="module")
def report(run: Workspace) -> Path:
    """Its report."""
    return write_report(run)


def write_report(space: Workspace) -> Path:
    outcome = space.run("--report", "report.html")
    assert not re.search(r"\((WARNING|ERROR|SEVERE)/\d\)", outcome.text), outcome.text
    return space.root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without it the tests are skipped, but fail where CI is set."""
    with sync_playwright() as playwright:
        try:
            # Chromium's sandbox does not start as root.
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        except Error as error:
            reason = f"no browser: {CHROMIUM} (Debian package chromium) does not start: {error.message[:300]}"
            (pytest.fail if os.getenv("CI") else pytest.skip)(reason)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Opens a report; afterwards nothing but that file may have been asked for, and nothing have failed."""
    requests: list[str] = []
    failures: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda said: failures.append(said.text) if said.type == "error" else None)

    def go(path: Path) -> Page:
        page.goto(path.as_uri())
        page.locator("nav li", has_text="1 Summary").wait_for()
        return page

    yield go
    context.close()
    assert failures == []
    fetched = [url for url in requests if not url.startswith("data:")]
    assert len(fetched) == 1
    assert fetched[0].startswith("file:")


def choose(page: Page, heading: str, step: str | None = None, n: str | None = None) -> None:
    """Open a heading, the folder of a step in it, and switch to an n."""
    page.locator("nav nav a").first.click()
    page.locator("nav ul a", has_text=heading).click()
    if step is not None:
        page.locator("nav ul a", has_text=f"step {step}").click()
    if n is not None:
        page.locator("nav fieldset", has_text="n").locator("label", has_text=re.compile(rf"^\s*{n}$")).click()


def row(page: Page, alpha: str) -> Any:
    return page.locator("nav tbody tr", has=page.get_by_role("cell", name=alpha, exact=True))


def shown_image(page: Page) -> bytes:
    """The bytes of the figure on display."""
    image = page.locator("#app img").last
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    source = image.get_attribute("src")
    assert source is not None
    return base64.b64decode(source.partition("base64,")[2])


def test_the_summary_comes_first(run: Workspace, report: Path, open_page: Callable[[Path], Page]) -> None:
    page = open_page(report)
    headings = [text for text in page.locator("nav li").all_inner_texts() if text[:1].isdigit()]
    assert headings[:3] == ["1 Summary", "2 Selection", "3 pass@k"]
    assert headings == sorted(headings)
    table = page.locator(".prose table").first
    assert table.locator("tbody tr").count() == len(ARMS)
    box = table.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900, "not on the first screen"

    choose(page, "1 Summary")
    page.locator("nav tbody tr a").first.click()
    frame = page.frame_locator("iframe")
    arms = orjson.loads((run.results / "summary.json").read_bytes())["arms"]
    cells = frame.locator("table").first.locator("tbody tr").all_inner_texts()
    assert [line.split("\t")[:3] for line in cells] == [[a["step"], a["alpha"], str(a["n"])] for a in arms]
    assert frame.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_labels_lead_to_the_figures_of_every_arm(
    run: Workspace, report: Path, open_page: Callable[[Path], Page]
) -> None:
    page = open_page(report)
    for step, alpha, n in ARMS:
        folder = run.results / f"diagnostics/step-{step}/{alpha}/n-{n}"
        figures = {"3 pass@k": "pass_at_k", "4 Pass rates": "pass_rate", "5 Errors": "error_distribution"}
        if alpha == "kl_symmetry":
            figures |= {"7 Mixture": "qstar", "8 Alpha by token": "alpha_along_completion"}
        for heading, name in figures.items():
            # Only one step mixes two models; a heading with one folder opens it.
            choose(page, heading, step if heading < "7" else None, n)
            row(page, alpha).locator("a").first.click()
            assert shown_image(page) == (folder / f"{name}.png").read_bytes(), (step, alpha, n, heading)


def test_switching_n_and_alpha_changes_the_figure_on_display(
    run: Workspace, report: Path, open_page: Callable[[Path], Page]
) -> None:
    page = open_page(report)
    choose(page, "6 Lengths", "middle", "2")
    row(page, "policy").locator("a").first.click()
    diagnostics = run.results / "diagnostics/step-middle"
    assert shown_image(page) == (diagnostics / "policy/n-2/lengths.png").read_bytes()
    page.locator("nav fieldset label").last.click()
    page.wait_for_timeout(300)
    assert shown_image(page) == (diagnostics / "policy/n-4/lengths.png").read_bytes()
    row(page, "kl_symmetry").locator("a").first.click()
    assert shown_image(page) == (diagnostics / "kl_symmetry/n-4/lengths.png").read_bytes()


def test_numbers_and_captions_name_their_arm(
    run: Workspace, report: Path, open_page: Callable[[Path], Page]
) -> None:
    page = open_page(report)
    for heading, text in (("2 Selection", "selected"), ("9 Numbers", "diagnostics")):
        choose(page, heading, "late", "2")
        row(page, "policy").locator("a").first.click()
        body = page.frame_locator("iframe").locator("body").inner_text()
        assert "small, step late, policy, n = 2" in body
        lines = (run.results / text / "step-late/policy/n-2/statistics.txt").read_text().split("\n")
        assert all(line.rstrip() in body for line in lines)
    for heading in ("2 Selection", "3 pass@k", "4 Pass rates", "5 Errors", "6 Lengths", "9 Numbers"):
        choose(page, heading, "middle", "4")
        row(page, "kl_symmetry").locator("a").last.click()
        caption = " ".join(page.locator("nav .prose").inner_text().split())
        assert "step middle, alpha kl_symmetry" in caption
        assert "n = 4" in caption or "1, … 4 times" in caption


def test_only_summaries_and_arms_are_in_it(report: Path, open_page: Callable[[Path], Page]) -> None:
    kept = open_page(report).evaluate("Object.keys(results)")
    mixed = sum(alpha == "kl_symmetry" for _, alpha, _ in ARMS)
    assert len(kept) == 1 + 6 * len(ARMS) + 2 * mixed
    assert not [path for path in kept if "block" in path]


def test_what_the_config_says_is_shown_and_not_obeyed(
    run: Workspace, tmp_path: Path, open_page: Callable[[Path], Page]
) -> None:
    space = run.copy(tmp_path)

    def hostile(config: dict[str, Any]) -> None:
        grid(config)
        config["prompt"]["student"] = "What is {{ problem }}? " + HOSTILE

    space.configure(hostile)
    space.run("--touch")
    page = open_page(write_report(space))
    shown = page.locator(".prose tr", has_text="student sees").inner_text()
    assert " ".join(HOSTILE.split()) in shown
    assert page.evaluate("window.obeyed") is None


IMPORTING = """
configfile: "outer.yaml"

module winnow:
    snakefile: "Snakefile"
    config: config["winnow"]
    prefix: "upstream"

use rule * from winnow as winnow_*
"""


def test_a_workflow_that_uses_the_rules_as_a_module_shows_the_same(
    run: Workspace, tmp_path: Path, open_page: Callable[[Path], Page]
) -> None:
    space = run.copy(tmp_path)
    (space.root / "upstream").mkdir()
    (space.root / "results").rename(space.root / "upstream" / "results")
    (space.root / "outer.smk").write_text(IMPORTING)
    inner = yaml.safe_load((space.root / "config.yaml").read_text())
    (space.root / "outer.yaml").write_text(yaml.safe_dump({"winnow": inner, "data": "of another kind"}))
    space.run("--snakefile", "outer.smk", "--report", "report.html", "winnow_all")
    page = open_page(space.root / "report.html")
    assert page.locator(".prose table").first.locator("tbody tr").count() == len(ARMS)
    choose(page, "8 Alpha by token", n="2")
    row(page, "kl_symmetry").locator("a").first.click()
    figure = "results/small/diagnostics/step-middle/kl_symmetry/n-2/alpha_along_completion.png"
    assert shown_image(page) == (space.root / "upstream" / figure).read_bytes()


def test_reports_and_captions_rerun_nothing(run: Workspace, report: Path, tmp_path: Path) -> None:
    assert run.plan().nothing_to_do
    space = run.copy(tmp_path)
    for caption in (space.root / "report").glob("*.rst"):
        caption.write_text("Another text.\n")
    rules = space.root / "rules" / "report.smk"
    rules.write_text(rules.read_text().replace('"6 Lengths"', '"6 How long"'))
    assert space.plan().nothing_to_do
