"""Where the files of a run lie: from arms and checkpoints to paths below ``results/<run>``."""

from __future__ import annotations

from dataclasses import dataclass

from winnow.arms import Arm


@dataclass(frozen=True)
class Layout:
    """Paths of a run.

    Attributes:
        root: ``results/<run>``, without a slash at its end.
        rounds: the arm of each round, in order; the checkpoint of round r is step ``round-r``.
    """

    root: str
    rounds: tuple[Arm, ...] = ()

    def manifest(self, step: str) -> str:
        """The manifest of a step: described from the config, or trained in an earlier round."""
        arm = self.trained_arm(step)
        return self.checkpoint(arm) if arm else f"{self.root}/models/policy-{step}/manifest.json"

    def trained_arm(self, step: str) -> Arm | None:
        """The arm whose training gave a step ``round-r``, or None for a step of the config."""
        return self.rounds[int(step.removeprefix("round-")) - 1] if step.startswith("round-") else None

    def checkpoint(self, arm: Arm) -> str:
        """The manifest of the checkpoint that an arm's training data gives."""
        return f"{self.root}/checkpoints/{arm.path}/manifest.json"

    def evaluation_before(self, step: str) -> str:
        """The evaluation of a step itself."""
        arm = self.trained_arm(step)
        return (
            self.evaluation_after(arm) if arm else f"{self.evaluations}/step-{step}/untrained/evaluation.json"
        )

    def evaluation_after(self, arm: Arm) -> str:
        """The evaluation of the checkpoint that an arm's training data gives."""
        return f"{self.evaluations}/{arm.path}/evaluation.json"

    @property
    def evaluations(self) -> str:
        """The folder of all evaluations."""
        return f"{self.root}/evaluation"

    def completions(self, arm: Arm) -> str:
        """The folder of the blocks that an arm looks at."""
        return f"{self.root}/completions/train/step-{arm.step}/{arm.alpha}"

    def scored(self, arm: Arm) -> str:
        """The folder of the scored blocks that an arm looks at."""
        return f"{self.root}/scored/train/step-{arm.step}/{arm.alpha}"

    def selected(self, arm: Arm, name: str) -> str:
        """A file of the selection."""
        return f"{self.root}/selected/{arm.path}/{name}"

    def training_data(self, arm: Arm, name: str) -> str:
        """A file of training data."""
        return f"{self.root}/training_data/{arm.path}/{name}"

    def diagnostics(self, arm: Arm, name: str) -> str:
        """A file of the diagnostics."""
        return f"{self.root}/diagnostics/{arm.path}/{name}"

    def benchmark(self, path: str) -> str:
        """The benchmark file of the job that wrote `path`: a mirror of the result paths."""
        return f"{self.root}/benchmarks/{path.removeprefix(self.root + '/')}.jsonl"
