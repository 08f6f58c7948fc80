"""The diagnostics of an arm as one JSON document, and as the text that a person reads."""

from __future__ import annotations

from typing import Any

from winnow.diagnostics.completions import Completions
from winnow.diagnostics.errors import errors_report
from winnow.diagnostics.lengths import lengths_report
from winnow.diagnostics.pass_at_k import majority_report, pass_at_k_report, pass_rate_report
from winnow.diagnostics.summaries import share


def build(
    completions: Completions, qstar: dict[str, Any] | None, title: str, scorer: str, error_scorer: str
) -> dict[str, Any]:
    """Everything that the figures show, as numbers."""
    drawn = completions.prompts * completions.n
    return {
        "title": title,
        "scorer": scorer,
        "n": completions.n,
        "prompts": completions.prompts,
        "completions": drawn,
        "not_generated": drawn - completions.generated,
        "pass_at_k": pass_at_k_report(completions),
        "majority": majority_report(completions),
        "pass_rate": pass_rate_report(completions),
        "without_value": {
            name: {"count": count, "share": share(count, completions.generated)}
            for name, count in completions.without_value.items()
        },
        "errors": errors_report(completions, error_scorer),
        "lengths": lengths_report(completions),
        "qstar": qstar,
    }


def as_text(report: dict[str, Any]) -> str:
    """The same as statistics.txt."""
    rate, lengths = report["pass_rate"], report["lengths"]
    lines = [report["title"]] * bool(report["title"]) + [
        "",
        f"prompts              {report['prompts']:>12,}",
        f"completions          {report['completions']:>12,}   (n = {report['n']})",
        f"not generated        {report['not_generated']:>12,}",
        f"passed               {rate['passed']:>12,}   {_percent(rate['rate'])} of those generated",
        f"prompts, none passed {rate['prompts_none_passed']:>12,}",
        f"prompts, all passed  {rate['prompts_all_passed']:>12,}",
        f"tokens, mean         {_figure(lengths['all']['mean']):>12}",
        f"cut at the limit     {lengths['cut']:>12,}   {_percent(lengths['cut_share'])} of those generated",
        *_without_value(report["without_value"]),
        "",
        f"pass@k by {report['scorer']}   [{report['pass_at_k']['interval']}]",
    ]
    lines += [
        f"  k = {point['k']:<6,} {_percent(point['estimate'])}   "
        f"[{_percent(point['low'])}, {_percent(point['high'])}]"
        for point in report["pass_at_k"]["points"]
    ]
    lines += _majority(report["majority"])
    lines += [""] + (_errors(report["errors"]) if report["errors"] else ["no numeric errors"])
    return "\n".join(lines).lstrip("\n") + "\n"


def _without_value(scorers: dict[str, Any]) -> list[str]:
    """A line for each scorer that has no value of some completions; none where it has one of all."""
    return [
        f"no value             {row['count']:>12,}   {_percent(row['share'])} of those generated, by {name}"
        for name, row in scorers.items()
        if row["count"]
    ]


def _majority(majority: dict[str, Any]) -> list[str]:
    """The line of maj@n, under those of pass@k; none where the scorer reads no answers."""
    if majority["estimate"] is None:
        return []
    return [
        f"  maj@{majority['n']:<6,} {_percent(majority['estimate'])}   "
        f"[{_percent(majority['low'])}, {_percent(majority['high'])}]"
        f"   the answer that most state; a tie in {majority['ties']:,} of {majority['prompts']:,} prompts"
    ]


def _errors(errors: dict[str, Any]) -> list[str]:
    """The error distribution: one column for each population."""
    columns = {"all completions": errors["all"], "best of n": errors["min_of_n"]}
    if errors["min_of_n_permuted"]:
        columns["… permuted"] = errors["min_of_n_permuted"]
    lines = [
        f"errors by {errors['scorer']}",
        f"  parse failures     {errors['parse_failures']:>12,}   {_percent(errors['parse_failure_share'])}"
        " of those generated; in no mean below",
        f"  prompts without    {errors['prompts_without_value']:>12,}   any number",
        f"  within tolerance   {_percent(errors['within_tolerance']):>12}   of those generated;"
        f" [{_percent(errors['within_tolerance_ci'][0])}, {_percent(errors['within_tolerance_ci'][1])}]"
        " by prompt",
        "",
        " " * 19 + "".join(f"{name:>17}" for name in columns),
        f"  {'count':<17}" + "".join(f"{column['count']:>17,}" for column in columns.values()),
    ]
    for key in ("mean", "median", "std", "min", "p05", "p25", "p75", "p95", "max"):
        lines.append(f"  {key:<17}" + "".join(f"{_figure(column[key]):>17}" for column in columns.values()))
    lines.append("  share by error")
    for index, row in enumerate(errors["all"]["bins"]):
        shares = "".join(f"{_percent(column['bins'][index]['share']):>17}" for column in columns.values())
        lines.append(f"    {bin_label(row):<15}{shares}")
    if errors["min_of_n_permuted"]:
        lines += ["", "  permuted: the best of n against another prompt's reference, what luck alone gives"]
    return lines


def bin_label(row: dict[str, Any]) -> str:
    """``0.1 – 0.2``, and ``≥ 2`` for the last bin."""
    return f"≥ {row['from']:g}" if row["to"] is None else f"{row['from']:g} – {row['to']:g}"


def _percent(share: float | None) -> str:
    return "  none" if share is None else f"{share:6.1%}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
