"""What happens while TRL trains: checkpoints are marked whole, steps are counted, a told run stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from winnow.attempts import Attempt


class MarkWhole(TrainerCallback):
    """Marks a checkpoint once all its files are written: a killed save leaves one without the mark."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after the last file of a checkpoint."""
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / "whole").touch()


class CountSteps(TrainerCallback):
    """Tells the account of this attempt how far it is."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._steps = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called when a checkpoint, if there is one, is loaded."""
        self._steps = state.global_step
        self._attempt.add(total=state.max_steps)
        self._attempt.find(steps=self._steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after each optimizer step."""
        self._attempt.add(steps=state.global_step - self._steps)
        self._steps = state.global_step


class StopWhenTold(TrainerCallback):
    """Ends a run that was told of its end, with a checkpoint, after the step in hand.

    Attributes:
        reason: why it was told, or None; the same on every process.
    """

    def __init__(self, state: PartialState) -> None:
        self.reason: str | None = None
        self._told: str | None = None
        self._state = state

    def tell(self, reason: str) -> None:
        """Called by the signal's handler, at any moment."""
        self._told = reason

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after each optimizer step. All processes have to leave at the same one."""
        told = [self._told]
        if self._state.num_processes > 1:
            told = gather_object(told)
        self.reason = next((each for each in told if each), None)
        if self.reason:
            control.should_save = control.should_training_stop = True
