"""The config: defaults from the schema, and messages that name the key."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from winnow import config as configs
from winnow.arms import Arm
from winnow.errors import UserError

ROOT = Path(__file__).parents[2]
SMALL = {
    "run": "x",
    "data": {"train": {"path": "a.jsonl"}, "heldout": {"path": "b.jsonl"}},
    "models": {"policy": {"260": "models/p"}},
    "arms": [{"step": "260", "alpha": ["policy"], "n": [4]}],
}


def put(path: str, value) -> dict:
    """The small config with one value set, `path` dotted."""
    config = copy.deepcopy(SMALL)
    *way, last = path.split(".")
    part = config
    for key in way:
        part = part[int(key)] if isinstance(part, list) else part.setdefault(key, {})
    part[int(last) if isinstance(part, list) else last] = value
    return config


def refusal(config: dict) -> UserError:
    with pytest.raises(UserError) as error:
        configs.check(config)
    assert (
        error.value.where.startswith("config")
        or "scorer" in error.value.where
        or "selection" in error.value.where
    )
    assert error.value.mend
    return error.value


@pytest.mark.parametrize("path", ["config.yaml", *sorted(map(str, ROOT.glob("examples/*/config.yaml")))])
def test_shipped_configs_pass(path, monkeypatch):
    # Where Snakemake is started: plug-ins are imported from there.
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / path).read_text())
    configs.check(config)
    assert configs.arms(config)


def test_the_smallest_config_passes():
    configs.check(copy.deepcopy(SMALL))


def test_a_template_that_cannot_be_read_is_refused_before_anything_runs():
    error = refusal(put("prompt.teacher", "What is {{ problem }?"))
    assert error.where == "config, key prompt.teacher"
    assert "{{ problem }?" in error.found


def defaults(part: dict, where: tuple = ()):
    """(path, default) of every key in the schema, `$ref`s followed."""
    for key, inner in part.get("properties", {}).items():
        here = (*where, key)
        if "$ref" in inner:
            inner = configs.schema()["$defs"][inner["$ref"].rpartition("/")[2]]
        if "default" in inner and not isinstance(inner["default"], dict):
            yield here, inner["default"]
        yield from defaults(inner, here)
        yield from defaults(inner.get("items", {}), (*here, 0))


def test_every_default_of_the_schema_is_filled_in():
    config = copy.deepcopy(SMALL)
    configs.check(config)
    found = list(defaults(configs.schema()))
    assert len(found) > 40
    for path, default in found:
        value = config
        for key in path:
            value = value[key]
        assert value == default, path
    assert config["scoring"] == {"exact_answer": {}}
    configs.check(config)


def test_defaults_do_not_overwrite_and_are_not_shared():
    config = put("generation.temperature", 0.0)
    configs.check(config)
    assert config["generation"]["temperature"] == 0.0
    config["export"]["formats"].append("x")
    config["scoring"]["y"] = {}
    other = copy.deepcopy(SMALL)
    configs.check(other)
    assert "x" not in other["export"]["formats"]
    assert "y" not in other["scoring"]


def test_every_key_is_described():
    def undescribed(part, where=""):
        for key, inner in part.get("properties", {}).items():
            if "$ref" not in inner and "description" not in inner:
                yield f"{where}.{key}"
            yield from undescribed(inner, f"{where}.{key}")
            yield from undescribed(inner.get("items", {}), f"{where}.{key}")

    assert not list(undescribed(configs.schema()))


@pytest.mark.parametrize(
    ("path", "key", "near"),
    [
        ("generation.temprature", "generation", "temperature"),
        ("sead", "(top)", "seed"),
        ("arms.0.stepp", "arms.0", "step"),
        ("data.train.shard", "data.train", "shards"),
    ],
)
def test_a_misspelt_key_is_named_with_a_suggestion(path, key, near):
    error = refusal(put(path, 1))
    assert error.where == f"config, key {key}"
    assert repr(path.rpartition(".")[2]) in error.found
    assert f"did you mean {near!r}?" in error.found


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("generation.temperature", "hot", "of type number"),
        ("generation.temperature", -1, "at least 0"),
        ("generation.top_p", 0, "above 0"),
        ("generation.top_p", 1.5, "at most 1"),
        ("generation.dtype", "float8", "one of float16"),
        ("seed", "17", "of type integer"),
        ("seed", True, "of type integer"),
        ("arms.0.n", [0], "at least 1"),
        ("arms.0.n", 4, "of type array"),
        ("arms.0.n", [], "at least 1 entry"),
        ("arms.0.step", 260, "of type string"),
        ("selection.max_per_prompt", "4", "integer or null"),
        ("run", "a/b", "suit a path"),
        ("models.policy", {}, "at least 1 entry"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(path, value, expected):
    error = refusal(put(path, value))
    assert error.where.removeprefix("config, key ").startswith(path)
    assert expected in error.expected


def test_a_missing_key_is_named():
    config = copy.deepcopy(SMALL)
    del config["data"]["train"]
    assert "'train' is missing" in refusal(config).found


def test_held_out_prompts_are_needed_only_where_something_is_trained():
    config = copy.deepcopy(SMALL)
    del config["data"]["heldout"]
    config["scoring"] = {"numeric_error": {}}
    config["selection"] = {"scorer": "numeric_error", "strategy": "min_error"}
    configs.check(copy.deepcopy(config))
    config["arms"][0]["train"] = True
    assert "step-260/policy/n-4 is trained" in refusal(copy.deepcopy(config)).found
    config["arms"][0]["train"] = False
    config["rounds"] = {"count": 1, "step": "260", "alpha": "policy", "n": 2}
    assert "is trained" in refusal(config).found


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (put("arms.0.step", "26"), ["arms.0.step", "'26'", "'260'"]),
        (put("rounds", {"count": 1, "step": "270", "alpha": "policy", "n": 2}), ["rounds.step", "'260'"]),
        (put("arms.0.alpha", ["kl_symetry"]), ["arms.0.alpha", "did you mean 'kl_symmetry'?"]),
        (put("rounds", {"count": 1, "step": "260", "alpha": "x", "n": 2}), ["rounds.alpha"]),
        (put("models.policy.round-1", "p"), ["models.policy", "round-1"]),
        (put("models.policy", {260: "p"}), ["models.policy", "260"]),
        (put("scoring", {"exact_anser": {}}), ["exact_anser", "did you mean 'exact_answer'?"]),
        (put("scoring", {"exact_answer": {"x": 1}}), ["exact_answer", "'x'"]),
        (put("scoring", {"numeric_error": {}}), ["selection.scorer", "numeric_error"]),
        (put("evaluation.scorer", "numeric_error"), ["evaluation.scorer"]),
        (put("selection", {"min_pass_rate": 0.8, "max_pass_rate": 0.2}), ["pass_rate", "0.8"]),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together(config, words):
    message = str(refusal(config))
    assert [word for word in words if word not in message] == []


def test_training_needs_its_format():
    config = put("export.formats", ["messages"])
    configs.check(copy.deepcopy(config))
    config["arms"][0]["train"] = True
    assert refusal(config).where == "config, key export.formats"


@pytest.mark.parametrize("name", ["preference", "sharegpt_preference", "open_instruct"])
def test_formats_of_pairs_need_a_selection_of_pairs(name):
    error = refusal(put("export.formats", ["prompt_completion", name]))
    assert error.where == "config, key export.formats"
    assert name in error.found
    assert "'correct'" in error.found
    assert "best_worst" in error.expected
    assert name in error.mend


def test_arms_and_rounds():
    config = put("rounds", {"count": 3, "step": "260", "alpha": "fixed-.5", "n": 4})
    config["arms"] = [
        {"step": "260", "alpha": ["policy", "fixed-0.50"], "n": [4, 8]},
        {"step": "260", "alpha": ["policy"], "n": [8], "train": True},
    ]
    configs.check(config)
    found = dict(configs.arms(config))
    assert found == {
        Arm("260", "policy", 4): False,
        Arm("260", "policy", 8): True,
        Arm("260", "fixed-0.5", 4): True,
        Arm("260", "fixed-0.5", 8): False,
        Arm("round-1", "fixed-0.5", 4): True,
        Arm("round-2", "fixed-0.5", 4): True,
    }
    assert [arm.step for arm in configs.round_arms(config)] == ["260", "round-1", "round-2"]


@pytest.mark.parametrize(
    ("split", "n", "block_size", "most"),
    [
        ("train", [4], 8, 5000),
        ("train", [8, 40, 16], 8, 1000),
        ("train", [8], 1, 625),
        ("heldout", [64], 1, 5000),
    ],
)
def test_no_folder_gets_more_files_than_a_file_system_likes(split, n, block_size, most):
    def with_shards(count):
        config = put(f"data.{split}.shards", count)
        config["generation"] = {"block_size": block_size}
        config["arms"][0]["n"] = n
        return config

    configs.check(with_shards(most))
    error = refusal(with_shards(most + 1))
    assert error.where == f"config, key data.{split}.shards"
    assert f"at most {most:,} shards" in error.mend
    assert ("block_size" in error.mend) == (split == "train" and max(n) > block_size)


def test_shards_are_not_asked_for_where_blocks_alone_are_too_many():
    config = put("generation.block_size", 1)
    config["arms"][0]["n"] = [5001]
    assert refusal(config).mend == "set a larger generation.block_size"


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"strategy": "best", "voters": ["exact_anser"]}, "did you mean 'exact_answer'"),
        ({"strategy": "correct", "voters": ["exact_answer"]}, "with the strategy correct"),
        ({"strategy": "top_k"}, "give top_k"),
        ({"min_tokens": 9, "max_tokens": 3}, "min_tokens ≤ max_tokens"),
        ({"finish_reasons": ["eos"]}, "one of stop, length"),
        ({"near_duplicates": 1.5}, "at most 1"),
        ({"leak_phrases": ["!"]}, "key selection.leak_phrases"),
        ({"max_length_drift": 2.0}, "set selection.unhinted"),
        ({"max_length_drift": 0.5, "unhinted": True}, "at least 1"),
        ({"max_logprob_drift": 0.5, "unhinted": True}, "generation.save_logprobs: true"),
        ({"decontaminate": {"gsm8k": 3}}, "selection.decontaminate.gsm8k"),
    ],
)
def test_selections_that_do_not_fit(selection, message):
    assert message in str(refusal(put("selection", selection)))


def test_flash_attention_without_half_precision_is_refused_before_anything_is_drawn():
    config = put("training.attn_implementation", "flash_attention_2")
    assert "key training.attn_implementation" in refusal(copy.deepcopy(config)).where
    config["training"]["bf16"] = True
    configs.check(config)


def test_heldout_prompts_to_keep_clear_of_must_be_there():
    config = put("selection", {"decontaminate_heldout": True})
    configs.check(copy.deepcopy(config))
    del config["data"]["heldout"]
    assert "without data.heldout" in str(refusal(config))


def with_reward_models(*scores_references: bool, **selection):
    """A config whose selection is voted on by reward models that score references or do not."""
    config = put("selection", {"strategy": "best_worst", "include_reference": True} | selection)
    config["scoring"] = {"exact_answer": {}} | {
        f"reward_model/{index}": {"model": "examples/tulu/models/reward-a", "score_references": scores}
        for index, scores in enumerate(scores_references)
    }
    return config


def test_references_are_included_where_all_that_decides_scores_them():
    both = {"scorer": "reward_model/0", "voters": ["reward_model/0", "reward_model/1"]}
    configs.check(with_reward_models(True, True, **both))
    error = refusal(with_reward_models(True, False, **both))
    assert "'reward_model/1' gives references no score" in error.found
    assert "scoring.reward_model/1.score_references: true" in error.mend
    assert error.where == "config, key selection.include_reference"
    configs.check(with_reward_models(True, False, scorer="reward_model/0"))
    configs.check(with_reward_models(False, scorer="reward_model/0", include_reference=False))


def test_references_beside_verdicts_or_bounds_of_length_are_refused():
    assert "gives verdicts" in str(refusal(with_reward_models(True, scorer="exact_answer")))
    bounded = with_reward_models(True, scorer="reward_model/0", max_tokens=9)
    assert "its tokens were not counted" in str(refusal(bounded))
    single = with_reward_models(True, scorer="reward_model/0", strategy="correct")
    assert "true with the strategy correct" in str(refusal(single))


def test_a_selection_of_everything_passes():
    selection = {
        "strategy": "best_worst", "voters": ["exact_answer", "numeric_error"], "pair_mode": "max_random",
        "min_margin": 0, "finish_reasons": ["stop"], "near_duplicates": 0.8, "near_duplicates_across": 0.9,
        "decontaminate": {"a": "a.jsonl", "b": ["b.txt", "c.txt"]}, "max_hint_overlap": 0.3,
        "leak_phrases": ["given the answer"], "unhinted": True, "max_logprob_drift": 1.0,
    }  # fmt: skip
    config = put("selection", selection)
    config["scoring"] = {"exact_answer": {}, "numeric_error": {}}
    config["generation"] = {"save_logprobs": True}
    configs.check(copy.deepcopy(config))
    config["generation"]["temperature"] = 0
    assert "generation.temperature above 0" in str(refusal(config))
    config["generation"]["temperature"] = 1
    config["generation"]["backend"] = "vllm"
    config["serving"] = {"base_url": ["http://127.0.0.1:8000/v1"]}
    assert "servers that run already" in str(refusal(config))
