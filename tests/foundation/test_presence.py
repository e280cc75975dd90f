"""A foundation model that could not be loaded is refused from its files, at once and in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.foundation.presence import check_presence
from fedmeki_bench.runs.spec import specify
from tests.foundation.conftest import ARCHITECTURES, random_model, random_tokenizer


@pytest.fixture
def folder(tmp_path):
    """A small language model as transformers saves it."""
    path = tmp_path / "model"
    random_model("llama").save_pretrained(path)
    random_tokenizer(bos=True).save_pretrained(path)
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(path):
    path.write_bytes(path.read_bytes()[:50])


def change_config(path, **changes):
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))


def sharded(path):
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))


def no_tokenizer(path):
    for file in path.glob("tokenizer*"):
        file.unlink()


def pickled(path):
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


FAULTS = {
    "no config": (lambda p: (p / "config.json").unlink(), "it has no config.json"),
    "config cut off": (lambda p: cut(p / "config.json"), "its config.json can't be read"),
    "config is a list": (lambda p: (p / "config.json").write_text("[]"), "its config.json can't be read (it is no map"),
    "no language model": (
        lambda p: change_config(p, architectures=["ViTForImageClassification"], model_type="vit"),
        "it is a ViTForImageClassification and no causal language model",
    ),
    "without head": (lambda p: change_config(p, architectures=["LlamaModel"]), "it is a LlamaModel and no causal"),
    "no kind": (lambda p: (p / "config.json").write_text("{}"), "its config.json names no model_type"),
    "no tokenizer": (no_tokenizer, "its tokenizer is missing"),
    "tokenizer cut off": (lambda p: cut(p / "tokenizer.json"), "its tokenizer.json can't be read (it is cut off)"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), "it has no *.safetensors"),
    "pickled": (pickled, "pytorch_model.bin is not read: save it as safetensors"),
    "header cut off": (lambda p: cut_header(p / "model.safetensors"), "its model.safetensors can't be read ("),
    "weights cut off": (lambda p: cut(p / "model.safetensors"), "its model.safetensors can't be read ("),
    "a shard is missing": (sharded, "1 of its 2 files of weights are missing, first model-00002-of-00002.safetensors"),
    "a pipe": (lambda p: ((p / "config.json").unlink(), os.mkfifo(p / "config.json")), "is no regular file"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_folder_is_one_sentence(folder, fault):
    damage, says = FAULTS[fault]
    damage(folder)
    started = time.perf_counter()
    with pytest.raises(InputError) as caught:
        check_presence(folder)
    assert time.perf_counter() - started < 1
    assert str(caught.value).startswith(f"cannot load the foundation model '{folder}': ")
    assert says in str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_can_be_loaded_is_not_refused(tmp_path, architecture):
    random_model(architecture).save_pretrained(tmp_path)
    random_tokenizer(bos=True).save_pretrained(tmp_path)
    check_presence(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere/at/all", "there is no such folder or file"),
        ("no-such-model", "there is no such folder or file"),
        ("notes.txt", "no file that ends in .gguf"),
        ("bad.gguf", "does not begin as a GGUF file"),
        ("empty", "it has no config.json"),
    ],
)
def test_what_is_no_model_at_all(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "bad.gguf").write_text("notes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=says):
        check_presence(name)


def test_a_name_is_looked_up(monkeypatch):
    check_presence("tiny")
    from fedmeki_bench import registry

    monkeypatch.setattr(registry, "names", lambda kind: ["broken"])
    with pytest.raises(UsageError, match="unknown foundation 'broken'"):  # it is asked of the registry, which lacks it
        check_presence("broken")


def test_a_shown_run_may_name_what_is_not_there():
    options = {"foundation": "nowhere/at/all"}
    assert specify(resolve("fedavg_m_fm"), ["ecg_abnormal"], options=options)
    with pytest.raises(InputError, match="nowhere/at/all"):
        specify(resolve("fedavg_m_fm"), ["ecg_abnormal"], options=options, to_run=True)


def test_looking_imports_neither_torch_nor_transformers(folder):
    code = (
        "import sys\nfrom fedmeki_bench.foundation.presence import check_presence\n"
        f"check_presence({str(folder)!r})\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_nothing_is_trained_before(folder, cohorts, tmp_path, command):
    cut(folder / "model.safetensors")
    (tmp_path / "b.yaml").write_text(
        "name: b\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms: [fedavg_m, fedavg_m_fm]\n"
        f"options: {{rounds: 1, local_epochs: 1, foundation: {folder}}}\n"
    )
    args = {
        "run": ["run", "fedavg_m_fm", "--tasks", "ecg_abnormal", "-o", f"foundation={folder}"],
        "sweep": ["sweep", "b.yaml"],
    }[command]
    ended = subprocess.run(
        [sys.executable, "-m", "fedmeki_bench", *args, "--data", str(cohorts), "--results", "r"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("error: cannot load the foundation model")
    assert not (tmp_path / "r").exists()
