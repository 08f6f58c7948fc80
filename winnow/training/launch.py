"""How the workers of a training run are started: by `accelerate launch`, on each node of the job.

On several nodes scripts/train.py starts this module once on each of them, by srun; the workers find each
other where srun was called, at a port that follows from the job's number.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from winnow.errors import UserError

CONFIGS = Path(__file__).parent.parent.parent / "envs" / "accelerate"
FIRST_PORT, PORTS = 20_000, 12_000
"""Below Linux' ephemeral ports (32768 and up), where another program may listen by chance."""


@dataclass(frozen=True)
class World:
    """Where the workers run.

    Attributes:
        nodes: how many.
        node: this one's number.
        processes: workers on each node.
        address, port: where they meet; unused on one node.
    """

    nodes: int
    node: int
    processes: int
    address: str = "127.0.0.1"
    port: int = 0


def world_of_slurm(processes: int, environment: Mapping[str, str] = os.environ) -> World:
    """The world as srun tells it to each node.

    Raises:
        UserError: this process was not started by srun.
    """
    try:
        return World(
            nodes=int(environment["SLURM_STEP_NUM_NODES"]),
            node=int(environment["SLURM_NODEID"]),
            processes=processes,
            address=environment["SLURM_LAUNCH_NODE_IPADDR"],
            port=FIRST_PORT + int(environment["SLURM_JOB_ID"]) % PORTS,
        )
    except KeyError as missing:
        raise UserError(
            "--nodes", f"{missing.args[0]} is not set", "a job step of SLURM", "set nodes to 1, or use SLURM"
        ) from None


def launch(worker: list[str], config: Path | None, world: World) -> None:
    """Become `accelerate launch`, which starts this node's workers; does not return.

    Args:
        worker: the arguments of winnow.training.sft.
        config: an accelerate config; None means one process, or DDP over several.
        world: where they run.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        # The workers are told as well, save a checkpoint, and end; the launcher waits for that.
        signal.signal(number, signal.SIG_IGN)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CONFIGS.parent.parent), os.getenv("PYTHONPATH")])),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGINT,SIGHUP,SIGQUIT",
    }
    # In this process's place: signals reach the launcher, and no parent waits for nothing.
    os.execve(sys.executable, command(worker, config, world), environment)


def command(worker: list[str], config: Path | None, world: World) -> list[str]:
    """The command line of `accelerate launch` for one node."""
    total = world.nodes * world.processes
    meeting = [
        "--machine_rank", str(world.node),
        "--main_process_ip", world.address,
        "--main_process_port", str(world.port),
    ]  # fmt: skip
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(chosen_config(config, total)),
        "--num_machines", str(world.nodes),
        "--num_processes", str(total),
        *(meeting if world.nodes > 1 else []),
        "-m", "winnow.training.sft",
        *worker,
    ]  # fmt: skip


def chosen_config(config: Path | None, processes: int) -> Path:
    """The accelerate config of a run: the user's, or one process, or DDP over several.

    One of Winnow's own is found by its path in the checkout from any folder: a module runs in the user's.

    Raises:
        UserError: it does not exist.
    """
    chosen = config or CONFIGS / ("data-parallel.yaml" if processes > 1 else "one-device.yaml")
    if not chosen.is_file() and (CONFIGS.parent.parent / chosen).is_file():
        chosen = CONFIGS.parent.parent / chosen
    if not chosen.is_file():
        raise UserError(
            chosen,
            "no such file",
            "an accelerate config",
            f"take one of {CONFIGS}, or write one with `accelerate config`",
        )
    return chosen


def on_every_node(worker: list[str], config: Path | None, nodes: int, processes: int) -> None:
    """Become `srun`, which starts this module on each node of the job; does not return.

    Raises:
        UserError: this is no job of SLURM.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            "--nodes",
            f"{nodes}, outside of a SLURM job",
            "1 on a machine of one's own",
            "set nodes to 1 under resources.train in the config, or use a SLURM profile",
        )
    # --overlap, for a step that this program runs in holds the job's cores already.
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    # A step takes over no cores from the job by itself; where tasks are bound it would have one.
    cores = os.environ.get("OMP_NUM_THREADS", "")
    srun += [f"--cpus-per-task={cores}"] if cores.isdigit() else []
    this = [sys.executable, "-m", "winnow.training.launch", str(processes), str(config or ""), *worker]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CONFIGS.parent.parent), os.getenv("PYTHONPATH")])),
    }
    os.execvpe("srun", [*srun, "--kill-on-bad-exit=1", *this], environment)


if __name__ == "__main__":
    launch(sys.argv[3:], Path(sys.argv[2]) if sys.argv[2] else None, world_of_slurm(int(sys.argv[1])))
