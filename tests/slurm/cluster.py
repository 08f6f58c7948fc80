"""A real SLURM of two nodes on this machine, with four made-up GPUs on each."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "munged")
ETC = Path("/etc/slurm/slurm.conf")
NODES = ("gpu1", "gpu2")
GPUS = 4

CONFIG = """\
ClusterName=winnow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=30
KillWait=20
MinJobAge=300
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=DEFAULT CPUs=2 RealMemory=8000 Gres=gpu:h100:4
NodeName=gpu[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}]
PartitionName=main Nodes=gpu[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of SLURM that are not installed; and root, which its daemons want."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return absent if os.geteuid() == 0 else [*absent, "root's rights"]


@dataclass
class Cluster:
    """The daemons and where their files lie."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start munge, the controller and both nodes; wait until both are idle."""
        for name in ("state", "munge", "gpus"):
            (self.folder / name).mkdir(parents=True)
        self._write_config()
        self._take_the_machine()
        self._start_munge()
        self._daemon("slurmctld", "slurmctld", "-D", "-i", "-f", str(self.folder / "slurm.conf"))
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.states() == dict.fromkeys(NODES, "IDLE"), "both nodes to be idle")

    def stop(self) -> None:
        """End what was started, jobs first."""
        if "slurmctld" in self.daemons:
            self.command("scancel", "--user=root")
            time.sleep(1)
        for process in reversed(self.daemons.values()):
            process.terminate()
        for process in self.daemons.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if ETC.is_symlink() and ETC.readlink() == self.folder / "slurm.conf":
            ETC.unlink()

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def kill_node(self, node: str) -> None:
        """A node dies: its daemon and all of its jobs' processes, at once."""
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()
        pids = self.processes_of(node)
        # A job's keeper goes before the job: it would tell the controller that the job has failed.
        for pid in [*{_keeper(pid) for pid in pids} - {0}, *pids]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue

    def processes_of(self, node: str) -> list[int]:
        """The processes of the jobs that run on a node."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            if f"SLURMD_NODENAME={node}".encode() in environment:
                found.append(int(entry.name))
        return found

    def command(self, *words: str) -> str:
        """Run a command of SLURM, and return what it prints.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """The state of each node."""
        lines = self.command("sinfo", "--Node", "--noheader", "--format", "%N %T").splitlines()
        return {name: state.upper() for name, state in map(str.split, lines)}

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, as `scontrol show job` tells of them."""
        text = self.command("scontrol", "--oneliner", "show", "job")
        return [
            dict(word.split("=", 1) for word in line.split() if "=" in word)
            for line in text.splitlines()
            if line.startswith("JobId=")
        ]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition.

        Raises:
            TimeoutError: it did not come; with the controller's last lines.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.2)
        log = (self.folder / "slurmctld.log").read_text(errors="replace")[-2000:]
        raise TimeoutError(f"waited {seconds} s for {what}; the controller says:\n{log}")

    def _write_config(self) -> None:
        controller, first, second = _free_ports(3)
        (self.folder / "slurm.conf").write_text(
            CONFIG.format(
                host=socket.gethostname(),
                port=controller,
                folder=self.folder,
                first=first,
                second=second,
            )
        )
        for index in range(GPUS):
            subprocess.run(["mknod", self.folder / f"gpus/gpu{index}", "c", "1", "3"], check=True)
        files = f"{self.folder}/gpus/gpu[0-{GPUS - 1}]"
        (self.folder / "gres.conf").write_text(f"NodeName=gpu[1-2] Name=gpu Type=h100 File={files}\n")

    def _take_the_machine(self) -> None:
        """Make this the machine's cluster: jobs lose SLURM_CONF, for Snakemake drops SLURM's variables."""
        if ETC.is_symlink():
            ETC.unlink()
        if ETC.exists():
            raise RuntimeError(f"{ETC} exists: this machine belongs to a cluster already")
        ETC.parent.mkdir(parents=True, exist_ok=True)
        ETC.symlink_to(self.folder / "slurm.conf")

    def _start_munge(self) -> None:
        folder, user = self.folder / "munge", pwd.getpwnam("munge")
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for path in (folder, key):
            os.chown(path, user.pw_uid, user.pw_gid)
        folder.chmod(0o755)
        # Munge refuses a socket under folders that others may write to, unless told that it may.
        command = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/socket"]
        command += [f"--{name}-file={folder}/{name}" for name in ("pid", "log", "seed")]
        self._daemon("munged", *command, user="munge")
        self.wait((folder / "socket").exists, "munge's socket")

    def _daemon(self, name: str, *command: str, user: str | None = None) -> None:
        output = (self.folder / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            command, stdout=output, stderr=output, user=user, start_new_session=True
        )


def _keeper(pid: int) -> int:
    """The slurmstepd above a job's process, or 0."""
    while pid > 1:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except FileNotFoundError:
            return 0
        if name == "slurmstepd":
            return pid
        pid = int(rest.split()[1])
    return 0


def _free_ports(count: int) -> list[int]:
    """Neighbouring ports that nobody listens at."""
    for start in range(17_000, 19_000, count):
        ports = list(range(start, start + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise RuntimeError("no free ports between 17000 and 19000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
