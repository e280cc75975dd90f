"""``score`` on somebody else's answers of every kind: the numbers by hand, bad rows in one sentence."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

from fedmeki_bench.cli.main import main
from fedmeki_bench.cli.score import score_command


def scored(tmp_path, rows, *args):
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    done = CliRunner().invoke(score_command, [str(file), "--json", "--resamples", "50", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {name: one["value"] for name, one in json.loads(done.output)["metrics"].items()}


def refused(tmp_path, capsys, rows, *args):
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(SystemExit) as ended:
        main(["score", str(file), *args])
    return ended.value.code, capsys.readouterr().err


CLASSES = ("--kind", "multiclass", "--classes", "ct,mri,x-ray")


def test_classes_by_name_and_number(tmp_path):
    labels, said = ["ct", "mri", 2, "x-ray", "ct"], ["a CT.", "mri", "x-ray", "ct or mri", "x-ray"]
    found = scored(tmp_path, [{"label": a, "answer": b} for a, b in zip(labels, said, strict=True)], *CLASSES)
    assert found["top1"] == pytest.approx(3 / 5)
    assert found["unparsed"] == pytest.approx(1 / 5)
    assert "auroc_macro" not in found
    rows = [{"label": 0, "score": [0.5, 0.4, 0.1]}, {"label": 1, "score": {"ct": 0.2, "mri": 0.5, "x-ray": 0.3}},
            {"label": 2, "score": [0.4, 0.3, 0.3]}]  # fmt: skip
    found = scored(tmp_path, rows, *CLASSES)
    wanted = sk.roc_auc_score([0, 1, 2], [[0.5, 0.4, 0.1], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]], multi_class="ovr")
    assert found["auroc_macro"] == pytest.approx(wanted)


def test_findings_as_a_list_or_with_what_is_not_annotated(tmp_path):
    rows = [
        {"label": ["edema"], "answer": "edema"},
        {"label": {"edema": 0, "mass": None}, "answer": "none"},
        {"label": [], "answer": "mass"},
        {"label": ["edema", "mass"], "answer": "edema, mass"},
    ]
    found = scored(tmp_path, rows, "--kind", "multilabel", "--classes", "edema,mass")
    assert found["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 1))


def test_numbers(tmp_path):
    rows = [{"label": 50, "answer": "52 years"}, {"label": 60.5, "answer": "60"}, {"label": 40, "answer": None}]
    found = scored(tmp_path, rows, "--kind", "regression")
    assert found["mae"] == pytest.approx((2 + 0.5 + 20.5) / 3)  # unparsed: the end of the labels' range, 60.5
    assert found["unparsed"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("rows", "args", "sentence"),
    [
        ([{"label": "pet", "answer": "ct"}], CLASSES, "line 1: 'pet' is none of --classes; did you mean 'ct'|known"),
        ([{"label": 3, "answer": "ct"}], CLASSES, "'label' is 3, not the number of one of the 3 classes"),
        ([{"label": 0, "score": [0.1, 0.9]}], CLASSES, "'score' must be 3 numbers, one per class"),
        ([{"label": 0, "score": [0.1, 0.9, None]}], CLASSES, "holds what is no finite number"),
        ([{"label": 0, "answer": 5}], CLASSES, "'answer' must be text or null"),
        ([{"label": "old", "answer": "5"}], ("--kind", "regression"), "'label' is \"old\", not a finite number"),
        ([{"label": 1, "score": [1]}], ("--kind", "regression"), "'score' must be a number"),
        ([{"label": 1, "score": 1}], ("--kind", "multiclass"), "answers of the kind multiclass need --classes"),
        ([{"label": 1, "score": 1}], ("--kind", "regression", "--classes", "a"), "have no classes"),
        ([{"label": 1, "score": 1}], ("--kind", "ordinal", "--classes", "a,b"), "needs 3 or more different names"),
        ([{"label": 1, "score": 1}], ("--kind", "regresion"), "unknown kind 'regresion'; did you mean 'regression'"),
        (
            [{"label": 1, "answer": "1"}],
            ("--kind", "regression", "--protocol", "published"),
            "published protocol reads",
        ),
        ([{"label": 1, "answer": "1"}], ("--kind", "regression", "--metrics", "maee"), "did you mean 'mae'"),
        ([], ("--kind", "regression"), "there are no rows"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, capsys, rows, args, sentence):
    code, said = refused(tmp_path, capsys, rows, *args)
    assert code in (2, 3)
    assert any(part in said for part in sentence.split("|")), said
    assert said.count("\n") == 1
