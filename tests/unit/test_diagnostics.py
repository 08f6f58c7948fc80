"""Diagnostics: estimators against brute force, edge cases of the bins, and figures of odd data."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl
from winnow.diagnostics import errors, qstar
from winnow.diagnostics.completions import Completions, collect
from winnow.diagnostics.majority import vote
from winnow.diagnostics.pass_at_k import (
    majority_report,
    pass_at_k,
    pass_at_k_report,
    pass_rate_report,
    powers_up_to,
)
from winnow.diagnostics.report import as_text, build
from winnow.diagnostics.summaries import describe, integer_edges
from winnow.errors import UserError
from winnow.records import Prompt
from winnow.selection.groups import Group

ROOT = Path(__file__).parents[2]
FIGURES = ("pass_at_k", "pass_rate", "error_distribution", "lengths")
QSTAR_FIGURES = ("qstar", "alpha_along_completion")


def row(
    prompt: int, sample: int, stated: float | None, reference: float, *, finish: str = "stop", tokens: int = 7
) -> dict[str, Any]:
    """A scored completion that states a number, or none."""
    error = None if stated is None else abs(stated - reference)
    detail = "no answer found" if stated is None else f"{stated:g}"
    return {
        "id": f"p{prompt}/{sample}",
        "prompt_id": f"p{prompt}",
        "sample": sample,
        "finish_reason": finish,
        "completion_tokens": tokens,
        "scores": {
            "exact_answer": {"value": float(error == 0), "passed": error == 0, "detail": detail},
            "numeric_error": {"value": error, "passed": error == 0, "detail": detail},
        },
    }


def groups(stated: list[list[float | None]], reference: float = 10.0, **others: Any) -> list[Group]:
    """One prompt for each list of stated numbers."""
    return [
        Group(
            Prompt(f"p{i}", [], reference=f"{reference + i:g}"),
            [row(i, j, s, reference + i, **others) for j, s in enumerate(answers)],
        )
        for i, answers in enumerate(stated)
    ]


def table(stated: list[list[float | None]], **others: Any) -> Completions:
    return collect(groups(stated, **others), len(stated[0]), "exact_answer", "numeric_error")


def qstar_row(sample: int, alpha: list[float], prompt: int = 0, **means: float | None) -> dict[str, Any]:
    """A row as winnow.qstar.diagnostics.summarize writes it."""
    values = {"alpha": sum(alpha) / len(alpha), "ess_ratio": 1.0, "beta": 0.9}
    values |= {"kl_theta": 0.2, "kl_t": 0.2, "neg_log_z": 0.2} | means
    return {
        "id": f"p{prompt}/{sample}",
        "prompt_id": f"p{prompt}",
        "sample": sample,
        "tokens": len(alpha),
        **{f"{name}_mean": value for name, value in values.items()},
        "disjoint_tokens": 0,
        "alpha_values": alpha,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with jsonl.writer(path) as append:
        for value in rows:
            append(value)
    return path


# pass@k


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_k_subsets_with_a_pass(case: tuple[int, int, int]) -> None:
    n, passed, k = case
    subsets = list(itertools.combinations([i < passed for i in range(n)], k))
    assert pass_at_k(n, passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_is_stable_for_large_n() -> None:
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01, rel=1e-9)
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k(4, 1, 5)


def test_ks_are_powers_of_two_and_n() -> None:
    assert [powers_up_to(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_pass_at_k_averages_over_prompts_within_its_interval() -> None:
    points = pass_at_k_report(table([[10, 0], [0, 11], [0, 0], [13, 13]]))["points"]
    assert [(p["k"], p["estimate"], p["prompts"]) for p in points] == [(1, 0.5, 4), (2, 0.75, 4)]
    assert all(0 <= p["low"] <= p["estimate"] <= p["high"] <= 1 for p in points)


def test_no_pass_at_all_leaves_room_above_zero() -> None:
    point = pass_at_k_report(table([[0.0, 0.0]] * 10))["points"][0]
    assert point["estimate"] == point["low"] == 0 < point["high"] < 0.5


# Pass rates


def test_pass_rate_histogram_has_a_bar_for_each_count() -> None:
    rate = pass_rate_report(table([[10, 10, 10], [0, 0, 0], [12, 0, 12], [0, 0, 0]]))
    assert [bar["prompts"] for bar in rate["histogram"]] == [2, 0, 1, 1]
    assert (rate["prompts_none_passed"], rate["prompts_all_passed"]) == (2, 1)
    assert rate["rate"] == pytest.approx(5 / 12)


def test_completions_never_generated_are_in_no_rate() -> None:
    too_long = [row(9, j, None, 0, finish="prompt_too_long", tokens=0) for j in (0, 1)]
    stated = [*groups([[10, 10], [0, 0]]), Group(Prompt("p9", []), too_long)]
    report = build(
        collect(stated, 2, "exact_answer", "numeric_error"), None, "", "exact_answer", "numeric_error"
    )
    assert (report["completions"], report["not_generated"]) == (6, 2)
    assert report["pass_rate"]["rate"] == 0.5
    assert report["pass_at_k"]["points"][0]["prompts"] == 2
    assert report["errors"]["parse_failures"] == 0
    assert report["lengths"]["all"]["min"] == 7


# Errors


def test_error_bins_hold_their_lower_edge_and_keep_numeric_order() -> None:
    import numpy as np

    found = errors.bins(np.array([0.0, 0.0999, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 1.9999, 2.0, 1e300]))
    assert [b["count"] for b in found] == [2, 1, 0, 1, 1, 1, 1, 2, 2]
    assert [b["from"] for b in found] == sorted(b["from"] for b in found)
    assert found[-1]["to"] is None
    assert math.fsum(b["share"] for b in found) == pytest.approx(1)


def test_no_values_give_empty_bins() -> None:
    import numpy as np

    assert {b["share"] for b in errors.bins(np.array([]))} == {None}
    assert describe(np.array([]))["mean"] is None


def test_parse_failures_are_counted_and_enter_no_mean() -> None:
    report = errors.errors_report(
        table([[10, None, 12], [None, None, None], [15, 12.5, None]]), "numeric_error"
    )
    assert report is not None
    assert report["parse_failures"] == 5
    assert report["all"]["count"] == 4
    assert report["all"]["mean"] == pytest.approx((0 + 2 + 3 + 0.5) / 4)
    assert report["min_of_n"]["count"] == 2
    assert report["min_of_n"]["mean"] == pytest.approx(0.25)
    assert report["prompts_without_value"] == 1
    assert report["within_tolerance"] == pytest.approx(1 / 9)


def test_permuted_references_are_those_of_other_prompts() -> None:
    # Each prompt states its own reference, and they lie one apart: luck alone is off by 1 at least.
    report = errors.errors_report(table([[10.0], [11.0], [12.0], [13.0]]), "numeric_error")
    assert report is not None
    assert report["min_of_n"]["max"] == 0
    assert report["min_of_n_permuted"]["count"] == 4
    assert report["min_of_n_permuted"]["min"] >= 1


def test_one_prompt_has_no_other_reference() -> None:
    report = errors.errors_report(table([[10.0, 11.0]]), "numeric_error")
    assert report is not None
    assert report["min_of_n_permuted"] is None


def test_without_the_error_scorer_there_are_no_errors() -> None:
    assert errors.errors_report(collect(groups([[1.0]]), 1, "exact_answer", "no_such"), "no_such") is None


def test_an_error_scorer_in_some_rows_only_is_refused() -> None:
    stated = groups([[10, 10]])
    del stated[0].completions[1]["scores"]["numeric_error"]
    with pytest.raises(UserError, match="1 of 2 completions"):
        collect(stated, 2, "exact_answer", "numeric_error")


def test_a_missing_scorer_is_named() -> None:
    with pytest.raises(UserError, match=r"p0/0.*no score of 'judge'.*exact_answer"):
        collect(groups([[10]]), 1, "judge", "numeric_error")


# Lengths


@pytest.mark.parametrize(("low", "high"), [(0, 0), (7, 7), (12, 120), (1, 4096)])
def test_every_length_lies_in_one_bin(low: int, high: int) -> None:
    edges = integer_edges(low, high)
    assert edges[0] < low
    assert edges[-1] > high
    assert 2 <= len(edges) <= 42
    assert all(edge % 1 == 0.5 for edge in edges)


# q*


def test_qstar_means_weigh_by_tokens_and_n_is_a_view(tmp_path: Path) -> None:
    rows = [
        qstar_row(0, [0.2], kl_theta=None),
        qstar_row(1, [0.6, 0.6, 0.6], kl_theta=0.4),
        qstar_row(2, [0.9]),
    ]
    report = qstar.qstar_report([write(tmp_path / "d.jsonl", rows)], n=2)
    assert (report["completions"], report["tokens"]) == (2, 4)
    assert report["alpha_mean"] == pytest.approx((0.2 + 3 * 0.6) / 4)
    assert report["kl_theta_mean"] == pytest.approx(0.4)
    assert report["distributions"]["kl_theta"]["count"] == 1
    assert report["alpha_along_completion"]["reached"] == [2, 1, 1]
    assert sum(report["alpha_tokens"]["counts"]) == 4


def test_a_few_far_out_do_not_set_the_axes(tmp_path: Path) -> None:
    usual = [
        qstar_row(0, [0.4], prompt, kl_t=0.001 * (prompt % 20), ess_ratio=0.8 + 0.01 * (prompt % 20))
        for prompt in range(400)
    ]
    far = qstar_row(0, [0.4], 400, kl_t=1.75, ess_ratio=20_000.0)
    files = [write(tmp_path / f"{name}.jsonl", rows) for name, rows in (("a", usual), ("b", [*usual, far]))]
    without, found = (qstar.qstar_report([file], 1)["distributions"] for file in files)
    for metric, largest in (("kl_t", 0.03), ("ess_ratio", 2.0)):
        histogram = found[metric]["histogram"]
        assert histogram["edges"][-1] <= largest, metric
        # Nothing is lost without a word.
        assert found[metric]["beyond"] >= 1
        assert sum(histogram["counts"]) + found[metric]["beyond"] == 401
        assert without[metric]["beyond"] == 0


def test_alpha_quartiles_by_position() -> None:
    positions = qstar.AlphaByPosition()
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        positions.add([alpha, 0.5])
    positions.add([0.5] * 300)
    report = qstar.alpha_report(positions.counts, 6)["alpha_along_completion"]
    assert report["reached"] == [6, 6] + [1] * 298
    # Half of six completions are asked for: one does not make quartiles.
    assert report["median"] == [0.5, 0.5]
    assert (report["lower_quartile"], report["upper_quartile"]) == ([0.25, 0.5], [0.75, 0.5])


def test_tokens_where_alpha_deserves_a_look() -> None:
    positions = qstar.AlphaByPosition()
    positions.add([0.1, 0.2, 0.5, 0.8, 0.9])
    assert qstar.alpha_report(positions.counts, 1)["alpha_tokens"]["outside_0.2_0.8"] == pytest.approx(0.4)


def test_a_row_of_something_else_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"id": "p0/0", "sample": 0}])
    with pytest.raises(UserError, match="line 1: a row without 'alpha_mean'"):
        qstar.qstar_report([path], 1)


# Figures and the program

ODD: dict[str, list[list[float | None]]] = {
    "usual": [[10, 0, None, 13], [11, 11, 11, 11], [0, 0, 0, 0]],
    "one prompt, one completion": [[10]],
    "none passed": [[0, 0], [0, 0]],
    "all passed": [[10, 10], [11, 11]],
    "no numbers": [[None, None]],
    "wild numbers": [[10, 1e300], [1e30, 11], [0, 5000]],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ODD)
def test_odd_data_draws_without_a_warning(name: str, tmp_path: Path) -> None:
    from winnow.diagnostics.figures import draw

    rows = [qstar_row(0, [0.5] * (3 if name == "usual" else 1), kl_theta=0.0, kl_t=0.0, neg_log_z=0.0)]
    found = qstar.qstar_report([write(tmp_path / "d.jsonl", rows)], 1)
    report = build(table(ODD[name]), found, "run, step 1", "exact_answer", "numeric_error")
    draw(report, tmp_path)
    for figure in FIGURES + QSTAR_FIGURES:
        assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert "pass@k" in as_text(report)
    assert not_finite(orjson.loads(orjson.dumps(report)), report) == []


def not_finite(read: Any, written: Any, path: str = "") -> list[str]:
    """Where a number turned into null because JSON has no NaN and no Infinity."""
    if isinstance(written, dict):
        return [p for key in written for p in not_finite(read[key], written[key], f"{path}/{key}")]
    if isinstance(written, list):
        return [
            p
            for i, (r, w) in enumerate(zip(read, written, strict=True))
            for p in not_finite(r, w, f"{path}/{i}")
        ]
    return [path] if read is None and written is not None else []


@pytest.mark.filterwarnings("error")
def test_nothing_generated_and_empty_diagnostics_draw(tmp_path: Path) -> None:
    from winnow.diagnostics.figures import draw

    stated = [Group(Prompt("p", []), [row(0, 0, None, 0, finish="prompt_too_long", tokens=0)])]
    found = qstar.qstar_report([write(tmp_path / "d.jsonl", [])], 1)
    report = build(
        collect(stated, 1, "exact_answer", "numeric_error"), found, "", "exact_answer", "numeric_error"
    )
    draw(report, tmp_path)
    assert report["pass_at_k"]["points"][0]["estimate"] is None
    assert as_text(report).startswith("prompts")
    assert len(list(tmp_path.glob("*.png"))) == 6


def test_equal_numbers_give_equal_figures(tmp_path: Path) -> None:
    from winnow.diagnostics.figures import draw

    report = build(table(ODD["usual"]), None, "title", "exact_answer", "numeric_error")
    for folder in ("a", "b"):
        draw(report, tmp_path / folder)
    for figure in FIGURES:
        assert (tmp_path / "a" / f"{figure}.png").read_bytes() == (
            tmp_path / "b" / f"{figure}.png"
        ).read_bytes()
    assert not (tmp_path / "a" / "qstar.png").exists()


def diagnose(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "diagnose.py", *flags]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two shards of one prompt each, two blocks of two samples; the second block is all right."""
    for i in range(2):
        shard, reference = f"0000{i}-of-00002", 10.0 + i
        prompt = Prompt(f"p{i}", [{"role": "user", "content": "?"}], reference=f"{reference:g}")
        write(tmp_path / "prompts" / f"{shard}.jsonl", [prompt.to_row()])
        for block, stated in enumerate((0.0, reference)):
            samples = [2 * block, 2 * block + 1]
            scored = [row(i, sample, stated, reference) for sample in samples]
            q = [qstar_row(sample, [0.25 + 0.5 * block], prompt=i) for sample in samples]
            write(tmp_path / "scored" / f"{shard}.block-{block}.jsonl", scored)
            write(tmp_path / "completions" / f"{shard}.block-{block}.jsonl", scored)
            write(tmp_path / "completions" / f"{shard}.block-{block}.diagnostics.jsonl", q)
    return tmp_path


@pytest.mark.parametrize(("n", "rate", "alpha"), [(2, 0.0, 0.25), (3, 1 / 3, (0.25 + 0.25 + 0.75) / 3)])
def test_n_is_a_view(results: Path, n: int, rate: float, alpha: float) -> None:
    ran = diagnose(
        "--prompts", results / "prompts", "--scored", results / "scored",
        "--diagnostics", results / "completions", "--num_shards", 2, "--block_size", 2, "--n", n,
        "--output_dir", results / "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    report = jsonl.read_json(results / "out" / "diagnostics.json")
    assert report["pass_rate"]["rate"] == pytest.approx(rate)
    assert report["qstar"]["alpha_mean"] == pytest.approx(alpha)
    assert report["qstar"]["completions"] == 2 * n
    assert report["pass_at_k"]["points"][-1]["k"] == n
    written = {path.name for path in (results / "out").iterdir()}
    others = {"diagnostics.json", "diagnostics.html", "statistics.txt"}
    assert written == {f"{f}.png" for f in FIGURES + QSTAR_FIGURES} | others


def test_missing_diagnostics_say_what_to_do(results: Path) -> None:
    (results / "completions" / "00001-of-00002.block-0.diagnostics.jsonl").unlink()
    ran = diagnose(
        "--prompts", results / "prompts", "--scored", results / "scored",
        "--diagnostics", results / "completions", "--num_shards", 2, "--block_size", 2, "--n", 2,
        "--output_dir", results / "out",
    )  # fmt: skip
    assert ran.returncode == 2
    assert "00001-of-00002.block-0.diagnostics.jsonl" in ran.stderr
    assert "--save_diagnostics" in ran.stderr
    assert "Traceback" not in ran.stderr


def answers(*stated: tuple[str, bool]) -> list[dict[str, Any]]:
    """Completions that state these answers, and whether each passed."""
    return [
        {
            "finish_reason": "stop",
            "scores": {"exact_answer": {"value": float(passed), "passed": passed, "detail": detail}},
        }
        for detail, passed in stated
    ]


def test_the_vote_is_of_classes_of_answers() -> None:
    right = [("1,200", True), ("$1200", True)]
    assert vote(answers(("7", False), *right), "exact_answer") == (1.0, False)
    assert vote(answers(("7", False), ("7.0", False), *right), "exact_answer") == (0.0, True)
    assert vote(answers(*right, ("7", False), ("7.0", False)), "exact_answer") == (1.0, True)
    assert vote(answers(("no answer found", False)), "exact_answer") == (0.0, False)
    failed = [each | {"finish_reason": "failed"} for each in answers(("7", True))]
    assert math.isnan(vote(failed, "exact_answer")[0])
    assert math.isnan(vote(answers(("7", True)), "no_such_scorer")[0])


def test_maj_at_n_is_told_beside_pass_at_k() -> None:
    rows = [row(p, s, stated, 5.0) for p, numbers in enumerate([[5, 5, 1], [5, 1, 1], [5, 1, None]])
            for s, stated in enumerate(numbers)]  # fmt: skip
    groups = [Group(Prompt(f"p{p}", [], reference="5"), rows[3 * p : 3 * p + 3]) for p in range(3)]
    scorer = "numeric_error"
    report = build(collect(groups, 3, scorer, scorer), None, "", scorer, scorer)
    found = report["majority"]
    assert (found["n"], found["prompts"], found["ties"]) == (3, 3, 1)
    assert found["estimate"] == pytest.approx(2 / 3)
    assert found["low"] < 2 / 3 < found["high"]
    assert "  maj@3       66.7%" in as_text(report)
    # All of the lines below one heading end their figures in the same columns, 100 % too.
    shares = [line for line in as_text(report).splitlines() if line.startswith(("  k = ", "  maj@"))]
    assert len(shares) == 4 and any("100.0%" in line for line in shares)
    for nth in range(3):
        assert len({[each.end() for each in re.finditer("%", line)][nth] for line in shares}) == 1
    assert "a tie in 1 of 3 prompts" in as_text(report)
    low, high = report["errors"]["within_tolerance_ci"]
    assert low < report["errors"]["within_tolerance"] < high


def test_what_a_scorer_could_not_read_is_told_of_each_scorer() -> None:
    found = build(table([[10, None], [None, 11]]), None, "", "exact_answer", "numeric_error")
    assert found["without_value"] == {
        "exact_answer": {"count": 0, "share": 0.0},
        "numeric_error": {"count": 2, "share": 0.5},
    }
    [line] = [line for line in as_text(found).splitlines() if line.startswith("no value")]
    assert line.split() == ["no", "value", "2", "50.0%", "of", "those", "generated,", "by", "numeric_error"]


def test_maj_at_n_of_nothing_is_unknown() -> None:
    group = Group(Prompt("p0", []), [row(0, 0, None, 5.0, finish="failed")])
    assert majority_report(collect([group], 1, "numeric_error", "numeric_error"))["estimate"] is None
