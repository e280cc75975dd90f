"""Boards, options, records, predictions and score files of strangers: a value, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import strategies as st

from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.evaluation.answer_files import read_answers
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
    read_predictions,
    read_text_predictions,
    write_predictions,
    write_text_predictions,
)
from fedmeki_bench.evaluation.protocols import score_answers
from fedmeki_bench.options import parse_options, split_pairs
from fedmeki_bench.plain import plain_values
from fedmeki_bench.profiles import Profile
from fedmeki_bench.records.record import Record, content_digest
from fedmeki_bench.records.store import BadRecord, RecordStore

from .mutation import CASES, EXTREMES, changes, edits, explore, one_line, refused_in_words

BOARDS = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.yaml"))


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values", "free"])
def test_boards(tmp_path, examples, level):
    path = tmp_path / "b.yaml"
    contents = [file.read_bytes() for file in BOARDS]
    values = [yaml.safe_load(content) for content in contents]

    def check(number, change):
        number %= len(contents)
        if level == "bytes":
            path.write_bytes(change(contents[number]))
        elif level == "values":
            path.write_text(json.dumps(change(values[number])))  # JSON is YAML
        else:
            path.write_bytes(change.encode("utf-8", "surrogatepass"))
        with refused_in_words():
            board = load_board(path)
            assert isinstance(board, Board)
            assert board.federations
            assert board.partition_words
            told = board.model_dump()
            assert plain_values(told) == told

    how = {
        "bytes": edits(),
        "values": changes(),
        "free": st.text(alphabet="abn: -[]{}&*!|>'\"#?,\n\t0.1~<=%@\x1b", max_size=60),
    }
    explore(examples, st.integers(0, 9), how[level])(check)


@pytest.mark.parametrize("examples", CASES)
def test_options(examples):
    from fedmeki_bench.builtin.baselines.feddyn import FedDyn
    from fedmeki_bench.builtin.baselines.fedprox import FedProx
    from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl

    models = [Profile, FedProx.Params, FedDyn.Params, PtbXl.Options]
    names = sorted({name for model in models for name in model.model_fields})
    extremes = [json.dumps(v) if not isinstance(v, str) else v for v in EXTREMES if v not in (10**400,)]
    value = st.sampled_from(
        [*extremes, "9" * 5000, '!!int ""', "!!float ''", "&a *a", "0b_", "1:99", "2020-13-45", "!!bool x"]
    )
    value |= st.text(alphabet="-+.e0123456789_x:!&*[]{}'\"~tfn \n", max_size=15) | st.text(max_size=20)
    pair = st.tuples(st.sampled_from(names) | st.text(max_size=5), value).map("=".join) | st.text(max_size=10)

    def check(pairs, number):
        with refused_in_words():
            given = split_pairs(pairs)
            parse_options(models[number], given, owner="something")

    explore(examples, st.lists(pair, max_size=3), st.integers(0, len(models) - 1))(check)


RECORD = {
    "schema": 1, "key": "abc", "setting": "set", "status": "ok", "algorithm": "fedavg_s", "rule": "fedavg",
    "scope": "s", "stage": "none", "profile": "demo",
    "params": {"rule": {"mu": 0.1}}, "seed": 0, "clients": 5, "partition": "iid",
    "tasks": ["t"], "views": ["aggregated"], "cohorts": [{"name": "t", "task": "t", "card": "c", "synthetic": True}],
    "versions": {"tasks": {"t": 1}, "metrics": {"auroc": 1}},
    "evaluations": [{"view": "aggregated", "task": "t", "n": 3, "predictions": "predictions/a.t.parquet",
                     "metrics": {"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}},
                     "subgroups": {"site": [{"name": "A", "n": 3, "value": 0.5}]}}],
    "history": [{"round": 0, "loss": 0.5, "valid": {"t": 0.5}}], "cost": {"seconds": 1.5},
    "environment": {"python": "3.11", "packages": {"torch": "2"}}, "started": "2026-01-01T00:00:00Z",
    "error": {"type": "ValueError", "message": "no"}, "notes": ["a"],
}  # fmt: skip


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values", "sealed"])
def test_records(tmp_path, examples, level):
    store = RecordStore(tmp_path)
    store.write(Record.model_validate(RECORD | {"key": "good"}))
    good = store.load("good")
    path = tmp_path / "abc" / "record.json"
    path.parent.mkdir()
    whole = Record.model_validate(RECORD).to_json()

    def check(change):
        if level == "bytes":
            path.write_bytes(change(whole.encode()))
        else:
            content = change(json.loads(whole) if level == "values" else RECORD)
            if level == "sealed" and isinstance(content, dict):
                content["digest"] = content_digest(content)
            path.write_text(json.dumps(content))
        with refused_in_words():
            found = Record.from_json(path.read_bytes().decode("utf-8", "replace"))
            told = found.model_dump(mode="json")
            assert plain_values(told) == told
            assert Record.from_json(found.to_json()) == found, "written and read again it is the same"
        first, second = sorted(store.all(), key=lambda r: isinstance(r, Record) and r.key == "good")
        assert second == good, "the other record is as it was"
        if isinstance(first, BadRecord):
            one_line(first.reason)
            one_line(first.name)

    explore(examples, edits() if level == "bytes" else changes())(check)


def answers(rows: list) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


ROWS = [{"label": i % 2, "answer": "yes" if i % 3 else "no", "score": i / 10, "group": f"p{i // 2}"} for i in range(10)]


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values", "list"])
def test_score_files(tmp_path, examples, level):
    path = tmp_path / "a.jsonl"

    def check(change, kind, protocol):
        if level == "bytes":
            path.write_bytes(change(answers(ROWS)))
        else:
            rows = change(ROWS)
            listed = level == "list" or not isinstance(rows, list)
            path.write_bytes(json.dumps(rows).encode() if listed else answers(rows))
        with refused_in_words():
            found = read_answers(path, kind, protocol)
            content = path.read_bytes().decode("utf-8-sig")
            there = len(json.loads(content)) if content.lstrip().startswith("[") else sum(
                bool(line.strip()) for line in content.split("\n")
            )  # fmt: skip
            assert len(found.gold) == len(found.group) == there, "no row is lost in silence"
            score_answers(found, kind=kind, protocol=protocol, resamples=0)

    kinds = st.sampled_from(["binary", "generation"]), st.sampled_from(["strict", "published"])
    explore(examples, edits() if level == "bytes" else changes(), *kinds)(check)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    ids = np.array([f"s{i}" for i in range(12)])
    label = np.arange(12) % 2
    write_predictions(folder / "one", Predictions(ids, ids, ids, label, label * 0.5, {"sex": ids}))
    write_predictions(folder / "clients", Predictions(ids, ids, ids, label, np.stack([label * 0.5, label * 0.3])))
    words = [None if i % 5 == 0 else int(i % 2) for i in range(12)]
    write_text_predictions(
        folder / "text", TextPredictions(ids, ids, ids, list(map(int, label)), ids, words, label * 0.5)
    )  # fmt: skip
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("level", ["bytes", "values"])
def test_predictions(tmp_path, stored, examples, level):
    from fedmeki_bench.evaluation.estimates import value_of
    from fedmeki_bench.evaluation.metrics import BUILT_IN

    path = tmp_path / "p.parquet"
    content = {name: file.read_bytes() for name, file in stored.items()}
    tables = {name: pq.read_table(file).to_pydict() for name, file in stored.items()}

    def check(name, change):
        if level == "bytes":
            path.write_bytes(change(content[name]))
        else:
            try:
                pq.write_table(pa.table(change(tables[name])), path)
            except Exception:
                return  # what no Parquet file can hold
        read = read_text_predictions if name == "text" else read_predictions
        with refused_in_words():
            found = read(path)
            assert len(found.sample_id) == len(found.group_id) == len(found.site)
            value_of(found, BUILT_IN["auroc"])
            value_of(found, BUILT_IN["f1"])

    explore(examples, st.sampled_from(sorted(content)), edits() if level == "bytes" else changes())(check)
