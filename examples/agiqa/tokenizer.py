"""The tokenizer and the processor of the two image examples' models.

Byte-level BPE, learnt from the examples' own sentences: any text can be written, and theirs takes about a
token a word. `make_models.py` saves both into each model's folder; nobody else needs this file.
"""

from __future__ import annotations

import numpy as np
from conversations import COMPARE, RATE, THINK_FIRST, comparison, rating
from pictures import EDGE, draw_scene, draw_score
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

PAD, END, IMAGE = "<|pad|>", "<|im_end|>", "<image>"
SPECIAL = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>", IMAGE]
# Part of the text that a verifier reads, so not special: decode(skip_special_tokens=True) has to keep them.
MARKUP = ["<think>", "</think>", "<answer>", "</answer>"]
VOCABULARY = 384
PATCH = 8  # pixels
SENTENCES = 2_000

# As in the arithmetic example: a prompt with its generation prompt is a prefix of the whole conversation.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {{- '<image>' if part['type'] == 'image' else part['text'] -}}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


def sentences() -> list[str]:
    """Questions and answers of the kinds that the models meet."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(SENTENCES):
        first, second = draw_score(rng), draw_score(rng)
        asked = COMPARE.format(caption=draw_scene(rng).caption) + THINK_FIRST
        found += [RATE, rating(first, rng), asked, comparison(first, second, True, rng)]
    return found


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer; `max_length` is the models' longest context, in tokens."""
    bytewise = Tokenizer(BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    plain = [sentence for text in sentences() for sentence in _without_markup(text)]
    bytewise.train_from_iterator(plain, trainer)
    bytewise.add_tokens([AddedToken(token, special=False) for token in MARKUP])
    return PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        pad_token=PAD,
        eos_token=END,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _without_markup(text: str) -> list[str]:
    for mark in (*MARKUP, IMAGE):
        text = text.replace(mark, "\n")
    return [part for part in text.split("\n") if part]


def build_processor(max_length: int) -> LlavaProcessor:
    """Build what turns conversations with pictures into the models' input."""
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": EDGE},
        crop_size={"height": EDGE, "width": EDGE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=build_tokenizer(max_length),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )
