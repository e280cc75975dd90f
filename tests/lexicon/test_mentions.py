"""Concepts named in texts: by hand, with what is denied; the open lexicon is well made; a UMLS is read as released."""

from __future__ import annotations

import time
from collections import Counter
from hashlib import sha256

import pytest

from fedmeki_bench import api
from fedmeki_bench.errors import InputError
from fedmeki_bench.lexicon import concepts, lexicons, mentions
from fedmeki_bench.lexicon.lexicons import Umls, open_lexicon
from fedmeki_bench.lexicon.words import compared, sentences, singular


def found(text: str) -> set[str]:
    """Concepts, a denied one with a minus."""
    return {f"-{m.concept}" if m.denied else m.concept for m in mentions(text, open_lexicon())}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # names: the longest, synonyms, plurals, hyphens, articles and forms of "be"
        ("Pleural effusion.", {"pleural effusion"}),
        ("bilateral pleural effusions and opacities", {"pleural effusion", "lung opacity"}),
        ("Ground-glass opacity in the left lung", {"ground glass opacity", "left lung"}),
        ("enlargement of the heart", {"cardiomegaly"}),
        ("The heart is enlarged", {"cardiomegaly"}),
        ("an X-ray of the chest", {"x ray", "chest"}),
        ("CT angiography", {"angiography"}),
        ("pleural, effusion", {"pleural effusion"}),  # "effusion" alone; nothing is named across a comma
        ("nothing of note", set()),
        ("", set()),
        # denied before
        ("No pleural effusion, pneumothorax, or focal consolidation is seen.",
         {"-pleural effusion", "-pneumothorax", "-consolidation"}),
        ("without evidence of fracture or mass", {"-fracture", "-mass"}),
        ("neither edema nor pneumonia", {"-edema", "-pneumonia"}),
        ("free of consolidation; negative for fracture", {"-consolidation", "-fracture"}),
        ("clear consolidation", {"consolidation"}),
        # ... and where it ends
        ("No effusion, the heart is enlarged", {"-pleural effusion", "cardiomegaly"}),
        ("No effusion is seen and there is a fracture", {"-pleural effusion", "fracture"}),
        ("No consolidation but an effusion", {"-consolidation", "pleural effusion"}),
        ("No consolidation. Effusion.", {"-consolidation", "pleural effusion"}),
        ("No, there is an effusion", {"pleural effusion"}),
        ("a 2.5 cm mass without calcification", {"mass", "-calcification"}),
        # denied behind
        ("Effusion and pneumothorax are not seen", {"-pleural effusion", "-pneumothorax"}),
        ("The heart is enlarged, effusion not seen", {"cardiomegaly", "-pleural effusion"}),
        ("pneumothorax has resolved", {"-pneumothorax"}),
        ("effusion is no longer visible", {"-pleural effusion"}),
        ("a mass was ruled out", {"-mass"}),
        # not denied
        ("pneumonia cannot be excluded", {"pneumonia"}),
        ("pneumonia is not ruled out", {"pneumonia"}),
        ("No significant interval change in the effusion", {"pleural effusion"}),
        ("not only edema", {"edema"}),
        # organs and modalities are never denied
        ("no effusion in the right lung on CT", {"-pleural effusion", "right lung", "computed tomography"}),
        # phrases that say that something is absent
        ("Heart size is normal.", {"-cardiomegaly"}),
        ("The heart is not enlarged", {"-cardiomegaly"}),
        ("The lungs are clear", {"-lung opacity"}),
        # both, in different places of a text
        ("No effusion on the left. Effusion on the right.", {"-pleural effusion", "pleural effusion"}),
    ],
)  # fmt: skip
def test_by_hand(text, wanted):
    assert found(text) == wanted


def test_for_authors_of_plug_ins(monkeypatch, tmp_path):
    report = "Small effusion at the lung base. No fracture. ET tube in place."
    assert api.concepts is concepts
    assert concepts(report) == {"pleural effusion", "lung base", "endotracheal tube"}
    assert concepts(report, denied=True) == {"fracture"}
    assert concepts(report, sort="finding") == {"pleural effusion"}
    monkeypatch.setenv("FEDMEKI_UMLS", str(tmp_path / "none"))  # labels depend on no installation
    assert concepts(report, sort="device") == {"endotracheal tube"}


def test_words():
    assert [singular(w) for w in ("opacities", "masses", "lungs", "pelvis", "hilus", "boxes", "gas", "ties")] == [
        "opacity", "mass", "lung", "pelvis", "hilus", "box", "gas", "tie",
    ]  # fmt: skip
    assert compared("Effusion of the Pleura's space") == ("effusion", "pleura", "space")
    assert sentences("A 2.5 cm mass, in the lung.\nIs it?") == [
        ["2", "5", "cm", "mass", ",", "in", "lung"],
        ["is", "it"],
    ]


def test_the_open_lexicon_is_well_made():
    terms = open_lexicon().terms  # a name of two concepts would have raised
    sorts = Counter({term.concept: term.sort for term in terms.values()}.values())
    assert set(sorts) == {"finding", "device", "organ", "modality"}
    assert sorts["finding"] >= 150
    assert sum(sorts.values()) >= 300
    affirmed = {term.concept for term in terms.values() if not term.absent}
    assert all(term.concept in affirmed for term in terms.values())
    # Each name is found as a text of its own. A lexicon with a name within whose words another concept's denial lies
    # would fail here.
    for words, term in terms.items():
        assert (term.concept, term.absent) in set(mentions(" ".join(words), open_lexicon())), words


def test_another_lexicon_is_another_version():
    """Whoever edits the terms raises ``VERSION``, and then this digest."""
    terms = sorted((words, t.concept, t.sort, t.absent) for words, t in open_lexicon().terms.items())
    assert (lexicons.VERSION, sha256(repr(terms).encode()).hexdigest()[:16]) == (1, "85d7be8b6f902eb1")


def test_long_texts_of_denials_are_read_in_pieces():
    start = time.process_time()
    for text in ("no effusion absent and " * 3_000, "no " * 12_000):
        mentions(text, open_lexicon())
    assert time.process_time() - start < 5  # with one scope over all of them, a hundred times that


# ------------------------------------------------------------------------------------------------------------- UMLS

ROWS = [
    # concept, language, string, suppressed
    ("C0032227", "ENG", "Pleural effusion", "N"),
    ("C0032227", "ENG", "Effusions, Pleural", "N"),
    ("C0032227", "ENG", "Fluid in the pleural space", "N"),
    ("C0018800", "ENG", "Cardiomegaly", "N"),
    ("C0018800", "ENG", "Enlarged heart", "N"),
    ("C0018800", "GER", "Kardiomegalie", "N"),
    ("C0018800", "ENG", "Big heart", "O"),
    ("C0000010", "ENG", "Ambiguous name", "N"),
    ("C0000009", "ENG", "ambiguous names", "N"),
    ("C0000011", "ENG", "No", "N"),
    ("C0000012", "ENG", "the", "N"),
    ("C0000013", "ENG", "with", "N"),
    ("C0000014", "ENG", "one two three four five six seven eight nine words", "N"),
]


def rrf(path, rows=ROWS):
    lines = [
        f"{cui}|{language}|P|L0000039|PF|S0007564|N|A0016515||M0019694|D012711|MSH|PEN|D012711|{string}|0|{suppress}||"
        for cui, language, string, suppress in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_umls_is_read_as_released(tmp_path, own_cache):
    lexicon = Umls(rrf(tmp_path / "MRCONSO.RRF"))
    assert len(lexicon) == 6
    text = "Pleural effusions without enlarged heart. Kardiomegalie, big heart, ambiguous name, with the no"
    assert mentions(text, lexicon) == {("C0032227", False), ("C0018800", True), ("C0000009", False)}
    (kept,) = (own_cache / "umls").iterdir()
    again = Umls(tmp_path / "MRCONSO.RRF")
    assert mentions(text, again) == mentions(text, lexicon)
    kept.write_bytes(b"damaged")
    assert len(Umls(tmp_path / "MRCONSO.RRF")) == 6
    rrf(tmp_path / "MRCONSO.RRF", ROWS[:3])  # another file is another table
    assert len(Umls(tmp_path / "MRCONSO.RRF")) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "which is no file; expected is MRCONSO.RRF"),
        (b"", "no line holds an English name"),
        (b"sample_id,label\n1,0\n", "line 1: expected are 15 or more fields"),
        (b"C1|ENG" + b"|x" * 13 + b"\n", "line 1: expected are 15 or more"),
        ("\n".join([*["C0000001|GER|||||||||||||Wort|0|N||"] * 3]).encode(), "no line holds an English name"),
        (b"\xff\xfe" * 40, "cannot be read"),
    ],
)
def test_what_is_no_umls(tmp_path, own_cache, content, says):
    path = tmp_path / "file.rrf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        Umls(path)
    assert str(path) in str(error.value)
