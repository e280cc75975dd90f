"""Shared concepts by hand; BERTScore against a computation of its own, token by token, with a random tiny BERT."""

from __future__ import annotations

import importlib
import json
import math
import random

import pytest
from click.testing import CliRunner

from fedmeki_bench.cli.score import score_command
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation import bertscore, clinical_text
from fedmeki_bench.evaluation.bertscore import Named, pair_score
from fedmeki_bench.evaluation.intervals import estimate_text
from fedmeki_bench.evaluation.metric_spec import MetricSpec
from fedmeki_bench.lexicon.lexicons import VERSION
from tests.lexicon.test_mentions import rrf

UMLS = ("umls_precision", "umls_recall", "umls_f1")
WORDS = [
    "no", "pleural", "effusion", "the", "heart", "is", "enlarged", "lung", "opacity", "left", "right", "small", "in",
    "and", "seen", "##s", "mass", ".", ",", "un", "##known",
]  # fmt: skip
ENVIRONMENT = ("FEDMEKI_UMLS", bertscore.VARIABLE, bertscore.LAYER_VARIABLE)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch, tmp_path):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))


def values(gold, predicted, names=UMLS):
    return [getattr(clinical_text, name)(gold, predicted) for name in names]


@pytest.mark.parametrize(
    ("gold", "predicted", "wanted"),
    [
        ("Cardiomegaly. No pleural effusion.", "The heart is enlarged without effusion", (1, 1, 1)),
        # a denied concept is another than the affirmed one
        ("No pleural effusion", "pleural effusion", (0, 0, 0)),
        ("Effusion and edema", "Effusion", (1, 1 / 2, 2 / 3)),
        ("Effusion", "Effusion, edema, fracture and nodule", (1 / 4, 1, 2 / 5)),
        ("Effusion", "nothing to say", (0, 0, 0)),
        ("Effusion", None, (0, 0, 0)),
    ],
)
def test_shared_concepts_by_hand(gold, predicted, wanted):
    assert values(gold, predicted) == pytest.approx(wanted)


def test_a_gold_answer_without_a_concept_does_not_count():
    assert all(map(math.isnan, values("yes", "effusion")))
    assert all(map(math.isnan, values("yes", None)))
    metric = [clinical_text.UMLS_F1]
    found = estimate_text(["yes", "effusion"], ["yes", "effusion"], [0, 1], metric, seed=0)["umls_f1"]
    assert found.value == 1
    none = estimate_text(["yes"], ["yes"], [0], metric, seed=0)["umls_f1"]
    assert math.isnan(none.value)
    assert none.note == "undefined: no gold answer names a concept of the lexicon"


def test_groups_give_an_interval_and_the_note_names_the_lexicon():
    draw = random.Random(0)
    gold = [draw.choice(["effusion", "edema", "no fracture"]) for _ in range(60)]
    said = [draw.choice(["effusion", "edema", "fracture", "no fracture and edema"]) for _ in gold]
    specs = [getattr(clinical_text, name.upper()) for name in UMLS]
    found = estimate_text(gold, said, [k // 3 for k in range(60)], specs, seed=0)
    for name, one in found.items():
        assert one.low < one.value < one.high, name
        assert one.note == f"open lexicon {VERSION}, no UMLS"
    assert specs[0].title == "UMLS precision (open lexicon)"


@pytest.fixture
def read_anew(monkeypatch):
    """The module as it is when it is imported with the environment of the test; as before afterwards."""
    yield lambda: importlib.reload(clinical_text)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    importlib.reload(clinical_text)


def test_a_umls_takes_the_place_of_the_open_lexicon(monkeypatch, tmp_path, read_anew):
    assert values("Kardiomegalie and enlarged heart", "cardiomegaly") == [1, 1, 1]
    monkeypatch.setenv("FEDMEKI_UMLS", str(rrf(tmp_path / "MRCONSO.RRF")))
    assert values("pleural effusions with edema", "fluid in pleural space") == [1, 1, 1]  # it knows no edema
    anew = read_anew()
    assert anew.UMLS_F1.title == "UMLS F1"
    assert anew.UMLS_F1.note == f"UMLS: MRCONSO.RRF ({(tmp_path / 'MRCONSO.RRF').stat().st_size} bytes)"
    assert anew.UMLS_F1.version == 1000 + VERSION
    monkeypatch.setenv("FEDMEKI_UMLS", str(tmp_path / "none.rrf"))
    with pytest.raises(InputError, match=r"FEDMEKI_UMLS names .*none\.rrf, which is no file"):
        values("edema", "edema")
    read_anew()  # a metric that could not be listed would be no message


# -------------------------------------------------------------------------------------------------------- BERTScore


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    found = tmp_path_factory.mktemp("models") / "tiny-bert"
    vocabulary = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=24,
    ).save_pretrained(found)  # fmt: skip
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=24,
        )
    ).save_pretrained(found)  # fmt: skip
    return found


def by_loops(folder, layer, gold, predicted):
    """Precision, recall and F1 as the paper defines them, a cosine at a time, from transformers alone."""
    import numpy as np
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    assert tokenizer.tokenize("Lungs unknown") == ["lung", "##s", "un", "##known"]

    def embedded(text):
        ids = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        states = model(**ids, output_hidden_states=True).hidden_states[layer][0].detach().numpy().astype(float)
        return [row / np.sqrt((row**2).sum()) for row in states]

    def best(ones, others):
        return [max(float(one @ other) for other in others) for one in ones[1:-1]]  # [CLS] and [SEP] do not count

    wanted, said = embedded(gold), embedded(predicted)
    precision, recall = np.mean(best(said, wanted)), np.mean(best(wanted, said))
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [1, 3])
def test_bertscore_is_the_papers(folder, layer):
    draw = random.Random(layer)
    for gold_length, length in ((1, 1), (3, 9), (12, 2), (40, 30)):  # the last are cut
        gold, said = (" ".join(draw.choices([*WORDS[:12], "zzz"], k=k)) for k in (gold_length, length))
        found = pair_score(Named(folder, layer), gold, said)
        wanted = by_loops(folder, layer, gold, said)
        assert (found.precision, found.recall, found.f1) == pytest.approx(wanted, abs=1e-5)
        assert wanted[2] < 0.99  # different texts differ
    same = pair_score(Named(folder, layer), "no effusion seen", "no effusion seen")
    assert (same.precision, same.recall, same.f1) == pytest.approx((1, 1, 1), abs=1e-6)
    assert pair_score(Named(folder), "", "effusion").f1 == pair_score(Named(folder), "effusion", " ").f1 == 0


def test_bertscore_equals_the_package(folder):
    scorer = pytest.importorskip("bert_score", reason="pip install bert-score to compare with it").BERTScorer(
        model_type=str(folder), num_layers=2, idf=False, device="cpu"
    )
    draw = random.Random(0)
    gold, said = ([" ".join(draw.choices(WORDS[:12], k=draw.randint(1, 20))) for _ in range(20)] for _ in range(2))
    for pair in zip(gold, said, *scorer.score(said, gold), strict=True):
        found = pair_score(Named(folder, 2), *pair[:2])
        assert (found.precision, found.recall, found.f1) == pytest.approx([float(x) for x in pair[2:]], abs=1e-5)


def test_without_a_model_bertscore_is_undefined_and_never_0():
    assert math.isnan(clinical_text.bertscore("a", "a"))
    found = estimate_text(["a", "b"], ["a", None], [0, 1], [clinical_text.BERTSCORE], seed=0)["bertscore"]
    assert math.isnan(found.value)
    assert found.note == "undefined: no model: FEDMEKI_BERTSCORE names none"


def test_with_a_model_the_note_names_it(folder, monkeypatch, read_anew):
    monkeypatch.setenv(bertscore.VARIABLE, str(folder))
    assert clinical_text.bertscore("no effusion", None) == 0
    anew: MetricSpec = read_anew().BERTSCORE
    gold = ["no effusion", "lung opacity", "heart enlarged"]
    found = estimate_text(gold, ["no effusion", "opacity seen", None], [0, 1, 2], [anew], seed=0)["bertscore"]
    assert 1 / 3 < found.value < 2 / 3
    assert found.low < found.value < found.high
    assert found.note == "model tiny-bert, last layer"
    monkeypatch.setenv(bertscore.LAYER_VARIABLE, "2")
    assert read_anew().BERTSCORE.note == "model tiny-bert, layer 2"
    assert (
        clinical_text.bertscore("no effusion", "lung opacity")
        == pair_score(Named(folder, 2), "no effusion", "lung opacity").f1
    )


@pytest.mark.parametrize(
    ("layer", "damage", "says"),
    [
        ("4", None, "FEDMEKI_BERTSCORE_LAYER is 4, and the model in .* has 3 layers"),
        ("last", None, "FEDMEKI_BERTSCORE_LAYER is 'last'; expected is the number of a layer"),
        ("", "config.json", "names .*, which holds no config.json"),
        ("", "model.safetensors", "can't be read"),
    ],
)
def test_bad_models(folder, tmp_path, monkeypatch, layer, damage, says):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        if file.name != damage:
            (copy / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv(bertscore.VARIABLE, str(copy))
    monkeypatch.setenv(bertscore.LAYER_VARIABLE, layer)
    with pytest.raises(InputError, match=says):
        clinical_text.bertscore("no effusion", "effusion")


def test_score_takes_them_by_name(tmp_path):
    rows = [
        {"label": "No effusion.", "answer": "there is no pleural effusion", "group": 1},
        {"label": "Cardiomegaly", "answer": None, "group": 2},
    ]
    path = tmp_path / "reports.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    names = "umls_f1,bertscore,bleu4,rougeL"
    done = CliRunner().invoke(score_command, [str(path), "--kind", "generation", "--metrics", names, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["metrics"]
    assert set(found) == set(names.split(","))
    assert found["umls_f1"]["value"] == 0.5
    assert (found["bertscore"]["value"], found["bertscore"]["note"][:20]) == (None, "undefined: no model:")
