"""The command that starts a training run's workers, on one node and on several."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from winnow.errors import UserError
from winnow.training.launch import CONFIGS, World, chosen_config, command, on_every_node, world_of_slurm

SLURM = {
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_NODEID": "2",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
    "SLURM_JOB_ID": "123456",
}


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_one_process() -> None:
    words = command(["--model", "m"], None, World(1, 0, 1))
    assert value(words, "--config_file") == str(CONFIGS / "one-device.yaml")
    assert value(words, "--num_processes") == "1"
    assert "--main_process_ip" not in words
    assert words[-2:] == ["--model", "m"]


def test_several_gpus_of_one_node() -> None:
    words = command([], None, World(1, 0, 4))
    assert value(words, "--config_file") == str(CONFIGS / "data-parallel.yaml")
    assert (value(words, "--num_machines"), value(words, "--num_processes")) == ("1", "4")


def test_several_nodes_meet_where_srun_was_called() -> None:
    world = world_of_slurm(8, SLURM)
    assert world == World(3, 2, 8, "10.0.0.7", 20_000 + 123456 % 12_000)
    words = command([], CONFIGS / "fsdp2.yaml", world)
    assert value(words, "--config_file") == str(CONFIGS / "fsdp2.yaml")
    found = {flag: value(words, f"--{flag}") for flag in ("num_machines", "num_processes", "machine_rank")}
    assert found == {"num_machines": "3", "num_processes": "24", "machine_rank": "2"}
    assert value(words, "--main_process_ip") == "10.0.0.7"
    assert int(value(words, "--main_process_port")) < 32_768


def test_each_node_gets_the_cores_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvpe", lambda _, words, environment: started.append(words))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "32")
    on_every_node(["--save_path", "x"], None, 2, 4)
    assert {"--nodes=2", "--ntasks=2", "--cpus-per-task=32"} <= set(started[0])


def test_nodes_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="outside of a SLURM job"):
        on_every_node([], None, 2, 1)
    with pytest.raises(UserError, match="SLURM_STEP_NUM_NODES is not set"):
        world_of_slurm(1, {})


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        chosen_config(tmp_path / "mine.yaml", 1)


def test_a_config_of_winnow_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = Path("envs/accelerate/fsdp2.yaml")
    assert chosen_config(given, 2) == CONFIGS / "fsdp2.yaml"
    given.parent.mkdir(parents=True)
    given.write_text("own: true\n")
    assert chosen_config(given, 2) == given
