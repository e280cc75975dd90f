"""The two protocols. The published one is computed a second time here, from its description alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.protocols import Answers, metrics_of, score_answers

PAIRS = [
    ("yes", "Yes."),
    ("no", "No"),
    ("yes", "Yes, nodules are not normal"),  # one yes, three no: predicted negative
    ("no", "no no yes yes"),  # equally many: predicted positive
    ("no", "yesyes no"),
    ("yes", "unclear"),  # neither: gold negative, predicted positive
    ("no", ""),  # likewise
    ("maybe", "yes"),  # the gold text has neither: likewise
    ("Answer: NO", "I do not know"),  # "not", "know": two no
    ("yes", None),
    ("yes, no doubt, yes", "YES"),
]


def published(pairs):
    """Accuracy, precision, recall, F1 and MCC from counts, as the description has it."""
    table = Counter()
    for gold, answer in pairs:
        sides = []
        for text in (gold, answer or ""):
            yes, no = len(re.findall("yes", text.lower())), len(re.findall("no", text.lower()))
            sides.append(None if yes + no == 0 else yes >= no)
        table[(False, True) if None in sides else tuple(sides)] += 1
    tp, fp, fn, tn = (table[key] for key in ((True, True), (False, True), (True, False), (False, False)))
    scale = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "accuracy": (tp + tn) / len(pairs),
        "precision": tp / (tp + fp) if tp + fp else 0,
        "recall": tp / (tp + fn) if tp + fn else 0,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0,
        "mcc": (tp * tn - fp * fn) / scale if scale else 0,
    }


def scored(pairs, kind="binary", protocol="published", **options):
    gold, answers = [g for g, _ in pairs], [a for _, a in pairs]
    options = {"resamples": 0, **options}
    return score_answers(Answers(gold, answers, None, range(len(pairs))), kind=kind, protocol=protocol, **options)


def test_published_classification_by_hand():
    # (label, prediction): 11 00 10 01 01 01 01 01 00 01 11, so tp 2, fn 1, tn 2, fp 6.
    found = {name: e.value for name, e in scored(PAIRS).items()}
    assert found == pytest.approx(
        {"accuracy": 4 / 11, "precision": 2 / 8, "recall": 2 / 3, "f1": 4 / 11, "mcc": found["mcc"], "unparsed": 3 / 11}
    )


def test_published_classification_from_its_description():
    rng = np.random.default_rng(0)
    vocabulary = ["yes", "no", "Yes", "not", "know", "eyes", "lung", "nodule", "", "unclear."]
    for size in (1, 2, 5, 50):
        for _ in range(30):
            words = [" ".join(rng.choice(vocabulary, rng.integers(0, 4))) for _ in range(2 * size)]
            pairs = list(zip(words[:size], words[size:], strict=True))
            found = {name: e.value for name, e in scored(pairs).items() if name != "unparsed"}
            assert found == pytest.approx(published(pairs), abs=1e-9)
    assert {n: e.value for n, e in scored(PAIRS).items() if n != "unparsed"} == pytest.approx(
        published(PAIRS), abs=1e-9
    )


FREE = [
    ("Question: what? Answer: Left lung", "Answer: MRI Answer:  left LUNG "),
    ("the heart is enlarged", "heart enlarged enlarged"),
    ("pleural effusions", "pleural effusion."),
    ("mri", ""),
    ("ct", "The image. Answer: "),
    ("right upper lobe", None),
    ("cardiomegaly", "no abnormality"),
]


def cleaned(text):
    return (text or "").split("Answer:")[-1].strip().lower()


def test_published_generation_from_its_description():
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    from fedmeki_bench.evaluation import text_metrics

    stem = PorterStemmer().stem
    bleu, rouge, meteor = [], [], []
    for gold, predicted in ((cleaned(g), cleaned(p)) for g, p in FREE):
        if not predicted:
            bleu.append(0)  # an empty prediction adds 0 to BLEU and ROUGE and is left out of METEOR's mean
            rouge.append(0)
            continue
        g, p = gold.split(), predicted.split()
        clipped = sum((Counter(g) & Counter(p)).values())
        bleu.append(clipped / len(p) * (1 if len(p) > len(g) else math.exp(1 - len(g) / len(p))))
        g, p = (
            [stem(w) if len(w) > 3 else w for w in re.sub("[^a-z0-9]+", " ", text).split()]
            for text in (gold, predicted)
        )
        shared = sum((Counter(g) & Counter(p)).values())
        rouge.append(2 * (shared / len(p)) * (shared / len(g)) / (shared / len(p) + shared / len(g)) if shared else 0)
        tokens = [NLTKWordTokenizer().tokenize(text) for text in (gold, predicted)]
        meteor.append(single_meteor_score(*tokens, wordnet=text_metrics._wordnet()))
    found = {name: e.value for name, e in scored(FREE, "generation").items()}
    assert found == pytest.approx(
        {
            "bleu1": np.mean(bleu),
            "rouge1": np.mean(rouge),
            "meteor": sum(meteor) / 4,
            "unparsed": 3 / 7,
        },
        abs=1e-9,
    )


def test_published_rouge_equals_rouge_score():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)
    wanted = [scorer.score(cleaned(g), cleaned(p))["rouge1"].fmeasure for g, p in FREE]
    assert scored(FREE, "generation", names=["rouge1"])["rouge1"].value == pytest.approx(np.mean(wanted), abs=1e-9)


def test_published_meteor_of_empty_predictions_alone():
    found = scored([("mri", ""), ("ct", None)], "generation")
    assert found["bleu1"].value == found["rouge1"].value == 0
    assert math.isnan(found["meteor"].value)
    assert found["meteor"].note == "undefined: every prediction is empty"


def test_published_undefined_is_zero_strict_says_so():
    pairs = [("no", "no"), ("no", "no")]
    assert scored(pairs)["precision"].value == scored(pairs)["mcc"].value == 0
    assert math.isnan(scored(pairs, protocol="strict")["precision"].value)


def test_strict_never_guesses():
    # right, unparsed (both words), unparsed (nothing), false alarm, right, unparsed (neither word)
    pairs = [
        ("yes", "Yes."), ("yes", "yes or no"), ("no", None), ("no", "Yes, nodules"), ("no", "no"), ("yes", "not so"),
    ]  # fmt: skip
    found = {name: e.value for name, e in scored(pairs, protocol="strict").items()}
    assert found["unparsed"] == pytest.approx(3 / 6)
    assert found["accuracy"] == pytest.approx(2 / 6)
    assert found["recall"] == pytest.approx(1 / 3)  # an unparsed answer to a yes is a miss
    assert found["precision"] == pytest.approx(1 / 3)  # ... and to a no a false alarm
    assert found["specificity"] == pytest.approx(1 / 3)
    assert "auroc" not in found
    nothing = scored([("yes", ""), ("no", "?")], protocol="strict")
    assert nothing["accuracy"].value == nothing["balanced_accuracy"].value == 0


def test_strict_generation_keeps_the_whole_answer():
    found = scored([("mri", " MRI. "), ("ct", "Answer: ct"), ("x ray", " ")], "generation", "strict")
    assert list(found) == list(metrics_of("generation", "strict"))
    assert found["exact_match"].value == pytest.approx(1 / 3)
    assert found["unparsed"].value == pytest.approx(1 / 3)


def test_probabilities_and_answers_together():
    answers = Answers(["yes", "no", "yes"], ["no", "no", "yes"], [0.9, 0.2, 0.4], range(3))
    found = score_answers(answers, kind="binary", resamples=0)
    assert found["auroc"].value == 1  # of the probabilities
    assert found["accuracy"].value == pytest.approx(2 / 3)  # of the words
    only = score_answers(Answers(answers.gold, None, answers.score, range(3)), kind="binary", resamples=0)
    assert "unparsed" not in only
    assert only["recall"].value == pytest.approx(1 / 2)
    assert "brier" not in score_answers(answers, kind="binary", protocol="published", resamples=0)


def test_groups_widen_the_interval_and_seeds_repeat():
    pairs = PAIRS * 20
    gold, said = [g for g, _ in pairs], [a for _, a in pairs]
    single = score_answers(Answers(gold, said, None, range(220)), kind="binary", protocol="published")
    again = score_answers(Answers(gold, said, None, range(220)), kind="binary", protocol="published")
    assert single == again
    names = [str(i // 20) for i in range(220)]
    rows = sorted(zip(gold, said, strict=True), key=str)
    grouped = score_answers(
        Answers([g for g, _ in rows], [a for _, a in rows], None, names), kind="binary", protocol="published"
    )
    one, other = single["accuracy"], grouped["accuracy"]
    assert one.value == pytest.approx(other.value)
    assert other.high - other.low > 2 * (one.high - one.low)


@pytest.mark.parametrize(
    ("answers", "options", "says"),
    [
        (Answers(["yes"], ["no"], None, [0]), {"names": ["acuracy"]}, "did you mean 'accuracy'"),
        (Answers(["yes"], ["no"], None, [0]), {"names": ["auroc"]}, "'auroc' needs a probability in every row"),
        (Answers(["yes"], None, [0.5], [0]), {"names": ["unparsed"]}, "needs an answer in words"),
        (Answers(["yes"], None, [0.5], [0]), {"protocol": "published"}, "only probabilities"),
    ],
)
def test_what_rows_do_not_allow(answers, options, says):
    with pytest.raises(InputError, match=says):
        score_answers(answers, kind="binary", **options)


def test_the_example_of_the_documentation():
    pairs = [
        ("yes", "Yes."), ("yes", "Yes, nodules are not small"), ("no", "The heart is normal"), ("yes", "unclear"),
        ("no", "yes or no"),
    ]  # fmt: skip
    names = ("accuracy", "precision", "recall", "unparsed")
    strict, as_published = scored(pairs, protocol="strict"), scored(pairs)
    assert [strict[n].value for n in names] == pytest.approx([2 / 5, 1 / 2, 2 / 3, 3 / 5])
    assert [as_published[n].value for n in names] == pytest.approx([2 / 5, 1 / 3, 1 / 2, 1 / 5])


def test_every_metric_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for kind in ("binary", "generation"):
        for name in metrics_of(kind, "strict"):
            assert f"\n`{name}`: " in text
