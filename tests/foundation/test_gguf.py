"""Foundation models from GGUF files: the weights that were written, the tokenizer, the folder rule, the errors."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
import torch

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.build import build
from fedmeki_bench.foundation.gguf_files import gguf_file
from fedmeki_bench.runs.plugins import foundation_identity, foundation_name, portable

from . import gguf_models

PROMPT = "yes or no, is there opacity"
needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="the package gguf is not installed")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    folder = tmp_path_factory.mktemp("gguf")
    return folder / "small.gguf", gguf_models.write(folder / "small.gguf")


def test_a_gguf_file_and_its_folder_give_the_model_that_was_written(written, capfd):
    file, model = written
    capfd.readouterr()
    language, same = build(file, prompt_format="chat"), build(file.parent)
    assert capfd.readouterr() == ("", "")
    ids = torch.tensor([language.tokens(PROMPT)])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        torch.testing.assert_close(language.model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(same.model(input_ids=ids).logits, language.model(input_ids=ids).logits)
    assert language.dtype == torch.float32
    assert not any(p.requires_grad for p in language.model.parameters())
    assert language.tokenizer.decode(language.tokens(PROMPT)) == PROMPT
    assert language.format.after == "<|im_end|>\n<|im_start|>assistant\n"
    assert language.score(None, None, [PROMPT], ["yes", "no"]).shape == (1, 2)


@needs_gguf
def test_a_folder_with_several_files_lists_them(tmp_path):
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"holds 2 GGUF files \(a\.gguf, b\.gguf\): name one of them"):
        build(tmp_path)
    assert gguf_file(tmp_path / "a.gguf") == tmp_path / "a.gguf"
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert gguf_file(tmp_path) is None  # a folder saved by transformers stays one
    assert gguf_file("tiny") is None


@needs_gguf
@pytest.mark.parametrize("content", [b"", b"GGUF", b"no such format at all" * 100])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot load the foundation model .*bad\.gguf") as caught:
        build(tmp_path / "bad.gguf")
    assert "\n" not in str(caught.value)


def test_without_the_package_the_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'fedmeki-bench\[gguf\]'"):
        gguf_file(tmp_path / "a.gguf")


def test_the_identity_of_a_file_is_its_content(tmp_path):
    one, two = tmp_path / "one.gguf", tmp_path / "elsewhere" / "two.gguf"
    one.write_bytes(b"some weights")
    two.parent.mkdir()
    shutil.copy(one, two)
    identity = [foundation_identity({"foundation": str(f)}) for f in (one, two)]
    assert identity[0] == identity[1]
    two.write_bytes(b"other weights")
    assert foundation_identity({"foundation": str(two)}) != identity[0]
    assert foundation_name({"foundation": str(one)}) == "file"
    assert foundation_name({"foundation": str(two.parent)}) == "folder"
    assert portable(str(one)) == "one.gguf"
