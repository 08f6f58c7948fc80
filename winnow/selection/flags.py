"""The flags of select.py that are the rules of selection, and what they make."""

from __future__ import annotations

import argparse

from winnow.command_line import fraction, positive_int
from winnow.errors import UserError
from winnow.selection.contamination import Decontamination, TestSet, read_test_set
from winnow.selection.drift import Bounds
from winnow.selection.filters import Filters
from winnow.selection.leakage import Gate
from winnow.selection.near_duplicates import NearDuplicates
from winnow.selection.pairs import PAIR_MODES
from winnow.selection.rules import Rules
from winnow.selection.selector import Selector
from winnow.selection.strategies import STRATEGIES


def add_rules(p: argparse.ArgumentParser) -> None:
    """What is kept of a prompt."""
    group = p.add_argument_group("what is kept")
    group.add_argument("--strategy", default="correct", help=", ".join(STRATEGIES))
    group.add_argument("--scorer", default="exact_answer", help="whose score decides")
    group.add_argument(
        "--voters", nargs="+", default=[], help="scorers that vote, for best, worst, best_worst"
    )
    group.add_argument("--max_error", type=float, help="for min_error: keep nothing above it")
    group.add_argument("--top_k", type=positive_int, help="for top_k: how many of a prompt")
    group.add_argument("--pair_mode", default=PAIR_MODES[0], help="for best_worst: " + ", ".join(PAIR_MODES))
    group.add_argument("--min_margin", type=float, help="for best_worst: the least difference of values")
    group.add_argument(
        "--max_per_prompt", type=positive_int, help="keep at most so many examples of a prompt"
    )
    group.add_argument("--keep_duplicates", action="store_true", help="keep equal texts of a prompt")
    group.add_argument(
        "--include_reference_completion_for_rejection_sampling",
        dest="include_reference",
        action="store_true",
        help="a prompt's reference is one more candidate, as the reward models scored it",
    )
    group.add_argument("--num_examples", type=positive_int, help="keep a random subset of this size")
    group.add_argument("--seed", type=int, default=0, help="of that subset, and of random pairs")


def add_filters(p: argparse.ArgumentParser) -> None:
    """What is left out, whatever its score."""
    group = p.add_argument_group("what is left out")
    group.add_argument("--skip_identical", action="store_true", help="prompts of identical completions")
    group.add_argument("--min_pass_rate", type=fraction, default=0.0, help="leave out harder prompts")
    group.add_argument("--max_pass_rate", type=fraction, default=1.0, help="leave out easier prompts")
    group.add_argument("--finish_reasons", nargs="+", default=[], help="keep these alone: stop, length")
    group.add_argument("--min_tokens", type=positive_int, help="leave out shorter completions")
    group.add_argument("--max_tokens", type=positive_int, help="leave out longer completions")
    group.add_argument("--near_duplicates", type=float, help="similarity within a prompt, as 0.8")
    group.add_argument("--near_duplicates_across", type=float, help="similarity across prompts")
    group.add_argument("--shingle_words", type=positive_int, default=5, help="words of their runs")
    group.add_argument(
        "--decontaminate",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="test sets, .jsonl, .json, .parquet or text; a name may have several files",
    )
    group.add_argument("--decontaminate_words", type=positive_int, default=13, help="words of a shared run")


def add_leak_gate(p: argparse.ArgumentParser) -> None:
    """For teachers that saw the answer."""
    group = p.add_argument_group("leaks of the hint that a teacher was shown; one of these reports them")
    group.add_argument("--max_hint_overlap", type=fraction, help="share of the hint's runs; 1 only reports")
    group.add_argument("--hint_words", type=positive_int, default=5, help="words of a run of the hint")
    group.add_argument("--leak_phrases", nargs="+", default=[], help="as 'given the answer'")
    group.add_argument(
        "--unhinted",
        nargs="+",
        default=[],
        help="scored blocks of the same prompts without a hint, or folder",
    )
    group.add_argument(
        "--unhinted_n", type=positive_int, help="their samples of a prompt; as --n if not given"
    )
    group.add_argument("--max_length_drift", type=float, help="largest ratio of lengths to the unhinted")
    group.add_argument("--max_logprob_drift", type=float, help="largest difference of mean log-probability")


def selector(arguments: argparse.Namespace) -> Selector:
    """What decides, with empty memory.

    Raises:
        UserError: a value out of its range, or a test set that cannot be read.
    """
    rules = Rules(
        strategy=arguments.strategy,
        scorer=arguments.scorer,
        max_error=arguments.max_error,
        max_per_prompt=arguments.max_per_prompt,
        deduplicate=not arguments.keep_duplicates,
        pass_rate=(arguments.min_pass_rate, arguments.max_pass_rate),
        filters=Filters(
            arguments.skip_identical,
            tuple(arguments.finish_reasons),
            arguments.min_tokens,
            arguments.max_tokens,
        ),
        voters=tuple(arguments.voters),
        top_k=arguments.top_k,
        pair_mode=arguments.pair_mode,
        min_margin=arguments.min_margin,
        seed=arguments.seed,
        include_reference=arguments.include_reference,
    )
    rules.check_idle()
    within, across = arguments.near_duplicates, arguments.near_duplicates_across
    near = None
    if within is not None or across is not None:
        near = NearDuplicates(within, across, arguments.shingle_words)
    bounds = Bounds(arguments.max_length_drift, arguments.max_logprob_drift)
    gate = Gate(arguments.max_hint_overlap, arguments.hint_words, tuple(arguments.leak_phrases))
    asked = (
        arguments.max_hint_overlap is not None or arguments.leak_phrases or arguments.unhinted or bounds.given
    )
    sets = test_sets(arguments.decontaminate, arguments.decontaminate_words)
    tests = Decontamination(sets, arguments.decontaminate_words) if sets else None
    return Selector(rules, near, tests, gate if asked else None, bounds)


def test_sets(given: list[str], n: int) -> list[TestSet]:
    """Test sets from ``name=file``; files of one name are one set.

    Raises:
        UserError: not of that form, or a set that cannot be read.
    """
    files: dict[str, list[str]] = {}
    for each in given:
        name, mark, path = each.partition("=")
        if not (name and mark and path):
            raise UserError("--decontaminate", repr(each), "name=file", "name the set and its file")
        files.setdefault(name, []).append(path)
    return [read_test_set(name, paths, n) for name, paths in files.items()]
