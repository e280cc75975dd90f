"""A run is named by what defines it: edited plug-ins are other runs; comments, places and new options are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from fedmeki_bench import options, sources
from fedmeki_bench.boards.loading import find_board
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.runs.plan import plan

from .conftest import RULE

SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text())

ENCODER = '''"""An encoder."""
from torch import nn
from fedmeki_bench.api import Encoder


class Flat(Encoder):
    """A linear map of the whole record."""

    modality = "signal"

    def __init__(self, shape, params):
        super().__init__()
        self.width = 4
        self.map = nn.Linear(shape[0] * shape[1], 4)

    def forward(self, x):
        return self.map({what}.flatten(1))[:, None]
'''

TASK = '''"""A task over PTB-XL."""
from dataclasses import replace
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal


class Turned(EcgAbnormal):
    """The built-in task, with a label of its own."""

    meta = replace(EcgAbnormal.meta, name="turned")

    def label(self, row):
        found = super().label(row)
        return {label}
'''


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_runs_of_the_committed_boards_keep_their_settings(name):
    """A new option or plug-in version at its default must not orphan finished runs."""
    found = {entry.spec.setting for entry in plan(find_board(name))}
    assert found == set(SETTINGS[name].values())


@pytest.mark.slow
def test_an_edited_rule_is_another_run_and_the_old_one_says_why(distribution, cohorts):
    distribution.declare(rules={"fade": "fade:Fade"})
    distribution.write("fade.py", RULE.format(imports="", factor="1.0"))
    first, score, _ = distribution.run("fade_m", cohorts)
    distribution.write("fade.py", "# a comment\n" + RULE.format(imports="", factor="1.0").replace("A rule.", "Prose."))
    assert distribution.run("fade_m", cohorts)[0] == first, "comments and docstrings change nothing"
    distribution.write("fade.py", RULE.format(imports="", factor="0.0"))
    second, other, said = distribution.run("fade_m", cohorts)
    assert second != first
    assert other != score
    assert f"finished as {first}, which no longer counts: rule fade changed since" in said


@pytest.mark.slow
def test_status_says_why_a_finished_run_no_longer_counts(distribution, cohorts):
    distribution.declare(rules={"fade": "fade:Fade"})
    distribution.write("fade.py", RULE.format(imports="", factor="1.0"))
    distribution.write(
        "../out/small.yaml",
        "name: small\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal]\nalgorithms: [fade_m]\n"
        "options: {rounds: 1, local_epochs: 1}\n",
    )
    distribution.run("fade_m", cohorts)
    done = json.loads(distribution.bench("status", "small.yaml", "--data", cohorts, "--json").stdout)
    assert [row["status"] for row in done] == ["ok"]
    distribution.write("fade.py", RULE.format(imports="", factor="0.0"))
    (row,) = json.loads(distribution.bench("status", "small.yaml", "--data", cohorts, "--json").stdout)
    assert row["status"] == "missing"
    assert "rule fade changed since" in row["reason"]


@pytest.mark.slow
def test_what_a_plug_in_imports_of_its_own_distribution_counts(distribution, cohorts):
    distribution.declare(rules={"fade": "fade:Fade"})
    distribution.write("fade.py", RULE.format(imports="from fade_more.numbers import FACTOR", factor="FACTOR"))
    distribution.write("fade_more/__init__.py", "")
    distribution.write("fade_more/numbers.py", "FACTOR = 1.0\n")
    first, score, _ = distribution.run("fade_m", cohorts)
    distribution.write("fade_more/numbers.py", "FACTOR = 0.0\n")
    second, other, _ = distribution.run("fade_m", cohorts)
    assert second != first
    assert other != score


@pytest.mark.slow
def test_a_plug_in_in_a_file_is_named_by_its_content_wherever_it_lies(distribution, cohorts):
    distribution.write("../out/fade.py", RULE.format(imports="", factor="1.0"))
    first, _, _ = distribution.run("fade.py:Fade_m", cohorts)
    (distribution.out / "elsewhere").mkdir()
    shutil.move(distribution.out / "fade.py", distribution.out / "elsewhere" / "fade.py")
    assert distribution.run("elsewhere/fade.py:Fade_m", cohorts)[0] == first
    distribution.write("../out/elsewhere/fade.py", RULE.format(imports="", factor="0.0"))
    assert distribution.run("elsewhere/fade.py:Fade_m", cohorts)[0] != first


@pytest.mark.slow
def test_an_encoder_in_a_file_is_named_by_its_content(distribution, cohorts):
    def run(path: str) -> tuple[str, float, str]:
        return distribution.run("fedavg_m", cohorts, "-o", f"encoders={{signal: {path}:Flat}}")

    distribution.write("../out/enc.py", ENCODER.format(what="x"))
    first, score, _ = run("enc.py")
    shutil.copy(distribution.out / "enc.py", distribution.out / "same.py")
    assert run("same.py")[0] == first
    distribution.write("../out/enc.py", ENCODER.format(what="(x * 0)"))
    second, other, said = run("enc.py")
    assert second != first
    assert other == 0.5 != score
    assert "encoder signal changed since" in said


@pytest.mark.slow
def test_inverted_labels_of_an_installed_task_are_prepared_anew(distribution, tmp_path):
    distribution.declare(tasks={"turned": "turned:Turned"})
    distribution.write("turned.py", TASK.format(label="found"))
    assert distribution.bench("synth", "ptbxl", "--out", "raw", "--size", 60).returncode == 0

    def prepare() -> dict[str, tuple[bool, int | None]]:
        ended = distribution.bench("prepare", "ptbxl", "--raw", "raw", "--out", "data", "--json", "--plain")
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout)
        return {c["cohort"]: (c["unchanged"], c["card"]["splits"]["client"].get("positive")) for c in found}

    first = prepare()
    assert prepare() == {name: (True, positive) for name, (_, positive) in first.items()}
    distribution.write("turned.py", TASK.format(label="found if found not in (0, 1) else 1 - found"))
    refused = distribution.bench("run", "fedavg_m", "--tasks", "turned", "--data", "data", "--clients", 2)
    assert refused.returncode == 3
    assert "out of date (task turned changed since)" in refused.stderr
    second = prepare()
    assert second["turned"][0] is False
    assert second["turned"][1] != first["turned"][1]
    assert second["ecg_abnormal"] == (True, first["ecg_abnormal"][1]), "built-in tasks are left alone"


def test_versions_of_partitions_encoders_and_kinds_enter_the_setting(monkeypatch):
    def settings() -> set[str]:
        return {entry.spec.setting for entry in plan(find_board("demo"))}

    known = settings()
    stated = sources.stated_version
    for kind in ("partitions", "encoders", "kinds"):
        monkeypatch.setattr(
            "fedmeki_bench.runs.plugins.stated_version", lambda k, name, kind=kind: stated(k, name) + (k == kind)
        )
        assert not known & settings()


def test_stated_versions_are_read_without_importing(tmp_path):
    assert sources.stated_version("encoders", "clinical") == 1
    file = tmp_path / "p.py"
    file.write_text("class A:\n    version: int = 3\nclass B(A):\n    pass\n")
    assert sources.stated_version("partitions", f"{file}:A") == 3
    assert sources.stated_version("partitions", f"{file}:B") == 3


class Old(BaseModel):
    rounds: int = 3


class New(Old):
    latents: int = options.later(0, since="0.2", ge=0, description="soft tokens per picture")
    names: tuple[str, ...] = options.later(("a",), since="0.2", description="names")


def test_a_later_option_at_its_default_goes_unsaid():
    assert options.silent(Old, Old().model_dump(mode="json")) == []
    assert options.silent(New, New().model_dump(mode="json")) == ["latents", "names"]
    assert options.silent(New, New(latents=2).model_dump(mode="json")) == ["names"]


def test_a_later_option_keeps_settings_until_it_is_used(monkeypatch):
    """Control: the same field without the mark moves every setting."""
    from fedmeki_bench.runs import spec as module

    def settings(**fields) -> set[str]:
        newer = type("Availability", (Availability,), {"__annotations__": dict.fromkeys(fields, int), **fields})
        monkeypatch.setattr(module, "Availability", newer)
        return {entry.spec.setting for entry in plan(find_board("demo"))}

    known = set(SETTINGS["demo"].values())
    assert settings(latents=options.later(0, since="0.2")) == known
    assert not known & settings(latents=0)
    board = find_board("demo").model_copy(update={"options": {"latents": 2}})
    settings(latents=options.later(0, since="0.2"))
    kept = [entry.spec for entry in plan(board) if entry.spec.setting in known]
    assert len(kept) == 2, "the central bound holds everything, whoever lacks what"
    assert {spec.algorithm for spec in kept} == {"central"}


def test_a_model_in_a_folder_is_named_by_its_weights(tmp_path, monkeypatch):
    from fedmeki_bench.runs.plugins import foundation_identity, foundation_name

    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    at = [{"foundation": str(tmp_path / name)} for name in ("one", "two")]
    assert foundation_identity(at[0]) == foundation_identity(at[1])
    assert foundation_name(at[0]) == foundation_name(at[1]) == "folder"
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weighty")  # as long as before
    assert foundation_identity(at[0]) != foundation_identity(at[1])
