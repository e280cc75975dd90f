"""The plain reports and questions that ``tiny`` is pre-trained on, generated from this project's own words.

A report is a row of words: what is found, called by one of its several names, among filler words. Questions about it
can be answered from those words and from what the names mean: whether a finding is there (asked by any of its names,
in several phrasings), which of some findings are there (a list with yes or no to each), and of which class the report
says it is. Names mean
what :mod:`fedmeki_bench.signs` says, so the model learns how the findings of the stand-ins are related, and no other
medicine. A report stands where soft tokens stand in an injection, directly before the question.

A question ends in the name that is asked for: the last token then carries what is to be looked up, and one attention
hop finds it (docs/foundation.md has what other forms cost). Passages whose report's hash says so are held out;
training never sees them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np

from fedmeki_bench import seeds
from fedmeki_bench.signs import FINDINGS, SIGNS, Finding

HELD_OUT_SHARE = 8
"""One report in so many is held out."""

MOST = 16
"""The most findings in a report."""

LENGTHS = (2, 4, 8, 16, 24)
"""Words of a report; training begins with the two shortest and adds the next every ``_GROWS`` steps."""

OTHERS: tuple[tuple[str, ...], ...] = (
    ("nodule", "tumor"), ("cavity", "abscess"), ("band", "collapse"), ("cross", "fracture"), ("edema", "fluid"),
    ("fever", "heat"), ("rash", "redness"), ("cough", "wheeze"), ("bleeding", "hemorrhage"), ("pain", "ache"),
    ("swelling", "lump"), ("scar", "fibrosis"), ("stone", "calculus"), ("clot", "thrombus"), ("jaundice", "yellowing"),
    ("seizure", "convulsion"), ("fatigue", "weakness"), ("itch", "pruritus"), ("burn", "scald"), ("cyst", "vesicle"),
    ("hernia", "rupture"), ("ulcer", "sore"), ("anemia", "pallor"), ("tremor", "shaking"),
)  # fmt: skip
"""Further things with two names each, which no stand-in of a release shows; the board ``conflict`` draws four."""

GRADES = (("mild", "moderate", "severe"), ("acute", "chronic"), ("radiograph", "tomogram", "ultrasound"))
"""Classes of which a report names one."""

FILLERS = ("clear", "plain", "nothing", "empty", "usual", "normal", "quiet", "even")

PREFACES = (
    "Above is a frontal chest radiograph.", "Above is a chest radiograph.", "Above is a radiological picture.",
    "Above is a resting electrocardiogram: twelve leads, ten seconds.",
    "Above is an intensive care stay, hour by hour: vital signs, laboratory values, oxygen and urine output.",
    "Above is a report.",
)  # fmt: skip
"""What stands above, in the manner of the tasks' prompts."""

PHRASINGS = (
    "Yes or no, is there {}", "Yes or no, is there a {}", "Yes or no, is there any {}", "Yes or no, are there {}",
    "Yes or no, are there signs of {}", "Yes or no, does it show {}", "Yes or no, will it end in {}",
    "Answer yes or no. Is there {}", "Reply in a few words. Is there {}",
)  # fmt: skip
QUALIFIERS = ("lung", "pleural", "cardiomediastinal", "ectopic", "new", "large", "small")
"""Words that may stand before the name and change nothing."""

LISTING = "Which of these are there: {}"
CLASSIFYING = "Which class is it of {}"

_COMPOUND_MENTION = 0.25
"""How often a sign is told by the name of a finding that it is only part of: "abnormality" for an early beat."""

_KINDS = {"presence": 0.8, "list": 0.1, "class": 0.1}
_PREFACED = 0.2
_OFFERED = 3
_QUESTIONS = 4
_QUALIFIED = 0.3
_GROWS = 80


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, its answer, and its kind: presence, list or class."""

    prompt: str
    answer: str
    kind: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A report (with a space before each word, as in the midst of a text) and questions about it."""

    report: str
    questions: tuple[Question, ...]


class Words:
    """What names mean: things with their names, and findings that are there because of several signs.

    Args:
        related: false shuffles the names, so that no two names of one thing stay together: the control, a model that
            knows as many relations. What a compound finding depends on keeps its first name.
    """

    def __init__(self, related: bool = True) -> None:
        things = {sign: list(facts.names) for sign, facts in SIGNS.items()}
        compound = {}
        for name, finding in FINDINGS.items():
            if len(finding.signs) == 1:
                things[finding.signs[0]] += finding.names
            else:
                compound[name] = finding
        things |= {names[0]: list(names) for names in OTHERS}
        if not related:
            things = _dealt_anew(things)
        self.things: dict[str, tuple[str, ...]] = {thing: tuple(names) for thing, names in things.items()}
        self.compound: dict[str, Finding] = compound
        self.frequency = np.array([SIGNS[t].prevalence if t in SIGNS else 0.3 for t in self.things])
        self.frequency /= self.frequency.sum()
        self.askable = [(t, n) for t, names in self.things.items() for n in names]
        self.askable += [(c, n) for c, finding in compound.items() for n in finding.names]

    def holds(self, asked: str, there: set[str]) -> bool:
        """Whether a thing or a compound finding is there, given what is."""
        return self.compound[asked].holds(there) if asked in self.compound else asked in there

    def name(self, thing: str, there: set[str], stream: np.random.Generator) -> str:
        """A name by which a report tells of a thing; now and then that of a compound finding it belongs to."""
        wider = [f for f in self.compound.values() if thing in f.signs and f.holds(there)]
        if wider and stream.random() < _COMPOUND_MENTION:
            return _one(stream, wider).names[0]
        return _one(stream, self.things[thing])


def _dealt_anew(things: dict[str, list[str]]) -> dict[str, list[str]]:
    """The j-th name of each thing moves on by 5 j things."""
    order = list(things)
    moved: dict[str, list[str]] = {thing: [] for thing in order}
    for number, names in enumerate(things.values()):
        for j, name in enumerate(names):
            moved[order[(number + 5 * j) % len(order)]].append(name)
    return moved


@lru_cache(maxsize=2)
def words(related: bool = True) -> Words:
    """The same object for the same argument."""
    return Words(related)


def passages(seed: int, *, related: bool = True, together: int = 1) -> Iterator[Passage]:
    """Endless passages, none of them held out; ``together`` in a row, a step's, have reports of equal length."""
    stream, known = seeds.generator(seed, "tiny", "text", "training"), words(related)
    for step in count():
        length, made = int(_one(stream, LENGTHS[: 2 + step // _GROWS])), 0
        while made < together:
            passage = _passage(known, stream, length, None, _QUESTIONS)
            if not is_held_out(passage.report):
                made += 1
                yield passage


def plain_text_questions(
    n: int,
    seed: int,
    *,
    findings: int | None = None,
    kind: str = "presence",
    phrasing: str | None = None,
    certain: bool = False,
) -> list[Question]:
    """``n`` held-out questions, each with its report: what the model could answer before anything was injected into it.

    Asked before and after an injection they measure forgetting.

    Args:
        findings: how many a report has; from none to 16 by default.
        phrasing: one of ``PHRASINGS``, or any text with ``{}``; one of them at random by default.
        certain: leave out reports and questions that speak of compound findings, whose answer may be open.
    """
    stream, known = seeds.generator(seed, "tiny", "text", "held out"), words()
    questions: list[Question] = []
    while len(questions) < n:
        length = int(_one(stream, [size for size in LENGTHS if size >= (findings or 0)]))
        passage = _passage(known, stream, length, findings, 1, kind, phrasing, certain)
        if is_held_out(passage.report):
            (asked,) = passage.questions
            questions.append(Question(f"{passage.report}\n{asked.prompt}", asked.answer, asked.kind))
    return questions


def is_held_out(report: str) -> bool:
    """Whether a report is kept from training."""
    return hashlib.sha256(report.encode()).digest()[0] % HELD_OUT_SHARE == 0


def _passage(
    known: Words, stream: np.random.Generator, length: int, findings: int | None, questions: int,
    kind: str | None = None, phrasing: str | None = None, certain: bool = False,
) -> Passage:  # fmt: skip
    most = min(length, MOST)
    found = int(stream.integers(most + 1)) if findings is None else findings
    chosen = stream.choice(len(known.things), found, replace=False, p=known.frequency)
    things = list(known.things)
    there = {things[int(i)] for i in chosen}
    told = [_one(stream, known.things[t]) if certain else known.name(t, there, stream) for t in sorted(there)]
    row = [_one(stream, FILLERS) for _ in range(length)]
    grades = _one(stream, GRADES)
    if length > found:
        told.append(grade := _one(stream, grades))
    else:
        grade = ""
    for place, word in zip(stream.permutation(length), told, strict=False):
        row[int(place)] = word
    asked = []
    for _ in range(questions):
        what = kind or str(stream.choice(list(_KINDS), p=list(_KINDS.values())))
        if what == "class" and not grade:
            what = "presence"
        preface = f"{_one(stream, PREFACES)} " if stream.random() < _PREFACED else ""
        if what == "class":
            prompt, answer = CLASSIFYING.format(", ".join(grades)), grade
        elif what == "list":
            offered = [_ask(known, there, stream, certain) for _ in range(_OFFERED)]
            offered = list(dict.fromkeys(offered))
            prompt = LISTING.format(", ".join(name for _, name in offered))
            answer = ", ".join(f"{name} {_said(known.holds(thing, there))}" for thing, name in offered)
        else:
            thing, name = _ask(known, there, stream, certain)
            qualified = f"{_one(stream, QUALIFIERS)} {name}" if stream.random() < _QUALIFIED else name
            prompt = (phrasing or _one(stream, PHRASINGS)).format(qualified)
            answer = _said(known.holds(thing, there))
        asked.append(Question(preface + prompt, answer, what))
    return Passage("".join(f" {word}" for word in row), tuple(asked))


def _ask(known: Words, there: set[str], stream: np.random.Generator, certain: bool) -> tuple[str, str]:
    """A thing or compound finding and one of its names; as often one that is there as one that isn't, if both exist."""
    wanted = bool(stream.random() < 0.5)
    askable = [(t, n) for t, n in known.askable if not (certain and t in known.compound)]
    fitting = [(t, n) for t, n in askable if known.holds(t, there) == wanted]
    thing, name = _one(stream, fitting or askable)
    return thing, name


def _said(holds: bool) -> str:
    return "yes" if holds else "no"


def _one(stream: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(stream.integers(len(choices)))]
