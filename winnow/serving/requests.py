"""From prompts to the bodies of chat completion requests, images as data URLs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.errors import UserError
from winnow.images import data_url, in_parts
from winnow.prompt_images import images_of
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Message, Prompt, completion_seed
from winnow.serving.ask import Ask
from winnow.serving.endpoint import Endpoint

if TYPE_CHECKING:
    from winnow.serving.mixture import Mixture

NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0}
"""What a server would else take from the model's generation_config.json."""


def prompt_seed(run_seed: int, prompt_id: str, sample: int) -> int:
    """The seed of a served completion: samples of a prompt have consecutive ones.

    vLLM gives choice i of a request the request's seed plus i. So a sample's seed is the same whether it is
    drawn with others or alone, in the first attempt or after a crash. It is halved before: the sum has to
    stay in 63 bits.
    """
    return (completion_seed(run_seed, prompt_id, -1) >> 1) + sample


def asks(wanted: Iterable[tuple[Prompt, int, str]], teacher: bool, run_seed: int, most: int) -> Iterator[Ask]:
    """Group completions that are still to be drawn: runs of samples of one prompt, at most `most` of them.

    Args:
        wanted: (prompt, sample, completion id), a prompt's samples together and in order.
        teacher: show the teacher's messages.
        run_seed: of the run.
        most: completions of one request.
    """
    group: list[tuple[Prompt, int, str]] = []
    for each in wanted:
        follows = group and each[0].id == group[-1][0].id and each[1] == group[-1][1] + 1
        if group and not (follows and len(group) < most):
            yield _ask(group, teacher, run_seed)
            group = []
        group.append(each)
    if group:
        yield _ask(group, teacher, run_seed)


def _ask(group: Sequence[tuple[Prompt, int, str]], teacher: bool, run_seed: int) -> Ask:
    prompt, first, _ = group[0]
    messages = (prompt.teacher_messages or prompt.messages) if teacher else prompt.messages
    return Ask(
        prompt, messages, first, prompt_seed(run_seed, prompt.id, first), tuple(id for _, _, id in group)
    )


def body(
    ask: Ask,
    endpoint: Endpoint,
    parameters: SamplingParameters,
    image_root: Path,
    mixture: Mixture | None = None,
    logprobs: bool = False,
) -> dict[str, Any]:
    """The request of an ask, as JSON; images are read here, when it is sent.

    Args:
        ask: what to draw.
        endpoint: where.
        parameters: how.
        image_root: the folder of the prompts' images.
        mixture: of a served q*.
        logprobs: ask for the log-probability of each token.

    Raises:
        UserError: an image that cannot be shown.
    """
    own: dict[str, Any] = {}
    if endpoint.vllm:
        # Without them, tokens of one choice could not be told from those of the others.
        own = {"return_token_ids": True, "top_k": parameters.top_k or -1, **NEUTRAL}
    elif parameters.top_k:
        raise UserError(
            "--top_k",
            f"{parameters.top_k}, for a server that is not vLLM",
            "0: OpenAI's interface has no top_k",
            "leave --top_k out",
        )
    # As in the engine, a completion ends where the context does; asked for more, vLLM refuses.
    new_tokens = min(parameters.max_new_tokens, endpoint.context or parameters.max_new_tokens)
    return {
        "model": endpoint.model,
        "messages": shown(ask.prompt, ask.messages, image_root),
        "n": len(ask),
        "seed": ask.seed,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "max_tokens": new_tokens,
        **({"stop": list(parameters.stop)} if parameters.stop else {}),
        **({"logprobs": True} if logprobs else {}),
        **own,
        **(mixture.request(ask.prompt, new_tokens) if mixture else {}),
    }


def shown(prompt: Prompt, messages: Sequence[Message], image_root: Path) -> list[Message]:
    """Messages with their images in them.

    Raises:
        UserError: an image that leaves its root, is missing, too large, none, or another than was read.
    """
    if not prompt.images:
        return list(messages)
    where = f"prompt {prompt.id}"
    files = iter(images_of(prompt, image_root))
    turns = in_parts(messages, len(prompt.images), where)
    for turn in turns:
        turn["content"] = [
            {"type": "image_url", "image_url": {"url": data_url(next(files), where)}}
            if part["type"] == "image"
            else part
            for part in turn["content"]
        ]
    return turns
