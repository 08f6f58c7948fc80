"""Prompts with images: read by the model's own processor and forward pass, decoded as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from direct import sampler, samples
from PIL import Image
from recording import record_rounds
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
)

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.images import in_parts, located, opened
from winnow.qstar.controller import Controller
from winnow.qstar.decoder import Decoder
from winnow.qstar.engine import Engine
from winnow.qstar.loading import choose_attention, load
from winnow.qstar.models import LoadedModel
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.proposals import StudentDrafts
from winnow.qstar.scheduler import Row, Slots
from winnow.qstar.vision import Vision
from winnow.records import Prompt, completion_seed

SPECIAL = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<image>"]
TOKENS = [*SPECIAL, *"abcd"]
IMAGE = TOKENS.index("<image>")
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' -}}"
    "{%- for part in message['content'] -%}"
    "{{- '<image>' if part['type'] == 'image' else part['text'] -}}{%- endfor -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
TEXT = {
    "vocab_size": len(TOKENS) + 1,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 96,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def randomize(model, seed: int):
    generator = torch.Generator().manual_seed(seed)
    for name, weights in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.3, generator=generator)
    return model


def save_llava(directory: Path, seed: int) -> Path:
    """A LLaVA of 8 × 8 images, 4 patches each, and its processor."""
    characters = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(TOKENS)}, merges=[], unk_token="<|pad|>")
    )
    characters.decoder = decoders.Fuse()
    characters.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<|pad|>", eos_token="<|end|>")
    size = {"height": 8, "width": 8}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size=size)
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    tower = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=Qwen2Config(**TEXT),
        image_token_index=IMAGE,
        image_token_id=IMAGE,
        vision_feature_layer=-1,
        eos_token_id=1,
        pad_token_id=0,
    )
    randomize(LlavaForConditionalGeneration(config).double(), seed).save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Four images of noise; the last is twice as large."""
    folder = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(4)
    for index, edge in enumerate([8, 8, 8, 16]):
        pixels = torch.randint(0, 256, (edge, edge, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def llavas(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("llava")
    return save_llava(folder / "student", 1), save_llava(folder / "teacher", 2)


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def test_images_stand_where_they_are_marked_or_before_the_last_question(llavas, pictures):
    model = load(llavas[0], "float64")
    files = [pictures / "0.png", pictures / "1.png"]
    image = [IMAGE] * 4
    assert model.tokenize(user("a<image>b<image>"), files) == [2, 5, *image, 6, *image, 3]
    assert model.tokenize(user("ab"), files) == [2, *image, *image, 5, 6, 3]
    assert model.tokenize(user("ab")) == [2, 5, 6, 3]
    with pytest.raises(UserError, match="2 images, and 1 times <image>"):
        model.tokenize(user("a<image>"), files, "prompt 7")


def whole(model: LoadedModel, tokens: list[int], files: list[Path], **more) -> torch.Tensor:
    """The logits after some tokens, by one pass over text and images."""
    pixels = model.vision._processor.image_processor(
        images=[opened(f, "") for f in files], return_tensors="pt"
    )
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in pixels.items()}
    with torch.inference_mode():
        return model.model(input_ids=torch.tensor([tokens]), use_cache=False, **inputs, **more).logits[0, -1]


def test_slots_give_what_a_whole_pass_gives(llavas, pictures):
    model = load(llavas[0], "float64")
    decoder = Decoder(model, len(TOKENS), slots=4, capacity=40)
    shown = [(pictures / "0.png",), (pictures / "1.png",), (), (pictures / "0.png",)]
    held = [model.tokenize(user("ab"), files) for files in shown]
    assert held[0] == held[1], "the tokens are the same, the images are not"
    entries = [(slot, tuple(tokens)) for slot, tokens in enumerate(held)]
    decoder.admit(entries, {slot: files for slot, files in enumerate(shown) if files})
    for kept in (1, 3, 2):
        new = torch.tensor([[tokens[-1], 5, 7, 8][:kept] for tokens in held])
        decoder.place(*new.shape)
        found = decoder.forward(new)
        for slot, tokens in enumerate(held):
            for place in range(kept):
                read = [*tokens[:-1], *new[slot, : place + 1].tolist()]
                if shown[slot]:
                    expected = whole(model, read, list(shown[slot]))
                else:
                    expected = model.model(input_ids=torch.tensor([read]), use_cache=False).logits[0, -1]
                torch.testing.assert_close(found[slot, place], expected[: len(TOKENS)], rtol=1e-9, atol=1e-9)
        decoder.advance([kept] * 4)
        held = [[*tokens[:-1], *new[slot].tolist(), 6] for slot, tokens in enumerate(held)]
    assert not torch.allclose(found[0, 0], found[1, 0])
    torch.testing.assert_close(found[0], found[3])


def test_an_image_is_read_once_for_all_samples_of_its_prompt(llavas, pictures, monkeypatch):
    source = sampler(*llavas, "kl_symmetry", 6, image_root=pictures)
    prompts = [Prompt(f"p{i}", user("ab"), user("abcd"), images=[f"{i}.png"]) for i in range(3)]
    rows = [
        source.row(prompt, f"{prompt.id}/{i}", completion_seed(1, prompt.id, i))
        for prompt in prompts
        for i in range(5)
    ]
    read = []
    inputs = Vision.inputs
    monkeypatch.setattr(
        Vision,
        "inputs",
        lambda self, ids, images, *rest: read.append(images) or inputs(self, ids, images, *rest),
    )
    together = {each.row.id: each.token_ids for each in source.draw(rows, 15)}
    assert sorted(read) == sorted([(pictures / f"{i}.png",) for i in range(3)] * 2), "once for each model"
    for slots, depth in [(1, 1), (4, 2), (7, 4)]:
        other = sampler(*llavas, "kl_symmetry", 6, depth, image_root=pictures)
        assert {each.row.id: each.token_ids for each in other.draw(rows, slots)} == together
    assert len({tuple(tokens) for tokens in together.values()}) > 5


def test_recorded_rounds_draw_the_same(llavas, pictures, monkeypatch):
    source = sampler(*llavas, "kl_symmetry", 6, 2, image_root=pictures)
    prompts = [Prompt(f"p{i}", user("ab"), user("abcd"), images=[f"{i}.png"]) for i in range(3)]
    rows = [row for prompt in prompts for row in samples(source, prompt, 6)]
    expected = {each.row.id: each.token_ids for each in source.draw(rows, 4)}
    made = record_rounds(monkeypatch)
    assert {each.row.id: each.token_ids for each in source.draw(rows, 4)} == expected
    assert made[0].replayed > 0


def test_images_are_refused_before_anything_is_drawn(llavas, pictures, student, tmp_path):
    source = sampler(*llavas, "kl_symmetry", image_root=pictures)
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:90])
    for images, told in [
        (["../0.png"], "outside"),
        (["/etc/hostname"], "outside"),
        (["9.png"], "is not in"),
        (["cut.png"], "cannot be read"),
    ]:
        with pytest.raises(UserError, match=told) as error:
            source.row(Prompt("p7", user("a"), images=images), "p7/0", 0)
        assert error.value.where == "prompt p7"
    with pytest.raises(UserError, match="reads text alone"):
        sampler(student, None, "policy", image_root=pictures).row(
            Prompt("p7", user("a"), images=["0.png"]), "p7/0", 0
        )


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(UserError, match="200 MiB"):
        located(["huge.png"], tmp_path, "prompt 1")


def test_other_formats_and_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.ppm")
    with pytest.raises(UserError, match="cannot be read"):
        opened(tmp_path / "a.ppm", "prompt 1")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr("winnow.images.MOST_PIXELS", 63)
    with pytest.raises(UserError, match="8 × 8 pixels, more than 63"):
        opened(tmp_path / "a.png", "prompt 1")
    with pytest.raises(UserError, match="a path"):
        located(["a\0.png"], tmp_path, "prompt 1")


def test_a_processor_is_not_handed_an_empty_list_of_images():
    seen = []

    class Processor:
        def apply_chat_template(self, messages, **_):
            return "ab"

        def __call__(self, images, **_):
            seen.append(images)
            return {"input_ids": torch.tensor([[1, 2]])}

    assert Vision(Processor(), None).tokenize(user("ab"), (), "here") == [1, 2]
    assert seen == [None]


def test_models_that_look_both_ways_are_refused(llavas, pictures, monkeypatch):
    model = load(llavas[0], "float64")
    forward = type(model.model).forward

    def looking(self, token_type_ids=None, **inputs):
        return forward(self, **inputs)

    monkeypatch.setattr(type(model.model), "forward", looking)
    with pytest.raises(UserError, match="in both directions"):
        model.tokenize(user("ab"), [pictures / "0.png"], "prompt 1")
    assert model.tokenize(user("ab")) == [2, 5, 6, 3]


def test_parts_of_earlier_messages_stay_text():
    messages = [*user("a"), {"role": "assistant", "content": "b"}, *user("c")]
    shown = in_parts(messages, 1, "here")
    assert [message["content"] for message in shown] == [
        [{"type": "text", "text": "a"}],
        [{"type": "text", "text": "b"}],
        [{"type": "image"}, {"type": "text", "text": "c"}],
    ]


class Patches:
    """A Qwen2.5-VL processor's image part; its video part needs torchvision."""

    def __init__(self):
        self.image_processor = Qwen2VLImageProcessorPil(
            patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=64, max_pixels=1024
        )


def several_axes(seed: int) -> LoadedModel:
    """A Qwen2.5-VL of 4 × 4 patches, merged by fours."""
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 16, "window_size": 16,
        "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={
            **TEXT,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4},
        },
        vision_config=vision,
        image_token_id=IMAGE,
        video_token_id=99,
        vision_start_token_id=98,
        vision_end_token_id=97,
    )
    made = randomize(Qwen2_5_VLForConditionalGeneration(config).double().eval(), seed)
    choose_attention(made)
    tokenizer = type("NoTokenizer", (), {"pad_token_id": 0})()
    return LoadedModel("tiny", made, tokenizer, None, frozenset({1}), 96, Vision(Patches(), IMAGE))


def test_two_models_of_several_axes_draw_the_same_however_they_are_run(pictures):
    models = several_axes(3), several_axes(4)
    image = [IMAGE] * 4
    shown = [
        ((2, *image, 5, 6, 3), (2, 7, *image, 8, 3), (pictures / "3.png",)),
        ((2, 5, 3), (2, 6, 7, 3), ()),
        ((2, 8, *image, 3), (2, *image, 3), (pictures / "3.png",)),
    ]

    def drawn(slots: int, depth: int) -> dict[str, list[int]]:
        engine = Engine(
            StudentDrafts(*(Decoder(model, len(TOKENS), slots, 40) for model in models)),
            Controller(None, depth),
            Alpha.parse("kl_symmetry"),
            SamplingParameters(),
            frozenset({1}),
            ("student", "teacher"),
        )
        rows = [Row(str(i), 31 * i, *shown[i % 3][:2], 10, shown[i % 3][2]) for i in range(12)]
        return {each.row.id: each.token_ids for each in engine.run(Slots(rows, slots))}

    alone = drawn(1, 1)
    assert len({tuple(tokens) for tokens in alone.values()}) > 6
    assert drawn(5, 4) == drawn(12, 3) == alone


def test_positions_of_several_axes(pictures):
    """Qwen2.5-VL: the patches of an image share positions, and what follows counts on from them."""
    model = several_axes(3)
    made = model.model
    decoder = Decoder(model, len(TOKENS), slots=3, capacity=40)
    # 16 × 16 pixels are 16 patches of 4 × 4, merged by fours.
    shown = [(pictures / "3.png",), (), (pictures / "3.png",)]
    held = [[2, *[IMAGE] * 4, 5, 6, 3], [2, 5, 6, 3], [2, 7, *[IMAGE] * 4, 3]]
    decoder.admit(
        [(slot, tuple(tokens)) for slot, tokens in enumerate(held)],
        {slot: files for slot, files in enumerate(shown) if files},
    )
    assert decoder._offsets == [-2, 0, -2]
    for kept in (1, 3):
        new = torch.tensor([[tokens[-1], 5, 7, 8][:kept] for tokens in held])
        decoder.place(*new.shape)
        found = decoder.forward(new)
        for slot, tokens in enumerate(held):
            read = [*tokens[:-1], *new[slot].tolist()]
            ids = torch.tensor([read])
            if shown[slot]:
                kinds = (ids == IMAGE).long()
                expected = whole(model, read, list(shown[slot]), mm_token_type_ids=kinds)
            else:
                places = torch.arange(len(read))[None]
                expected = made(input_ids=ids, position_ids=places, use_cache=False).logits[0, -1]
            torch.testing.assert_close(found[slot, -1], expected[: len(TOKENS)], rtol=1e-6, atol=1e-6)
        decoder.advance([kept] * 3)
        held = [[*tokens[:-1], *new[slot].tolist(), 6] for slot, tokens in enumerate(held)]
    decoder.move(2, 1)
    assert decoder._offsets[1] == -2
