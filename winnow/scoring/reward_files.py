"""What the files of a reward model tell before it is loaded: has it a trained head, and how many outputs?

A dry run looks at each one, in milliseconds and without torch, so that a model that cannot score is refused
before a night of generation. What the files leave open is left to the moment of loading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow import manifest
from winnow.errors import UserError
from winnow.jsonl import read_json
from winnow.lora import CONFIG as ADAPTER
from winnow.lora import base_of
from winnow.scoring.registry import build, kind

HEADS = frozenset({"score", "classifier", "classification_head", "logits_proj", "sequence_summary"})
"""What transformers calls the heads of its sequence classifiers: a part of the name of their weights."""
OTHER_HEADS = ("perceiver",)
"""Model types whose head has none of these names."""
OUTPUT_LAYERS = (
    "score.weight", "score.out_proj.weight", "classifier.weight", "classifier.out_proj.weight",
    "classification_head.out_proj.weight", "logits_proj.weight",
)  # fmt: skip
"""Weights [outputs, width] of the last layer of a head."""
UNSAID = {"bart": 3}
"""Outputs of a sequence classifier whose config.json names no labels, by model type; two of all others."""
TEMPLATES = ("chat_template.jinja", "additional_chat_templates", "chat_template.json", "tekken.json")
"""Files of which each may bring a chat template."""
LARGEST_HEADER = 100_000_000
"""Bytes, the limit of the safetensors format."""


def inspect(scorers: Mapping[str, Any]) -> dict[str, str]:
    """What there is to say of each reward model among some scorers, by the scorer's name.

    Args:
        scorers: their options by name, as a config has them.

    Raises:
        UserError: one that would be refused when scoring starts.
    """
    told = {}
    for name, options in scorers.items():
        if kind(name) != "reward_model":
            continue
        scorer: Any = build(name, options)
        try:
            told[name] = f"{scorer.model}: {look(scorer.model, scorer.output, scorer.trust_remote_code)}"
        except UserError as error:
            raise error.at(f"scorer {name!r}") from error
    return told


def look(model: str, output: int | None = None, trust_remote_code: bool = False) -> str:
    """Look at a reward model's files.

    Args:
        model: a directory, a manifest file or a hub name.
        output: which of the head's outputs is the reward, where it has several.
        trust_remote_code: whether code beside the weights would be run, which may do anything.

    Returns:
        Its head, or why nothing can be said yet.

    Raises:
        UserError: it would be refused when it is loaded.
    """
    directory = manifest.place(model)
    if directory is None:
        return "on the hub, it is looked at when it is loaded"
    if not (directory / "config.json").is_file():
        if directory.is_dir() and base_of(directory):
            raise adapter(model)
        return "no config.json"
    config = read_json(directory / "config.json")
    files = _weight_files(directory, config)
    foreign = (trust_remote_code and "auto_map" in config) or (directory / ADAPTER).is_file()
    if foreign or config.get("model_type") in OTHER_HEADS or not files:
        return "it is looked at when it is loaded"
    shapes = {name: shape for file in files for name, shape in _shapes(file).items()}
    if HEADS.isdisjoint(part for name in shapes for part in name.split(".")):
        raise headless(model, "score, classifier or the like", "a sequence classifier")
    outputs, labels = _labels(config)
    layer = next((name for name in OUTPUT_LAYERS if name in shapes), None)
    if layer and "quantization_config" not in config and shapes[layer][0] != outputs:
        raise UserError(
            model,
            f"{layer} has {shapes[layer][0]} rows, and config.json has labels for {outputs} outputs",
            "as many labels (id2label, or num_labels) as outputs; without any, transformers mostly takes two",
            f'set "num_labels": {shapes[layer][0]} in its config.json, or id2label',
        )
    check_output(model, outputs, labels, output)
    if _lacks_template(directory):
        raise no_template(model)
    return f"{layer or 'a head'}, {outputs} output{'s' if outputs != 1 else ''}"


def adapter(model: str) -> UserError:
    """A reward model that is only an adapter of one."""
    return UserError(
        model,
        "a LoRA adapter",
        "a whole reward model",
        "merge it into its base with peft's merge_and_unload, and save that",
    )


def headless(model: str, lacking: str, wanted: str) -> UserError:
    """A model without the weights of a head."""
    return UserError(
        model,
        f"no trained head: the checkpoint lacks {lacking}, which would be random",
        f"all weights of {wanted}",
        "give a model that was trained as a reward model; a causal language model is none",
    )


def no_template(model: str) -> UserError:
    """A tokenizer that renders no conversation."""
    return UserError(
        model,
        "its tokenizer has no chat template",
        "a chat template that renders messages as the model was trained on them",
        "add chat_template.jinja to the model's directory",
    )


def check_output(model: str, outputs: int, labels: Mapping[int, str], output: int | None) -> None:
    """Whether it is clear which of a head's outputs is the reward.

    Raises:
        UserError: several outputs of which none was chosen, or one that is not there.
    """
    if output is None and outputs != 1:
        named = ", ".join(f"{index} {label}" for index, label in sorted(labels.items())[:8])
        raise UserError(
            model,
            f"its head has {outputs} outputs ({named})",
            "one output, the reward",
            "choose a reward model with one, or name the output to read: output: 0",
        )
    if output is not None and output >= outputs:
        raise UserError(model, f"output {output}", f"0 to {outputs - 1}", "correct the option")


def _labels(config: Mapping[str, Any]) -> tuple[int, dict[int, str]]:
    """How many outputs transformers gives the head, and their names."""
    named = config.get("id2label")
    if isinstance(named, dict):
        return len(named), {int(index): str(label) for index, label in named.items()}
    count = config.get("num_labels")
    outputs = count if isinstance(count, int) else UNSAID.get(str(config.get("model_type")), 2)
    return outputs, {index: f"LABEL_{index}" for index in range(outputs)}


def _weight_files(directory: Path, config: Mapping[str, Any]) -> list[Path]:
    """The files that transformers would load; none where config.json names others."""
    if config.get("transformers_weights"):
        return []
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        return []
    return [directory / name for name in sorted(set(read_json(index)["weight_map"].values()))]


def _shapes(file: Path) -> dict[str, list[int]]:
    """The shapes of a file's weights by name, of its header alone.

    Raises:
        UserError: no safetensors file, or one that is cut off.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length) if length <= LARGEST_HEADER else b"")
        header.pop("__metadata__", None)
        end = 8 + length + max((each["data_offsets"][1] for each in header.values()), default=0)
        shapes = {name: list(each["shape"]) for name, each in header.items()}
    except FileNotFoundError:
        raise _damaged(file, "not there, and the index names it") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _damaged(
            file, "no safetensors file, perhaps only the pointer that Git LFS puts there"
        ) from None
    size = file.stat().st_size
    if size < end:
        raise _damaged(file, f"cut off after {size:,} of {end:,} bytes")
    return shapes


def _damaged(file: Path, found: str) -> UserError:
    return UserError(file, found, "whole weights", "download the model again")


def _lacks_template(directory: Path) -> bool:
    """Whether its tokenizer can have no chat template; one that brings code or a format of its own may."""
    settings = directory / "tokenizer_config.json"
    if not settings.is_file() or any((directory / name).exists() for name in TEMPLATES):
        return False
    told = read_json(settings)
    return told.get("chat_template") is None and "auto_map" not in told
