"""Check a config against its schema, fill in the defaults, and say in plain words what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

from winnow import adapters, formats, scoring, templates
from winnow.arms import Alpha, Arm, blocks_for
from winnow.config_errors import WHERE, at_key, explain
from winnow.config_selection import check_pairs, check_scoring
from winnow.errors import UserError, closest
from winnow.schema import fill, schema
from winnow.scoring import reward_files
from winnow.training.attention import check_precision

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
        raise explain(errors[0])
    fill(config, schema())
    for key, template in config["prompt"].items():
        templates.check(template or "", f"{WHERE}, key prompt.{key}")
    _check_arms(config)
    _check_names(config)
    check_pairs(config)
    check_scoring(config)
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
    with at_key("training.attn_implementation"):
        check_precision(training["attn_implementation"], training["dtype"], training["bf16"])


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


def _check_names(config: dict[str, Any]) -> None:
    """Look up the adapter, the scorers and the formats; the user's own modules are imported here."""
    data = config["data"]
    with at_key("data.adapter"):
        adapters.adapter(
            data["adapter"],
            data["prompt_field"],
            data["response_field"],
            data["adapter_options"],
            seed=config["seed"],
            image_root=data["image_root"],
        )
    with at_key("scoring"):
        # Before their files are hashed, which takes longer.
        reward_files.inspect(config["scoring"])
        scoring.versions(config["scoring"])
    with at_key("export.formats"):
        formats.find_all(config["export"]["formats"])
