"""A training job on two nodes: its workers meet, and learn what one node would have learnt."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from cluster import Cluster
from jobs import Seen, SlurmWorkspace, long_generation, watching

pytestmark = pytest.mark.slow

CHECKPOINT = "results/small/checkpoints/step-middle/policy/n-4"


def trained(
    prepared: SlurmWorkspace, cluster: Cluster, root: Path, nodes: int, gpu: int
) -> tuple[SlurmWorkspace, set[Seen], list[dict]]:
    """Train on so many nodes and GPUs; the workspace, its programs, and the losses."""
    space = SlurmWorkspace.of(prepared.copy(root), cluster)

    def change(config: dict) -> None:
        long_generation(config)
        config["training"].update(train_batch_size=8, micro_train_batch_size=2)
        config["resources"]["train"].update(nodes=nodes, gpu=gpu)

    space.configure(change)
    with watching(space.root) as seen:
        space.finish(space.submit(f"{CHECKPOINT}/manifest.json"))
    return space, seen, orjson.loads((space.root / CHECKPOINT / "losses.json").read_bytes())


def test_two_nodes_learn_what_one_learns(
    prepared: SlurmWorkspace, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("training")
    space, _, two = trained(prepared, cluster, folder / "two", nodes=2, gpu=2)
    job = space.jobs("train")[0]
    assert job["NumNodes"] == "2" and job["NodeList"] == "gpu[1-2]"
    assert "4 processes" in (space.results / "logs/checkpoints/step-middle/policy/n-4.log").read_text()
    _, seen, one = trained(prepared, cluster, folder / "one", nodes=1, gpu=1)
    assert len({each.node for each in seen if each.program == "train"}) == 1
    assert [entry["step"] for entry in two] == [entry["step"] for entry in one]
    assert len(one) >= 5
    for ours, theirs in zip(two, one, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4), (ours, theirs)
        assert ours["learning_rate"] == pytest.approx(theirs["learning_rate"])
    assert one[-1]["loss"] < one[0]["loss"]
