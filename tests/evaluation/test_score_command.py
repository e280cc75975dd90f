"""``fedmeki-bench score``: files in, tables and JSON out, one sentence for every malformed row."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fedmeki_bench.cli.score import score_command
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.answer_files import read_answers

ROWS = [
    {"label": 1, "answer": "Yes.", "group": "p1"},
    {"label": "no", "answer": "No, nothing", "group": "p1"},
    {"label": True, "answer": None, "group": 2},
]


def written(tmp_path, rows, name="answers.json"):
    path = tmp_path / name
    text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(r) + "\n\n" for r in rows)
    path.write_text(text, encoding="utf-8")
    return path


def called(*args):
    return CliRunner().invoke(score_command, [str(a) for a in args], catch_exceptions=False)


@pytest.mark.parametrize("name", ["answers.json", "answers.jsonl"])
def test_json_output(tmp_path, name):
    path = written(tmp_path, ROWS, name)
    done = called(path, "--kind", "binary", "--json")
    content = json.loads(done.output, parse_constant=pytest.fail)
    assert (content["n"], content["groups"], content["protocol"]) == (3, 2, "strict")
    assert content["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert content["metrics"]["unparsed"]["value"] == pytest.approx(1 / 3)
    assert content["metrics"]["unparsed"]["direction"] == "lower"
    assert content["metrics"]["accuracy"]["low"] <= 2 / 3 <= content["metrics"]["accuracy"]["high"]
    assert done.output == called(path, "--kind", "binary", "--json").output


def test_table_and_options(tmp_path):
    path = written(tmp_path, ROWS)
    lines = called(path, "--kind", "binary", "--metrics", "f1,accuracy").output.splitlines()
    assert lines[0].split("\t") == ["metric", "value", "95 % interval", "better", "note"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["Accuracy", "F1"]
    off = json.loads(called(path, "--kind", "binary", "--resamples", 0, "--json").output)["metrics"]
    assert off["accuracy"] == {
        "title": "Accuracy", "direction": "higher", "value": pytest.approx(2 / 3), "low": None, "high": None,
        "note": "",
    }  # fmt: skip
    published = called(path, "--kind", "binary", "--protocol", "published", "--json")
    assert json.loads(published.output)["metrics"]["precision"]["value"] == pytest.approx(1 / 2)  # the null answer


def test_generation_and_probabilities(tmp_path):
    path = written(tmp_path, [{"label": "left lung", "answer": "the left lung"}, {"label": "MRI", "answer": ""}])
    found = json.loads(called(path, "--kind", "generation", "--json").output)["metrics"]
    assert found["exact_match"]["value"] == found["unparsed"]["value"] == 0.5
    assert found["closed_accuracy"]["value"] is None
    assert found["closed_accuracy"]["note"].startswith("undefined")
    path = written(tmp_path, [{"label": 0, "score": 0.1}, {"label": 1, "score": 1}])
    found = json.loads(called(path, "--kind", "binary", "--json").output)["metrics"]
    assert found["auroc"]["value"] == 1
    assert found["brier"]["value"] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("rows", "kind", "says"),
    [
        ([], "binary", "there are no rows"),
        ([{"label": 1, "answer": "yes"}, 5], "binary", "row 2: a row is a JSON object, not a number"),
        ([{"answer": "yes"}], "binary", "row 1: has no 'label'"),
        ([{"label": 1}], "binary", "row 1: has neither 'answer' nor 'score'"),
        ([{"label": 2, "answer": "yes"}], "binary", "row 1: 'label' must be 0, 1, .* not 2"),
        ([{"label": "maybe", "answer": "yes"}], "binary", "'label' must be .* not \"maybe\""),
        ([{"label": 1, "answer": 3}], "binary", "row 1: 'answer' must be text or null, not a number"),
        ([{"label": 1, "score": 1.2}], "binary", "row 1: 'score' must be a probability"),
        ([{"label": 1, "score": float("nan")}], "binary", "row 1: 'score' must be a probability"),
        ([{"label": 1, "score": True}], "binary", "row 1: 'score' must be a probability"),
        (
            [{"label": 1, "answer": "yes"}, {"label": 1, "answer": "no", "group": "p"}],
            "binary",
            "row 2: this row has 'group' and the first row has not",
        ),
        (
            [{"label": 1, "answer": "yes"}, {"label": 1, "score": 0.5}],
            "binary",
            "row 2: the first row has 'answer' and this row has not",
        ),
        (
            [{"label": 1, "answer": "y", "group": []}],
            "binary",
            "'group' must be text or a whole number, not a l",
        ),
        ([{"label": " ", "answer": "mri"}], "generation", "row 1: 'label' must be the gold answer .* not empty text"),
        ([{"label": 1, "answer": "mri"}], "generation", "row 1: 'label' must be the gold answer .* not a number"),
        ([{"label": "mri", "score": 0.5}], "generation", "row 1: generation is scored on 'answer'"),
    ],
)
def test_malformed_rows(tmp_path, rows, kind, says):
    path = written(tmp_path, rows)
    with pytest.raises(InputError, match=says) as error:
        read_answers(path, kind)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"label": 1, "answer": "yes"}\n{"label": 1,\n', r"line 2: not valid JSON: .*one JSON object per line"),
        (b'[{"label": 1}', "x.json: not valid JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "there are no rows"),
    ],
)
def test_malformed_files(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=says):
        read_answers(path, "binary")
    with pytest.raises(InputError, match="cannot be read"):
        read_answers(tmp_path / "none.json", "binary")


def test_byte_order_mark_and_separators_inside_text(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('\ufeff{"label": "a\u2028b", "answer": "c"}\r\n{"label": "d", "answer": "e"}', encoding="utf-8")
    assert read_answers(path, "generation").gold == ["a\u2028b", "d"]


def test_the_published_protocol_takes_any_text_as_label(tmp_path):
    path = written(tmp_path, [{"label": "The answer is yes", "answer": "yes"}, {"label": "maybe", "answer": "yes"}])
    assert read_answers(path, "binary", "published").gold == ["The answer is yes", "maybe"]


def test_no_torch(tmp_path):
    draw = random.Random(0)
    word = ["yes", "no", "unclear"]
    kinds = {
        "binary": lambda: {"label": draw.choice(word[:2]), "answer": f"{draw.choice(word)} {draw.random()}"},
        "generation": lambda: {"label": f"left lung {draw.randrange(50)}", "answer": f"the lung {draw.randrange(50)}"},
    }
    code = (
        "import sys\nfrom fedmeki_bench.cli.score import score_command\n"
        "score_command(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    for kind, row in kinds.items():
        path = written(tmp_path, [row() for _ in range(20_000)], f"{kind}.jsonl")
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), "--kind", kind], capture_output=True, text=True, check=False,
            timeout=60, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
