"""The tokenizer that all models of the arithmetic example share: one token a character, a few for structure.

`make_models.py` saves it into each model's folder; nobody else needs this file.
"""

import string

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|im_end|>"
TURNS = ["<|system|>", "<|user|>", "<|assistant|>"]
# Part of the text that a verifier reads, so not special: decode(skip_special_tokens=True) has to keep them.
MARKUP = ["<think>", "</think>", "<answer>", "</answer>"]
CHARACTERS = [*string.printable[: string.printable.index(" ") + 1], "\n"]

# Nothing follows the last <|im_end|>, so that a conversation ends just where generation stops; and the prompt
# with its generation prompt is an exact prefix of the conversation that goes on with the completion.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message['role'] not in ['system', 'user', 'assistant'] -%}
        {{- raise_exception('unknown role: ' + message['role']) -}}
    {%- endif -%}
    {{- '<|' + message['role'] + '|>' + message['content'] + '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer; `max_length` is the models' longest context."""
    vocabulary = {
        token: index for index, token in enumerate([PAD, UNKNOWN, END, *TURNS, *MARKUP, *CHARACTERS])
    }
    # BPE without merges cuts text into characters; Fuse joins them again without putting spaces between.
    characters = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    characters.decoder = decoders.Fuse()
    characters.add_special_tokens([AddedToken(token, special=True) for token in [PAD, UNKNOWN, END, *TURNS]])
    characters.add_tokens([AddedToken(token, special=False) for token in MARKUP])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
