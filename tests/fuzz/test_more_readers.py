"""As ``test_readers``: the table of NIH ChestX-ray14, files of MedMNIST, a UMLS, and texts that name concepts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import strategies as st

from fedmeki_bench.builtin.data_prep.medmnist import BreastMnist, MedMnistOptions
from fedmeki_bench.builtin.data_prep.nih14 import Nih14, Nih14Options
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.lexicon.lexicons import Umls, open_lexicon
from fedmeki_bench.lexicon.mentions import mentions
from tests.lexicon.test_mentions import rrf

from .mutation import CASES, edits, explore, refused_in_words


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("name", ["Data_Entry_2017_v2020.csv", "test_list.txt"])
def test_tables_of_nih14(tmp_path, examples, name):
    Nih14().synthesize(tmp_path, size=12, seed=0)
    whole = (tmp_path / name).read_bytes()

    def check(change):
        (tmp_path / name).write_bytes(change(whole))
        drops = Drops()
        with refused_in_words():
            table = Nih14().table(tmp_path, Nih14Options(), drops)
            assert drops.read == len(table) + drops.total
            assert table["sample_id"].is_unique
            assert table["age"].dropna().between(0, 110).all()

    explore(examples, edits())(check)


@pytest.mark.parametrize("examples", CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_medmnist(tmp_path, examples, packed):
    BreastMnist().synthesize(tmp_path, size=12, seed=0)
    path = tmp_path / "breastmnist.npz"
    with np.load(path) as file:
        buffer = io.BytesIO()
        (np.savez_compressed if packed else np.savez)(buffer, **file)
    whole = buffer.getvalue()

    def check(change, from_the_end):
        data = change(whole[::-1])[::-1] if from_the_end else change(whole)
        path.write_bytes(data)
        drops, options = Drops(), MedMnistOptions(image_size=16)
        with refused_in_words():
            table = BreastMnist().table(tmp_path, options, drops)
            assert drops.read == len(table) + drops.total
            found = BreastMnist().decode(tmp_path, table["source"].iloc[-1], options)
            assert found.arrays["image"].shape == (1, 16, 16)

    explore(examples, edits(), st.booleans())(check)


@pytest.mark.parametrize("examples", CASES)
def test_a_umls(tmp_path, monkeypatch, examples):
    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    path = rrf(tmp_path / "MRCONSO.RRF")
    whole = path.read_bytes()

    def check(change):
        path.write_bytes(change(whole))
        with refused_in_words():
            for mention in mentions("No pleural effusion, enlarged heart", Umls(path)):
                assert mention.concept.startswith("C")

    explore(examples, edits())(check)


@pytest.mark.parametrize("examples", CASES)
def test_any_text_names_concepts_or_none(examples):
    words = st.sampled_from(
        ["no", "not", "seen", "effusion", ",", ".", "and", "but", "is", "heart", "enlarged", "clear"]
    )
    texts = st.text(max_size=300) | st.lists(words, max_size=60).map(" ".join)

    def check(text):
        known = {term.concept for term in open_lexicon().terms.values()}
        assert {mention.concept for mention in mentions(text, open_lexicon())} <= known

    explore(examples, texts)(check)
