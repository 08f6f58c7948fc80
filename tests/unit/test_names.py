"""Names of arms, blocks, shards and files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl
from winnow.arms import SOLVED_METHODS, Alpha, Arm, blocks_for, shard_name
from winnow.errors import UserError
from winnow.layout import Layout
from winnow.shards import block_files, read_prompts, shard_files

ROUND = Arm("260", "policy", 8)
LAYOUT = Layout("results/x", (ROUND, Arm("round-1", "policy", 8)))


@given(st.floats(0, 1))
def test_a_fixed_weight_survives_its_name(weight):
    alpha = Alpha.parse("fixed", weight)
    assert alpha == Alpha.parse(alpha.name) == Alpha.parse(f"fixed-{alpha.weight:.6f}")
    assert abs(alpha.weight - weight) <= 5e-7
    assert "e" not in alpha.name.removeprefix("fixed-")


@pytest.mark.parametrize("name", ["policy", "teacher", *SOLVED_METHODS])
def test_other_names_stay(name):
    alpha = Alpha.parse(name)
    assert (alpha.name, alpha.method) == (name, name)
    assert alpha.needs_both == (name not in ("policy", "teacher"))
    assert alpha.weight == {"policy": 0.0, "teacher": 1.0}.get(name)


def test_fixed():
    assert Alpha.parse("fixed") == Alpha.parse("fixed-.50") == Alpha("fixed-0.5", "fixed", 0.5)
    assert Alpha.parse("fixed-0.3", 0.9).weight == 0.3
    assert Alpha.parse("fixed-0").needs_both
    assert [Alpha.parse(f"fixed-{w}").name for w in ("0", "1", "1.0")] == ["fixed-0", "fixed-1", "fixed-1"]


@pytest.mark.parametrize(
    "name", ["", "fixed-", "fixed-1e-3", "fixed--0.5", "fixed-0.5x", "Policy", "kl_symetry"]
)
def test_unknown_names_are_refused(name):
    with pytest.raises(UserError, match=r"--alpha_method: alpha .* is unknown"):
        Alpha.parse(name, where="--alpha_method")


def test_messages_of_bad_alphas():
    with pytest.raises(UserError, match=r"did you mean 'kl_symmetry'\?"):
        Alpha.parse("kl_symetry")
    for weight in (1.5, -0.1, float("nan")):
        with pytest.raises(UserError, match=r"in \[0, 1\]"):
            Alpha.parse("fixed", weight)
    with pytest.raises(UserError, match=r"weight 1\.5"):
        Alpha.parse("fixed-1.5")


@given(st.integers(1, 200), st.integers(1, 50))
def test_blocks_hold_the_first_n_samples(n, size):
    blocks = list(blocks_for(n, size))
    assert blocks == sorted({sample // size for sample in range(n)})


def test_paths_of_an_arm():
    arm = Arm("260", "kl_symmetry", 8)
    assert arm.path == "step-260/kl_symmetry/n-8"
    assert LAYOUT.completions(arm) == "results/x/completions/train/step-260/kl_symmetry"
    assert LAYOUT.scored(arm) == "results/x/scored/train/step-260/kl_symmetry"
    assert LAYOUT.selected(arm, "a.json") == "results/x/selected/step-260/kl_symmetry/n-8/a.json"
    assert LAYOUT.diagnostics(arm, "a.png") == "results/x/diagnostics/step-260/kl_symmetry/n-8/a.png"
    assert LAYOUT.checkpoint(arm) == "results/x/checkpoints/step-260/kl_symmetry/n-8/manifest.json"
    assert LAYOUT.evaluation_after(arm) == "results/x/evaluation/step-260/kl_symmetry/n-8/evaluation.json"
    path = LAYOUT.selected(arm, "a.json")
    assert LAYOUT.benchmark(path) == "results/x/benchmarks/selected/step-260/kl_symmetry/n-8/a.json.jsonl"


def test_a_round_begins_with_the_checkpoint_of_the_one_before():
    assert LAYOUT.trained_arm("260") is None
    assert LAYOUT.manifest("260") == "results/x/models/policy-260/manifest.json"
    assert LAYOUT.evaluation_before("260") == "results/x/evaluation/step-260/untrained/evaluation.json"
    assert LAYOUT.trained_arm("round-1") == ROUND
    assert LAYOUT.manifest("round-1") == LAYOUT.checkpoint(ROUND)
    assert LAYOUT.evaluation_before("round-1") == LAYOUT.evaluation_after(ROUND)
    assert LAYOUT.trained_arm("round-2") == Arm("round-1", "policy", 8)


def test_shard_files_of_a_folder_or_given(tmp_path):
    names = [tmp_path / f"{shard_name(i, 2)}.jsonl" for i in range(2)]
    assert [path.name for path in names] == ["00000-of-00002.jsonl", "00001-of-00002.jsonl"]
    for index, path in enumerate(names):
        path.write_bytes(jsonl.dumps({"id": f"p{index}", "messages": []}))
    assert shard_files([str(tmp_path)], 2) == names
    assert shard_files([str(path) for path in reversed(names)], 9) == names[::-1]
    assert [prompt.id for prompt in read_prompts(names)] == ["p0", "p1"]
    with pytest.raises(UserError, match=r"00000-of-00003\.jsonl: no such file"):
        shard_files([str(tmp_path)], 3)


def test_block_files_go_shard_by_shard(tmp_path):
    for shard in range(2):
        for block in range(3):
            (tmp_path / f"{shard_name(shard, 2)}.block-{block}.jsonl").touch()
    found = [path.name for path in block_files([str(tmp_path)], 2, 9, 8)]
    assert found == [f"0000{shard}-of-00002.block-{block}.jsonl" for shard in range(2) for block in range(2)]
    with pytest.raises(UserError, match=r"block-3\.jsonl: no such file"):
        block_files([str(tmp_path)], 2, 25, 8)


def test_a_line_that_is_no_prompt_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "p", "messages": []}\n{"id": "q"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: a prompt without 'messages'"):
        list(read_prompts([tmp_path / "a.jsonl"]))
