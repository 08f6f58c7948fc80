"""Whether the parts of a config that score, select and export fit together."""

from __future__ import annotations

from typing import Any

from winnow import formats, scoring
from winnow.config_errors import WHERE, at_key
from winnow.errors import UserError, closest
from winnow.selection.leakage import Gate
from winnow.selection.rules import Filters, Rules
from winnow.selection.strategies import PAIR_STRATEGIES


def check_pairs(config: dict[str, Any]) -> None:
    """Whether the formats that want pairs get them."""
    pairing = formats.needs_pairs(config["export"]["formats"])
    strategy = config["selection"]["strategy"]
    if pairing and strategy not in PAIR_STRATEGIES:
        raise UserError(
            f"{WHERE}, key export.formats",
            f"{pairing[0]}, whose rows are pairs, and selection.strategy is {strategy!r}, which makes none",
            f"a strategy that makes pairs: {', '.join(PAIR_STRATEGIES)}",
            f"set selection.strategy: {PAIR_STRATEGIES[0]}, or leave out {', '.join(pairing)}",
        )


def check_scoring(config: dict[str, Any]) -> None:
    """Whether what selects and evaluates is scored, and the rules of selection fit together."""
    scorers = config["scoring"]
    for key in ("selection", *(["evaluation"] if "heldout" in config["data"] else [])):
        if config[key]["scorer"] not in scorers:
            raise UserError(
                f"{WHERE}, key {key}.scorer",
                f"{config[key]['scorer']!r} is not among the scorers that run",
                f"one of {', '.join(scorers)}",
                "add it under scoring, or choose another",
            )
    _check_selection(config)


def _check_selection(config: dict[str, Any]) -> None:
    scorers, selection = config["scoring"], config["selection"]
    for voter in selection["voters"]:
        if voter not in scorers:
            raise UserError(
                f"{WHERE}, key selection.voters",
                f"{voter!r} is not among the scorers that run{closest(voter, scorers)}",
                f"some of {', '.join(scorers)}",
                "add it under scoring, or leave it out",
            )
    Rules(
        voters=tuple(selection["voters"]),
        filters=Filters(
            selection["skip_identical"],
            tuple(selection["finish_reasons"]),
            selection["min_tokens"],
            selection["max_tokens"],
        ),
        pass_rate=(selection["min_pass_rate"], selection["max_pass_rate"]),
        **{
            key: selection[key]
            for key in (
                "strategy",
                "scorer",
                "top_k",
                "pair_mode",
                "min_margin",
                "max_error",
                "include_reference",
            )
        },
    ).check_idle()
    if selection["include_reference"]:
        _check_references(config)
    with at_key("selection.leak_phrases"):
        Gate(phrases=tuple(selection["leak_phrases"]))
    if selection["decontaminate_heldout"] and "heldout" not in config["data"]:
        raise UserError(
            f"{WHERE}, key selection.decontaminate_heldout",
            "true, without data.heldout",
            "held-out prompts to keep clear of",
            "add data.heldout, or name test sets under decontaminate",
        )
    _check_drift(config)


def _check_references(config: dict[str, Any]) -> None:
    """Whether all that decides says something of references."""
    scorers, selection = config["scoring"], config["selection"]
    for name in (selection["scorer"], *selection["voters"]):
        if not getattr(scoring.build(name, scorers[name]), "scores_references", False):
            raise UserError(
                f"{WHERE}, key selection.include_reference",
                f"true, and {name!r} gives references no score",
                "score_references: true for the selection's scorer and every voter, each a reward_model",
                f"set scoring.{name}.score_references: true where it is a reward_model, or set "
                "include_reference: false",
            )


def _check_drift(config: dict[str, Any]) -> None:
    selection, generation = config["selection"], config["generation"]
    drifts = [key for key in ("max_length_drift", "max_logprob_drift") if selection[key] is not None]
    if drifts and not selection["unhinted"]:
        raise UserError(
            f"{WHERE}, key selection.{drifts[0]}",
            f"{selection[drifts[0]]}, without unhinted completions to measure it by",
            "unhinted: true",
            "set selection.unhinted, or leave the bound out",
        )
    if selection["max_logprob_drift"] is not None and not generation["save_logprobs"]:
        raise UserError(
            f"{WHERE}, key selection.max_logprob_drift",
            f"{selection['max_logprob_drift']}, without log-probabilities to measure it by",
            "generation.save_logprobs: true",
            "set it (completions are drawn again), or leave the bound out",
        )
    if selection["max_logprob_drift"] is not None and not generation["temperature"]:
        raise UserError(
            f"{WHERE}, key selection.max_logprob_drift",
            f"{selection['max_logprob_drift']}, with generation.temperature 0: an arg-max is drawn with "
            "certainty, and its log-probabilities are not kept",
            "generation.temperature above 0",
            "raise it (completions are drawn again), or leave the bound out",
        )
    if generation["save_logprobs"] and generation["backend"] == "vllm" and config["serving"]["base_url"]:
        raise UserError(
            f"{WHERE}, key generation.save_logprobs",
            "true, with servers that run already (serving.base_url)",
            "a server of the job's own: vLLM's default is to tell others than those that it draws from",
            "leave one of the two out",
        )
