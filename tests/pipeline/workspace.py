"""A copy of the checkout with a small config of its own, in which tests run the real DAG."""

from __future__ import annotations

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

ROOT = Path(__file__).parents[2]
PARTS = (
    "Snakefile",
    "rules",
    "report",
    "scripts",
    "winnow",
    "schemas",
    "envs",
    "examples",
    "profiles",
    "slurm",
    "slurm-gres",
)
GENERATION = {"generate", "generate_qstar", "generate_heldout"}

SMALL: dict[str, Any] = {
    "run": "small",
    "seed": 3,
    "data": {
        "train": {"path": "examples/arithmetic/data/train.jsonl", "num_samples": 12, "shards": 2},
        "heldout": {"path": "examples/arithmetic/data/heldout.jsonl", "num_samples": 6},
    },
    "prompt": {
        "student": "What is {{ problem }}?",
        "teacher": "What is {{ problem }}? The answer is {{ reference }}.",
    },
    "models": {
        "policy": {"middle": "models/middle", "late": "models/late"},
        "teacher": "models/teacher",
    },
    "generation": {"block_size": 4, "batch_size": 16, "max_new_tokens": 48, "dtype": "float64"},
    "arms": [
        {"step": "middle", "alpha": ["policy"], "n": [4], "train": True},
        {"step": "middle", "alpha": ["kl_symmetry"], "n": [4]},
        {"step": "late", "alpha": ["policy"], "n": [4]},
    ],
    "scoring": {"exact_answer": {}, "numeric_error": {"tolerance": 0.5}},
    "training": {
        "max_epochs": 2,
        "train_batch_size": 4,
        "micro_train_batch_size": 4,
        "learning_rate": 1.0e-3,
        "save_steps": 2,
        "dtype": "float64",
    },
    "evaluation": {"n": 2},
    "resources": {"generate": {"threads": 1}, "train": {"threads": 1}},
}


@dataclass(frozen=True)
class Outcome:
    """What a Snakemake call printed and returned."""

    code: int
    text: str

    @property
    def nothing_to_do(self) -> bool:
        return self.code == 0 and "Nothing to be done" in self.text

    @property
    def jobs(self) -> Counter[str]:
        """Jobs by rule, from the table that Snakemake prints before it starts."""
        table = re.search(r"^Job stats:\n(.*?)^total", self.text, re.MULTILINE | re.DOTALL)
        found = re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE) if table else []
        return Counter({rule: int(count) for rule, count in found if rule != "all"})


def policy_steps() -> list[Path]:
    """The shipped policies, the earliest first."""
    models = ROOT / "examples" / "arithmetic" / "models"
    return sorted(models.glob("policy-step-*"), key=lambda path: int(path.name.rpartition("-")[2]))


class Workspace:
    """A checkout in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results" / "small"

    @classmethod
    def fresh(cls, root: Path) -> Workspace:
        """Copy the checkout's parts and its models, under names that say what they are."""
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "*.partial")
                shutil.copytree(source, root / part, ignore=ignore)
            else:
                root.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, root / part)
        _, middle, late = policy_steps()
        shutil.copytree(middle, root / "models" / "middle")
        shutil.copytree(late, root / "models" / "late")
        shutil.copytree(ROOT / "examples" / "arithmetic" / "models" / "teacher", root / "models" / "teacher")
        space = cls(root)
        space.configure()
        return space

    def copy(self, root: Path) -> Workspace:
        """The same with all results and time stamps, elsewhere."""
        subprocess.run(["cp", "-a", f"{self.root}/.", str(root)], check=True)
        return Workspace(root)

    def configure(self, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Write config.yaml: the small config, changed."""
        config = copy.deepcopy(SMALL)
        if change:
            change(config)
        (self.root / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def snakemake(self, *arguments: str, timeout: float = 500) -> Outcome:
        """Run Snakemake to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
        )
        return Outcome(done.returncode, done.stdout)

    def plan(self, *arguments: str) -> Outcome:
        """A dry run."""
        outcome = self.snakemake("--dry-run", *arguments)
        assert outcome.code == 0, outcome.text
        return outcome

    def run(self, *arguments: str, timeout: float = 500) -> Outcome:
        """Run to the end, which has to be a good one."""
        outcome = self.snakemake(*arguments, timeout=timeout)
        assert outcome.code == 0, outcome.text[-6000:]
        return outcome

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own, to be killed."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def program(self, name: str, *arguments: str) -> Outcome:
        """Run one of the programs by itself."""
        done = subprocess.run(
            [sys.executable, f"scripts/{name}.py", *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Outcome(done.returncode, done.stdout)

    def texts(self, folder: str) -> dict[str, str]:
        """Completion id → text, over all blocks below a folder of the results."""
        found: dict[str, str] = {}
        for path in sorted((self.results / folder).rglob("*.block-*.jsonl")):
            if ".diagnostics." in path.name:
                continue
            for line in path.read_bytes().splitlines():
                row = orjson.loads(line)
                key = f"{path.parent.relative_to(self.results)}:{row['id']}"
                assert key not in found, f"{key} stands twice"
                found[key] = row["text"]
        return found

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--show-failed-logs", *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(self.root / ".cache"), "OMP_NUM_THREADS": "1"}


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process that `start` started, and all its children."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
