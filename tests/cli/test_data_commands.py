"""`synth all`, `prepare all`, `audit`, and pictures of partitions."""

from __future__ import annotations

import json
import shutil

import pytest

from fedmeki_bench import digests, registry


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Small stand-ins of three releases, one of which two datasets read."""
    root = tmp_path_factory.mktemp("raw")
    for name, size in (("ptbxl", 60), ("mimic3", 60), ("chexpert", 30)):
        folder = root / name
        folder.mkdir()
        registry.load("datasets", name)().synthesize(folder, size=size, seed=0)
    return root


@pytest.mark.slow
def test_prepare_all_takes_what_is_there_and_names_what_is_not(bench, raw, tmp_path):
    done = bench("prepare", "all", "--raw", raw, "--out", "data", "-o", "chexpert.image_size=32", "--plain", "--json")
    assert done.code == 0, done.err
    cards = {c["cohort"]: c["card"] for c in json.loads(done.out)}
    assert set(cards) == {
        "ecg_abnormal", "ecg_age", "ecg_statements", "ecg_superclasses", "ectopic_beats", "mortality", "sepsis",
        "atelectasis", "enlarged_cardiomediastinum", "pleural_effusion",
    }  # fmt: skip
    assert cards["atelectasis"]["arrays"]["image"]["shape"] == [1, 32, 32]
    assert "left out, no folder" in done.err
    assert "rsna" in done.err
    again = bench("prepare", "all", "--raw", raw, "--out", "data", "-o", "chexpert.image_size=32", "--plain", "--json")
    assert all(c["unchanged"] for c in json.loads(again.out))
    audited = bench("audit", "data", "--json", "--html", "page.html")
    assert audited.code == 0, audited.err
    found = json.loads(audited.out)
    assert {c["cohort"] for c in found["cohorts"]} == set(cards)
    across = [f for f in found["findings"] if f["check"] == "groups across"]
    assert ["mortality", "sepsis"] in [f["cohorts"] for f in across]
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_zero_shot_all_is_a_leak_that_the_audit_reports(bench, raw):
    bench("prepare", "ptbxl", "--raw", raw / "ptbxl", "--out", "data", "-o", "zero_shot=all", "--plain")
    audited = bench("audit", "data")
    assert audited.code == 1
    assert "ectopic_beats are of groups that ecg_abnormal learns from" in audited.out
    assert (
        audited.err.strip().splitlines()[-1].startswith("error: 4 leaks, first groups across")
    )  # one per training task


def test_audit_full_notices_what_dates_do_not_tell(bench, raw, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_SETTLED", -1.0)
    bench("prepare", "chexpert", "--raw", raw / "chexpert", "--out", "data", "-o", "image_size=32", "--plain")
    array = tmp_path / "data" / "atelectasis" / "image.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.unlink()  # other tasks share it
    array.write_bytes(content)
    assert bench("audit", "data", "--no-near").code == 3, "dates and all"
    for note in (tmp_path / "cache" / "digests").iterdir():  # as after a fault of the disk, which changes no date
        told, facts = json.loads(note.read_text()), array.stat()
        if told["inode"] == facts.st_ino:
            told |= {"mtime": facts.st_mtime_ns, "ctime": facts.st_ctime_ns}
            told["sha256"] = json.loads((array.parent / "card.json").read_text())["files"]["image.npy"]["sha256"]
            note.write_text(json.dumps(told))
    assert bench("audit", "data", "--no-near").code == 0
    full = bench("audit", "data", "--full")
    assert full.code == 3
    assert "was changed after it was prepared" in full.err


def test_a_partition_is_drawn(bench, raw, tmp_path):
    bench("prepare", "ptbxl", "--raw", raw / "ptbxl", "--out", "data", "--plain")
    drawn = bench("info", "dirichlet", "--data", "data", "--clients", 3, "-o", "alpha=0.3", "--svg", "p.svg")
    assert drawn.code == 0, drawn.err
    assert "client  2" in drawn.out
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    facts = json.loads(bench("info", "dirichlet", "--data", "data", "--clients", 3, "-o", "alpha=0.3", "--json").out)
    assert len(facts["counts"]["ecg_abnormal"]) == 3
    assert facts["digest"] in drawn.out


def test_availability_reaches_a_run(bench, cohorts, tmp_path):
    args = ("run", "fedavg_m", "--data", cohorts, "--results", tmp_path / "r", "-o", "rounds=1", "-o", "local_epochs=1")
    done = bench(*args, "-o", "holds={image: [0, 1], signal: [2]}", "--clients", 3, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)[0]
    held = {task: [row["n"] > 0 for row in rows] for task, rows in record["assignment"]["counts"].items()}
    assert held == {"lung_opacity": [True, True, False], "ecg_abnormal": [False, False, True]}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("prepare", "all", "--raw", ".", "--out", "d"), "no folder named after a dataset"),
        (("prepare", "all", "--raw", "RAW", "--out", "d", "-o", "imge_size=3"), "did you mean 'image_size'"),
        (("audit", "nothing"), "no cohort in nothing"),
        (("info", "natural", "--data", "nothing"), "no cohort of a training task"),
    ],
)
def test_mistakes(bench, raw, tmp_path, args, says):
    shutil.copytree(raw / "chexpert", tmp_path / "RAW" / "chexpert")
    ended = bench(*args)
    assert ended.code == 3
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_all_tasks_by_one_command(bench):
    bench("synth", "all", "--out", "raw")
    done = bench("prepare", "all", "--raw", "raw", "--out", "data", "-o", "image_size=64", "--plain", "--json")
    told = {name: task.meta for name, task in registry.working("tasks").items()}
    assert {cohort["cohort"] for cohort in json.loads(done.out)} == set(told)
    asked = "lung_opacity,covid19,ecg_abnormal,mortality"
    ran = bench("run", "fedavg_m", "--tasks", asked, "--data", "data", "--results", "r", "--json")
    evaluations = json.loads(ran.out)[0]["evaluations"]
    assert len(evaluations) == 4
    assert all(e["metrics"]["auroc"]["value"] > 0.5 for e in evaluations)
