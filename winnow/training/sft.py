"""The worker that `accelerate launch` starts: TRL's SFTTrainer, resumed and finished with a manifest.

Run it through scripts/train.py, which checks the flags first.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from datasets import Dataset, disable_progress_bars, load_dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)
from trl import SFTConfig, SFTTrainer

from winnow import jsonl
from winnow.attempts import Attempt
from winnow.devices import visible
from winnow.ending import EXIT_CODE, Stopped, told_of_the_end
from winnow.errors import UserError
from winnow.manifest import describe, resolve
from winnow.training.callbacks import CountSteps, MarkWhole, StopWhenTold
from winnow.training.examples import Fitting, Lengths, Shown, fitting
from winnow.training.order import WholeBatches
from winnow.training.recipe import Recipe, Workplace, alone, discard, last_whole_checkpoint

log = logging.getLogger("train")


class Trainer(SFTTrainer):
    """TRL's trainer, with an order of the examples that does not depend on the number of processes.

    Resumed, it goes on with every weight of its checkpoint.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> WholeBatches:
        per_step = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        rows: Any = train_dataset or self.train_dataset
        return WholeBatches(len(rows), per_step * self.args.world_size, int(self.args.data_seed or 0))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights as they were saved, all of them.

        The trainer's own way takes the names in the file for the model's. Image models are saved under
        other names: none of theirs would be loaded, and only a warning would tell.
        """
        folder = Path(resume_from_checkpoint)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or not any(folder.glob("model*.safetensors")):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        into: Any = self.model if model is None else model
        saved = type(into).from_pretrained(folder, dtype=into.dtype, use_safetensors=True)
        into.load_state_dict(saved.state_dict())


def train(workplace: Workplace, given: argparse.Namespace) -> None:
    """Train to the end, from the last whole checkpoint if there is one; write the manifest last.

    Raises:
        Stopped: told of the job's end; a checkpoint is saved, the next attempt goes on from it.
    """
    recipe = Recipe(**jsonl.read_json(workplace.recipe))
    state = PartialState(cpu=not torch.cuda.is_available())
    log.info("%d processes, %s", state.num_processes, state.device)
    stop = StopWhenTold(state)
    attempt = Attempt(given.attempts if state.is_main_process else None, "steps", "total")
    with (
        attempt.holding(state.num_processes if visible() else 0),
        told_of_the_end(given.deadline, stop.tell),
    ):
        trainer = _trainer(recipe, workplace, state, given, stop)
        trainer.add_callback(CountSteps(attempt))
        checkpoint = last_whole_checkpoint(workplace)
        if checkpoint is not None:
            log.info("resumed from %s", checkpoint.name)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if stop.reason and trainer.state.global_step < trainer.state.max_steps:
            raise Stopped(stop.reason)
        _finish(trainer, workplace, recipe)


def _trainer(
    recipe: Recipe,
    workplace: Workplace,
    state: PartialState,
    given: argparse.Namespace,
    stop: StopWhenTold,
) -> Trainer:
    directory, _ = resolve(given.model)
    code = given.trust_remote_code
    sees = reads_images(directory, code)
    reader: Any = (AutoProcessor if sees else AutoTokenizer).from_pretrained(
        directory, trust_remote_code=code
    )
    return Trainer(
        model=_model(recipe, directory, sees, code),
        processing_class=reader,
        args=_arguments(recipe, workplace, state, sees),
        train_dataset=_rows(recipe, workplace, state, given, reader),
        callbacks=[MarkWhole(), stop],
    )


def _model(recipe: Recipe, directory: Path, sees: bool, trust_remote_code: bool) -> Any:
    """The model to train.

    Raises:
        UserError: it cannot compute its attention as the recipe says.
    """
    chosen = recipe.attn_implementation
    try:
        return (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(
            directory,
            dtype=getattr(torch, recipe.dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **({} if chosen is None else {"attn_implementation": chosen}),
        )
    except (ImportError, ValueError) as error:
        if chosen is None:
            raise
        raise UserError(
            f"{directory}, --attn_implementation {chosen}",
            f"transformers cannot load it ({str(error)[:300]})",
            "an implementation that this model and this machine have",
            "set training.attn_implementation to another, or to null, transformers' own choice",
        ) from error


def reads_images(directory: Path, trust_remote_code: bool) -> bool:
    """Whether a model is one of images."""
    config = AutoConfig.from_pretrained(directory, trust_remote_code=trust_remote_code)
    return getattr(config, "vision_config", None) is not None


def _rows(
    recipe: Recipe, workplace: Workplace, state: PartialState, given: argparse.Namespace, reader: Any
) -> Dataset:
    """The rows of the training file that fit; for an image model with their images, opened when needed."""
    sees = isinstance(reader, ProcessorMixin)
    if recipe.image_root is not None and not sees:
        raise UserError(
            given.train_data,
            f"rows with images, for {given.model}, which reads text alone",
            "a model with a vision_config in its config.json",
            "train an image model, or leave out the images",
        )
    root = Path(recipe.image_root or ".")
    with state.main_process_first():
        rows = load_dataset(
            "json",
            data_files=str(given.train_data),
            split="train",
            cache_dir=str(workplace.unfinished / "dataset"),
        )
        if not workplace.fitting.exists():
            lengths = Lengths(reader, root if sees else None)
            jsonl.write_json(workplace.fitting, asdict(fitting(rows, lengths, recipe, given.train_data)))
    found = Fitting(**jsonl.read_json(workplace.fitting))
    if len(found.kept) < len(rows) and state.is_main_process:
        log.warning(
            "%d of %d rows are left out: %d for the length of their prompt, %d with images for the whole",
            len(rows) - len(found.kept), len(rows), found.prompt_too_long, found.too_long,
        )  # fmt: skip
    kept = rows.select(found.kept)
    return kept.with_transform(Shown(root, given.train_data)) if recipe.image_root is not None else kept


def _arguments(recipe: Recipe, workplace: Workplace, state: PartialState, sees: bool) -> SFTConfig:
    per_step = recipe.micro_train_batch_size * state.num_processes
    if recipe.train_batch_size % per_step:
        raise UserError(
            "--train_batch_size",
            f"{recipe.train_batch_size} examples over {state.num_processes} devices",
            f"a multiple of devices × micro_train_batch_size = {per_step}",
            "change one of the two, or gpu and nodes under resources.train in the config",
        )
    return SFTConfig(
        output_dir=str(workplace.unfinished),
        num_train_epochs=recipe.max_epochs,
        per_device_train_batch_size=recipe.micro_train_batch_size,
        gradient_accumulation_steps=recipe.train_batch_size // per_step,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler,
        warmup_steps=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        # Of examples with images those that are longer are left out: a cut may go through an image.
        max_length=recipe.max_length if recipe.image_root is None else None,
        completion_only_loss=True,
        bf16=recipe.bf16,
        gradient_checkpointing=recipe.gradient_checkpointing,
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="steps",
        save_steps=recipe.save_steps,
        # Two, so that a kill while the newest is being written leaves a whole one.
        save_total_limit=2,
        logging_steps=5,
        logging_first_step=True,
        report_to="none",
        disable_tqdm=True,
        # A tower's last layers may be read by nobody, and all of it stands idle for a batch of text.
        ddp_find_unused_parameters=sees,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _finish(trainer: Any, workplace: Workplace, recipe: Recipe) -> None:
    partial = workplace.root / "model.partial"
    if trainer.accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if not trainer.accelerator.is_main_process:
        return
    # Pickled by the trainer, of no use to a reader of the checkpoint.
    (partial / "training_args.bin").unlink(missing_ok=True)
    shutil.rmtree(workplace.model, ignore_errors=True)
    partial.replace(workplace.model)
    jsonl.write_json(workplace.losses, [entry for entry in trainer.state.log_history if "loss" in entry])
    jsonl.write_json(workplace.examples, Fitting(**jsonl.read_json(workplace.fitting)).to_row())
    # Relative to the manifest, so that a moved run is still whole.
    manifest = describe(workplace.model, recipe=asdict(recipe), parent=recipe.parent)
    replace(manifest, directory=workplace.model.name).write(workplace.manifest)
    discard(workplace.unfinished)
    log.info("%s: checkpoint %s", workplace.manifest, manifest.model[:12])


def main() -> None:
    """Read the arguments that scripts/train.py passes on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--save_path", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train_data", required=True)
    parser.add_argument("--deadline", default="auto")
    parser.add_argument("--attempts", type=Path)
    parser.add_argument("--trust_remote_code", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    transformers.utils.logging.disable_progress_bar()
    disable_progress_bars()
    workplace = Workplace(arguments.save_path)
    if int(os.environ.get("RANK", "0")):
        train(workplace, arguments)
        return
    with alone(workplace) as finished:
        if not finished:
            train(workplace, arguments)


if __name__ == "__main__":
    try:
        main()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except Stopped as told:
        print(f"stopped ({told}); the last checkpoint is kept, run again to go on", file=sys.stderr)
        sys.exit(EXIT_CODE)
