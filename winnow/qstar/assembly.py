"""From loaded models to an engine: which decoders, how they are run, and whether the memory suffices."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.qstar import memory
from winnow.qstar.controller import Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.graphs import Graphs, on_cuda
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import Decodes, OneModel, Proposer, StudentDrafts, TwoPrompts
from winnow.qstar.scheduler import Slots
from winnow.qstar.stateful import StatefulDecoder
from winnow.qstar.stops import StopStrings
from winnow.qstar.vocabulary import common_width, token_map

log = logging.getLogger("generate")


@dataclass(frozen=True)
class Models:
    """The models that run.

    Attributes:
        theta: the student; None where the teacher runs alone.
        t: the teacher; None where the student runs alone; the student itself where both have one set
            of weights.
    """

    theta: LoadedModel | None
    t: LoadedModel | None

    @property
    def loaded(self) -> list[LoadedModel]:
        """The student first."""
        return [each for each in (self.theta, self.t) if each is not None]

    @property
    def one_set_of_weights(self) -> bool:
        """Whether one model sees both prompts."""
        return self.theta is not None and self.theta is self.t

    @property
    def deepest(self) -> int | None:
        """How deep drafts may go: 1 where they gain nothing, or could not be taken back."""
        drafts = len(self.loaded) == 2 and not self.one_set_of_weights
        return None if drafts and all(each.crops for each in self.loaded) else 1

    def width(self) -> int:
        """Columns of the logits that mean the same in all of them.

        Raises:
            UserError: the tokenizers differ, or one model ends completions with an id that is cut away.
        """
        reader = self.loaded[0]
        if self.theta is None or self.t is None:
            return min(reader.width, max(token_map(reader.tokenizer).values()) + 1)
        width = common_width(
            token_map(self.theta.tokenizer),
            token_map(self.t.tokenizer),
            self.theta.width,
            self.t.width,
            f"{self.theta.name} and {self.t.name}",
            extras=True,
        )
        for each in self.loaded:
            known = token_map(each.tokenizer).values()
            unheard = sorted(index for index in each.eos_ids & {*known} if index >= width)
            if unheard:
                raise UserError(
                    each.name,
                    f"it ends completions with id {unheard[0]}, which the other's tokenizer does not have",
                    "end-of-sequence tokens that both have: an id that only one has is not drawn",
                    "choose a teacher of the same family, or correct eos_token_id in generation_config.json",
                )
        return width


def build_engine(
    models: Models,
    width: int,
    slots: Slots,
    alpha: Alpha,
    parameters: SamplingParameters,
    draft_tokens: int | None,
    graphs: bool = True,
) -> Engine:
    """An engine for the rows that wait; with CUDA graphs where they serve, unless they are not wanted.

    Raises:
        UserError: the memory does not suffice for so many slots.
    """
    controller = Controller(models.deepest, draft_tokens if models.deepest is None else None)
    reader = models.loaded[0]
    special = [each for each in parameters.stop if each in reader.tokenizer.all_special_tokens]
    if special:
        raise UserError(
            "stop",
            f"{special[0]!r}, a special token of {reader.name}",
            "strings of the text: special tokens are not in it, and end-of-sequence tokens end it anyway",
            "leave it out, or add the token to eos_token_id in the model's generation_config.json",
        )
    return Engine(
        _proposer(models, width, slots, controller.deepest, parameters),
        controller,
        alpha,
        parameters,
        frozenset().union(*(each.eos_ids for each in models.loaded)),
        tuple(each.name for each in models.loaded),
        StopStrings(parameters.stop, reader.decode) if parameters.stop else None,
        graphs=_graphs(models, min(slots.count, len(slots))) if graphs else None,
    )


def _proposer(
    models: Models, width: int, slots: Slots, deepest: int, parameters: SamplingParameters
) -> Proposer:
    count = min(slots.count, len(slots))
    capacities = [longest + deepest for longest in slots.longest]
    together = models.one_set_of_weights and models.loaded[0].crops
    if together:
        # One cache holds both prompts, and has room for the longer one in each slot.
        capacities = [max(capacities)] * 2
    pairs = list(zip(models.loaded, capacities, strict=True))
    memory.check(
        [need for loaded, capacity in pairs for need in _needs(loaded, count, capacity)],
        *(memory.bytes_of_a_round(count, drafts, width, not parameters.whole) for drafts in (1, deepest)),
    )
    if together:
        return TwoPrompts(_decoder(models.loaded[0], width, 2 * count, capacities[0]))
    decoders = [_decoder(loaded, width, count, capacity) for loaded, capacity in pairs]
    return OneModel(*decoders) if len(decoders) == 1 else StudentDrafts(*decoders)


def _graphs(models: Models, count: int) -> Graphs | None:
    """On a GPU that holds all of it, where a round may be done twice in a row."""
    devices = {weight.device for each in models.loaded for weight in each.model.parameters()}
    # The kernel leaves float64 to torch, which waits for the device.
    exact = any(each.model.dtype == torch.float64 for each in models.loaded)
    if len(devices) > 1 or exact or not all(each.crops for each in models.loaded):
        return None
    (device,) = devices
    return Graphs(count, on_cuda(device)) if device.type == "cuda" else None


def _needs(loaded: LoadedModel, count: int, capacity: int) -> list[memory.Need]:
    # Without slots of its own, a cache grows with what it holds.
    a_token = memory.bytes_a_token(loaded.text_config, loaded.model.dtype) if loaded.crops else None
    return [
        memory.Need(loaded.name, count, capacity, None if a_token is None else int(a_token * share), device)
        for device, share in loaded.shares.items()
    ]


def _decoder(loaded: LoadedModel, width: int, count: int, capacity: int) -> Decodes:
    if loaded.crops:
        return Decoder(loaded, width, count, capacity)
    log.warning(
        "%s: its rows cannot share a pass, or give drafts back (recurrent layers, or positions that are "
        "scaled by the longest row): they are decoded one by one, one token a round",
        loaded.name,
    )
    return StatefulDecoder(loaded, width, count)
