"""A clinical dataset and a dataset of questions, each a distribution of its own that imports the api alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig

HERE = Path(__file__).parent
PACKAGES = ("clinical", "vqa")


def imported(path: Path) -> list[str]:
    """Modules that a file imports, wherever in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_foreign_package_imports_the_api_alone(package):
    files = sorted((HERE / package).rglob("*.py"))
    assert len(files) == 4
    ours = {name for file in files for name in imported(file) if name.startswith("fedmeki_bench")}
    assert ours == {"fedmeki_bench.api"}
    others = {name.split(".")[0] for file in files for name in imported(file) if not name.startswith(".")}
    assert others <= {
        "__future__",
        "dataclasses",
        "fedmeki_bench",
        "json",
        "numpy",
        "pandas",
        "PIL",
        "pydantic",
        "typing",
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip has installed both, as into a fresh environment."""
    folder = tmp_path_factory.mktemp("installed")
    sources = folder / "sources"
    for package in PACKAGES:
        shutil.copytree(HERE / package, sources / package)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", folder / "site", *(sources / package for package in PACKAGES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def bench(installed, tmp_path):
    """``bench("list", "tasks")`` in a process that sees what was installed; its standard output."""
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def call(*args: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fedmeki_bench", *map(str, args)], cwd=tmp_path, env=env, capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def prepared(bench, dataset: str, *options: str) -> None:
    bench("synth", dataset, "--out", f"raw/{dataset}", "--size", 240)
    bench("prepare", dataset, "--raw", f"raw/{dataset}", "--out", "data", *options)


OTHERS = ["reintubation", "skinqa_mole", "skinqa_where"]


@pytest.mark.parametrize(
    "plugin", ["recovery", "skinqa", *(pytest.param(p, marks=pytest.mark.slow) for p in OTHERS)]
)  # fmt: skip
def test_they_keep_every_clause(bench, plugin):
    rows = json.loads(bench("check", plugin, "--json"))
    assert {row["clause"]: row["found"] for row in rows if row["status"] != "passed"} == {}


@pytest.mark.slow
def test_the_clinical_dataset_goes_from_raw_files_to_a_record(bench, tmp_path):
    prepared(bench, "recovery")
    (record,) = json.loads(
        bench(
            "run", "fedavg_s", "--tasks", "reintubation", "--data", "data", "--clients", 2, "--json", "-o", "rounds=4"
        )
    )
    assert record["status"] == "ok"
    (cohort,) = record["cohorts"]
    assert (cohort["name"], cohort["task"], cohort["synthetic"]) == ("recovery", "reintubation", True)
    assert "recovery-room 0.1.0" in json.dumps(record["plugins"])
    (evaluation,) = record["evaluations"]
    assert evaluation["metrics"]["auroc"]["value"] > 0.8  # who is intubated again loses oxygen by the hour
    assert (tmp_path / "results" / record["key"] / "record.json").is_file()


@pytest.mark.slow
def test_the_questions_are_trained_on_and_answered_in_words(bench, tmp_path):
    prepared(bench, "skinqa", "-o", "image_size=32")
    smallest = TinyConfig(hidden=16, layers=1, heads=2, intermediate=32, vocabulary=300, steps=1, batch=2)
    language = tiny_folder(smallest, cache=tmp_path / "cache")
    (record,) = json.loads(
        bench("run", "fedavg_m_lora", "--tasks", "skinqa_mole,skinqa_where", "--data", "data", "--clients", 2, "--json",
              "-o", "rounds=1", "-o", "image_size=32", "-o", f"foundation={language}")
    )  # fmt: skip
    assert record["status"] == "ok"
    assert {cohort["task"] for cohort in record["cohorts"]} == {"skinqa_mole", "skinqa_where"}
    answered = {(e["view"], e["task"]): e for e in record["evaluations"]}
    assert set(answered[("foundation", "skinqa_where")]["metrics"]) >= {"exact_match", "token_f1"}
    assert "auroc" in answered[("foundation", "skinqa_mole")]["metrics"]
    # nobody whose picture was trained on is asked in free text
    data = tmp_path / "data"
    cards = [json.loads((data / task / "card.json").read_text()) for task in ("skinqa_mole", "skinqa_where")]
    assert cards[1]["registry"] == "skinqa"
    assert 0 < cards[1]["groups"] < cards[0]["groups"]
