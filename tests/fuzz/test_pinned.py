"""What the search found, each with the input that broke it: one sentence instead of another error."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.builtin.data_prep.mimic3.release import Release
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.answer_files import read_answers
from fedmeki_bench.evaluation.predictions import Predictions, read_predictions, write_predictions
from fedmeki_bench.options import split_pairs
from fedmeki_bench.plain import plain_text

from .mutation import one_line


def refused(call, *args, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        call(*args)
    one_line(str(caught.value))


def test_a_bare_carriage_return_in_a_packed_header(tmp_path):
    (tmp_path / "CHARTEVENTS.csv.gz").write_bytes(gzip.compress(b"ICUSTAY_ID\r,ITEMID\n1,2\n"))
    refused(Release, tmp_path, {"CHARTEVENTS": ("itemid",)}, match="line 1: is no header of a table")


def test_predictions_with_bytes_that_are_no_text(tmp_path):
    path, ids, label = tmp_path / "p", np.array([f"sample-{i}" for i in range(12)]), np.arange(12) % 2
    import pyarrow.parquet as pq

    write_predictions(path, Predictions(ids, ids, ids, label, label * 0.5))
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False, write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"sample-1", b"\xff\xfe\xff\xfele-1"))
    refused(read_predictions, path, match="cannot read predictions")


@pytest.mark.parametrize("score", ["1" + "0" * 400, "1" * 5000, "1e999", "NaN", "-Infinity"])
def test_scores_that_are_no_probability(tmp_path, score):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"label": 1, "score": {score}}}\n')
    refused(read_answers, path, "binary", match="must be a probability|not valid JSON")
    path.write_text(f'[{{"label": 1, "score": {score}}}]')
    refused(read_answers, path, "binary", match="must be a probability|not valid JSON")


@pytest.mark.parametrize("value", ['!!int ""', '!!float ""', "!!timestamp soon", "!!bool perhaps"])
def test_yaml_tags_that_do_not_fit_their_value(tmp_path, value):
    refused(split_pairs, [f"rounds={value}"], match="can't be read")
    path = tmp_path / "b.yaml"
    path.write_text(f"name: {value}\n")
    refused(load_board, path, match="can't be read")


def test_escaped_control_characters_in_a_board(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text('name: a\nprofile: demo\nseeds: [0]\ntasks: [t]\nalgorithms: [a]\ntitle: "\\e]0;mine\\a"\n')
    refused(load_board, path, match="escaped control character")


@pytest.mark.parametrize("change", [{"files": {"../x": {"bytes": 1, "sha256": ""}}}, {"files": {"a": 3}}, {"rows": {}}])
def test_cards(cohorts, tmp_path, change):
    import shutil

    shutil.copytree(cohorts / "ecg_abnormal", tmp_path / "c")
    card = json.loads((tmp_path / "c" / "card.json").read_text()) | change
    if change == {"rows": {}}:
        (tmp_path / "c" / "card.json").write_text("[" * 100_000)
    else:
        (tmp_path / "c" / "card.json").write_text(json.dumps(card))
    refused(Cohort.open, tmp_path / "c", match="is damaged")


def test_every_error_is_one_line_without_control_characters():
    text = str(InputError("a\x1b[2J\r\nb\u202e"))
    assert text == "a\\u001b[2J b\\u202e" == plain_text(text)


def test_a_column_without_a_name_in_a_packed_table_of_mimic(tmp_path):
    from fedmeki_bench.builtin.data_prep.mimic3.release import Release

    (tmp_path / "CHARTEVENTS.csv").write_text('"ROW_ID","",ICUSTAY_ID,ITEMID\n1,2,3,4\n')
    needed = {"CHARTEVENTS": ("icustay_id", "itemid")}
    refused(lambda: Release(tmp_path, needed)["CHARTEVENTS"], match="column without a name, the 2. of its header")
