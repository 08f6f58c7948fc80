"""Manifests: content counts, time stamps and places do not."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from winnow import manifest
from winnow.errors import UserError
from winnow.manifest import content_hash, describe, identity, is_hub_name, resolve


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(name)
    return folder


def test_a_touch_and_a_copy_keep_the_hash(model, tmp_path):
    before = describe(model)
    os.utime(model / "model.safetensors", (1, 1))
    assert describe(model).model == before.model
    shutil.copytree(model, tmp_path / "copy")
    assert describe(tmp_path / "copy").model == before.model
    assert describe(tmp_path / "copy").files == before.files


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"]
)
def test_other_bytes_change_it(model, name):
    before = describe(model)
    content = (model / name).read_text()
    status = (model / name).stat()
    (model / name).write_text(content[:-1] + "!")
    # Same size, same modification time: the cache must not be fooled.
    os.utime(model / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = describe(model)
    assert after.model != before.model
    assert (after.tokenizer != before.tokenizer) == (name in ("tokenizer.json", "chat_template.jinja"))
    assert identity(str(model)) == after.model


def test_a_renamed_added_or_swapped_file_changes_it(model):
    before = describe(model).model
    (model / "model.safetensors").rename(model / "other.safetensors")
    assert describe(model).model != before
    (model / "other.safetensors").rename(model / "model.safetensors")
    assert describe(model).model == before
    (model / "generation_config.json").write_text("{}")
    assert describe(model).model != before


def test_notes_beside_the_model_do_not_count(model):
    before = describe(model).model
    (model / "README.md").write_text("hello")
    describe(model).write(model / "manifest.json")
    assert describe(model).model == before


def test_files_are_hashed_once(model, monkeypatch, own_cache):
    hashed = []
    file_hash = manifest.file_hash
    monkeypatch.setattr(manifest, "file_hash", lambda path: hashed.append(path.name) or file_hash(path))
    describe(model)
    describe(model)
    assert len(hashed) == 4
    (model / "config.json").write_text("other")
    describe(model)
    assert hashed[4:] == ["config.json"]
    for store in own_cache.rglob("*.json"):
        store.write_text("not json")
    describe(model)
    assert len(hashed) == 9


def test_a_cache_that_cannot_be_written_is_no_error(model, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert describe(model).model == describe(model).model


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        ("config.json", None, "no config.json"),
        ("model.safetensors", None, "no weights"),
        ("model.safetensors", "pytorch_model.bin", "only as pytorch_model.bin, a pickle"),
        ("tokenizer.json", None, "no tokenizer"),
    ],
)
def test_incomplete_models_are_refused(model, remove, add, message):
    (model / remove).unlink()
    (model / "chat_template.jinja").unlink()
    if add:
        (model / add).touch()
    with pytest.raises(UserError, match=message) as error:
        describe(model)
    assert error.value.where == str(model)


def test_no_directory(tmp_path):
    with pytest.raises(UserError, match="no such model directory"):
        describe(tmp_path / "gone")


def test_a_manifest_leads_to_its_model(model, tmp_path, monkeypatch):
    recipe = {"epochs": 3}
    described = describe(model, recipe, parent="abc")
    described.write(tmp_path / "far" / "manifest.json")
    directory, found = resolve(tmp_path / "far" / "manifest.json")
    assert (directory, found) == (model, described)
    assert (found.recipe, found.parent) == (recipe, "abc")
    assert resolve(model)[1].model == described.model


@pytest.mark.parametrize("moved", [False, True])
def test_a_manifest_and_its_model_move_together(model, tmp_path, moved):
    found = describe(model)
    manifest.Manifest("model", found.model, found.tokenizer, found.files).write(tmp_path / "manifest.json")
    home = tmp_path
    if moved:
        home = tmp_path / "elsewhere"
        home.mkdir()
        for name in ("model", "manifest.json"):
            shutil.move(tmp_path / name, home / name)
    assert resolve(home / "manifest.json")[0] == home / "model"


def test_a_path_relative_to_the_working_directory(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    describe("model").write("deep/manifest.json")
    assert resolve("deep/manifest.json")[1].model == describe(model).model


def test_other_weights_than_the_manifests_are_refused(model, tmp_path):
    describe(model).write(tmp_path / "manifest.json")
    (model / "model.safetensors").write_text("other")
    with pytest.raises(UserError, match=r"have hash .* the manifest says") as error:
        resolve(tmp_path / "manifest.json")
    assert error.value.where == str(tmp_path / "manifest.json")


@pytest.mark.parametrize("content", [{"model_type": "qwen3"}, [1]])
def test_a_json_file_that_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config\.json: not a manifest"):
        resolve(tmp_path / "config.json")


def test_hub_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("Qwen/Qwen3-0.6B@main")
    assert not any(map(is_hub_name, ["./a/b", "/a/b", "a", "a/b/c", "~/a"]))
    (tmp_path / "models").mkdir()
    assert not is_hub_name("models/gone"), "a local folder with a misspelt model"
    assert identity("Qwen/Qwen3-0.6B") == "hub:Qwen/Qwen3-0.6B"


def test_content_hash(tmp_path):
    (tmp_path / "a").write_text("abc")
    assert content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
