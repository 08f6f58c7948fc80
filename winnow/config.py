"""Check a config against its schema, fill in the defaults, and say in plain words what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema

from winnow import adapters, formats, scoring
from winnow.arms import Alpha, Arm, blocks_for
from winnow.errors import UserError, closest
from winnow.schema import fill, schema
from winnow.scoring import reward_files
from winnow.selection.leakage import Gate
from winnow.selection.rules import Filters, Rules

WHERE = "config"
PAIR_STRATEGIES = ("best_worst",)
"""Strategies of selection that keep a chosen and a rejected completion."""
FILES_IN_FOLDER = 10_000
"""With more files in one folder, shared file systems slow down for everybody on them."""


def check(config: dict[str, Any]) -> None:
    """Check the config and fill in its defaults, in place.

    Raises:
        UserError: an unknown key, a wrong type or value, or parts that do not fit together; the
            message names the key.
    """
    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.path)))
    if errors:
        raise _explain(errors[0])
    fill(config, schema())
    _check_arms(config)
    _check_names(config)
    _check_pairs(config)
    _check_scoring(config)
    _check_training(config["training"])
    _check_heldout(config)
    _check_folders(config)


def arms(config: dict[str, Any]) -> list[tuple[Arm, bool]]:
    """Every (arm, whether it is trained) of a checked config, rounds after the first included."""
    found: dict[Arm, bool] = {}
    for entry in config["arms"]:
        for alpha in entry["alpha"]:
            for n in entry["n"]:
                arm = Arm(entry["step"], Alpha.parse(alpha).name, n)
                found[arm] = found.get(arm, False) or entry["train"]
    for arm in round_arms(config):
        found[arm] = True
    return list(found.items())


def exported(config: dict[str, Any]) -> list[Arm]:
    """The arms of which training data is written: those that are trained, and those that ask for it."""
    asked = {
        Arm(entry["step"], Alpha.parse(alpha).name, n)
        for entry in config["arms"]
        if entry["export"]
        for alpha in entry["alpha"]
        for n in entry["n"]
    }
    return [arm for arm, trained in arms(config) if trained or arm in asked]


def error_scorer(config: dict[str, Any]) -> str | None:
    """Whose errors the diagnostics show: the selection's if it is a numeric_error, else the first of them."""
    names = [config["selection"]["scorer"], *config["scoring"]]
    return next((name for name in names if scoring.kind(name) == "numeric_error"), None)


def round_arms(config: dict[str, Any]) -> list[Arm]:
    """The arm of each round: round 1 from the configured step, round r from step ``round-(r−1)``."""
    rounds = config.get("rounds")
    if rounds is None:
        return []
    steps = [rounds["step"], *(f"round-{index}" for index in range(1, rounds["count"]))]
    return [Arm(step, Alpha.parse(rounds["alpha"]).name, rounds["n"]) for step in steps]


def _explain(error: Any) -> UserError:
    """Put a jsonschema.ValidationError into words."""
    key = ".".join(map(str, error.absolute_path)) or "(top)"
    where = f"{WHERE}, key {key}"
    mend = "correct the config; schemas/config.schema.yaml describes every key"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        return UserError(
            where,
            f"unknown key {unknown[0]!r}{closest(str(unknown[0]), known)}",
            "one of " + ", ".join(known),
            mend,
        )
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return UserError(where, f"{missing[0]!r} is missing", f"{', '.join(error.validator_value)}", mend)
    return UserError(
        where,
        f"{error.instance!r} ({type(error.instance).__name__})",
        _expectation(error),
        mend,
    )


def _expectation(error: Any) -> str:
    value = error.validator_value
    listed = [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
    words = {
        "type": f"of type {' or '.join(listed)}",
        "enum": f"one of {', '.join(listed)}",
        "minimum": f"at least {value}",
        "maximum": f"at most {value}",
        "exclusiveMinimum": f"above {value}",
        "minItems": f"at least {value} entry",
        "minProperties": f"at least {value} entry",
        "pattern": f"letters, digits and marks that suit a path ({value})",
    }
    wanted = words.get(str(error.validator), error.message)
    description = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"{wanted}. {description}" if description else wanted


def _check_arms(config: dict[str, Any]) -> None:
    steps = config["models"]["policy"]
    for step in steps:
        if not isinstance(step, str):
            raise UserError(
                f"{WHERE}, key models.policy",
                f"step {step!r} ({type(step).__name__})",
                f"text: {str(step)!r}",
                "put the step's name in quotes",
            )
        if step.startswith("round-"):
            raise UserError(
                f"{WHERE}, key models.policy",
                f"step {step!r}",
                "a name that does not begin with 'round-': rounds make these",
                "rename the step",
            )
    for key, step, alphas in _named_steps(config):
        if step not in steps:
            raise UserError(
                f"{WHERE}, key {key}.step",
                f"{step!r}{closest(step, steps)}",
                f"a step of models.policy: {', '.join(steps)}",
                "correct the step, or add its checkpoint",
            )
        for alpha in alphas:
            Alpha.parse(alpha, where=f"{WHERE}, key {key}.alpha")
    if any(train for _, train in arms(config)) and "prompt_completion" not in config["export"]["formats"]:
        raise UserError(
            f"{WHERE}, key export.formats",
            ", ".join(config["export"]["formats"]),
            "prompt_completion among them, which training reads",
            "add it",
        )


def _check_training(training: dict[str, Any]) -> None:
    if training["train_batch_size"] % training["micro_train_batch_size"]:
        raise UserError(
            f"{WHERE}, key training.train_batch_size",
            f"{training['train_batch_size']} over micro-batches of {training['micro_train_batch_size']}",
            "a multiple of micro_train_batch_size",
            "change one of the two",
        )


def _check_heldout(config: dict[str, Any]) -> None:
    trained = [arm.path for arm, trained in arms(config) if trained]
    if "heldout" not in config["data"] and trained:
        raise UserError(
            f"{WHERE}, key data.heldout",
            f"not given, and {trained[0]} is trained",
            "prompts that nothing is trained on: a checkpoint is measured before and after",
            "add data.heldout, or train no arm",
        )


def _check_folders(config: dict[str, Any]) -> None:
    """Each block of a shard leaves two files in a folder: completions and diagnostics, log and attempts."""
    block_size = config["generation"]["block_size"]
    drawn = max(len(blocks_for(arm.n, block_size)) for arm, _ in arms(config))
    for split, blocks in (("train", drawn), ("heldout", 1)):
        if split not in config["data"]:
            continue
        shards, most = config["data"][split]["shards"], FILES_IN_FOLDER // (2 * blocks)
        if shards > most:
            fewer = [f"at most {most:,} shards"] * (most > 0)
            larger = ["a larger generation.block_size"] * (blocks > 1)
            raise UserError(
                f"{WHERE}, key data.{split}.shards",
                f"{shards:,} shards of {blocks:,} blocks: {2 * shards * blocks:,} files in one folder",
                f"at most {FILES_IN_FOLDER:,}",
                "set " + ", or ".join(fewer + larger),
            )


def _named_steps(config: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    for index, entry in enumerate(config["arms"]):
        yield f"arms.{index}", entry["step"], entry["alpha"]
    if "rounds" in config:
        yield "rounds", config["rounds"]["step"], [config["rounds"]["alpha"]]


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Put the config's key before what an error says."""
    try:
        yield
    except UserError as error:
        raise error.at(f"{WHERE}, key {key}") from error


def _check_names(config: dict[str, Any]) -> None:
    """Look up the adapter, the scorers and the formats; the user's own modules are imported here."""
    data = config["data"]
    with _at("data.adapter"):
        adapters.adapter(
            data["adapter"],
            data["prompt_field"],
            data["response_field"],
            data["adapter_options"],
            seed=config["seed"],
            image_root=data["image_root"],
        )
    with _at("scoring"):
        # Before their files are hashed, which takes longer.
        reward_files.inspect(config["scoring"])
        scoring.versions(config["scoring"])
    with _at("export.formats"):
        formats.find_all(config["export"]["formats"])


def _check_pairs(config: dict[str, Any]) -> None:
    pairing = formats.needs_pairs(config["export"]["formats"])
    strategy = config["selection"]["strategy"]
    if pairing and strategy not in PAIR_STRATEGIES:
        raise UserError(
            f"{WHERE}, key export.formats",
            f"{pairing[0]}, whose rows are pairs, and selection.strategy is {strategy!r}, which makes none",
            f"a strategy that makes pairs: {', '.join(PAIR_STRATEGIES)}",
            f"set selection.strategy, or leave out {', '.join(pairing)}",
        )


def _check_scoring(config: dict[str, Any]) -> None:
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
            for key in ("strategy", "scorer", "top_k", "pair_mode", "min_margin", "max_error")
        },
    ).check_idle()
    with _at("selection.leak_phrases"):
        Gate(phrases=tuple(selection["leak_phrases"]))
    if selection["decontaminate_heldout"] and "heldout" not in config["data"]:
        raise UserError(
            f"{WHERE}, key selection.decontaminate_heldout",
            "true, without data.heldout",
            "held-out prompts to keep clear of",
            "add data.heldout, or name test sets under decontaminate",
        )
    drifts = [key for key in ("max_length_drift", "max_logprob_drift") if selection[key] is not None]
    if drifts and not selection["unhinted"]:
        raise UserError(
            f"{WHERE}, key selection.{drifts[0]}",
            f"{selection[drifts[0]]}, without unhinted completions to measure it by",
            "unhinted: true",
            "set selection.unhinted, or leave the bound out",
        )
