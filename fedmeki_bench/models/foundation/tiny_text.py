"""The plain questions and answers that ``tiny`` is pre-trained on, generated from templates of this project's own.

Every question can be answered from the words before it: whether a finding is named as present or absent, where it
is, how high a value is, or what a report's verdict was. So the model learns the format, to copy, and to say both yes
and no. One fact comes before each question: choosing between two facts was tried and is not learned in a minute
(single facts all right, two facts at chance, whatever the rate, the batch and twice the steps). None of it is medical
knowledge.

A question belongs to the held-out ones if a hash of its prompt says so; training never sees those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedmeki_bench import seeds

HELD_OUT_SHARE = 8
"""One prompt in so many is held out."""

_EXTRA_SHARE = 0.15
"""Share of training questions on the prompts passed by the caller."""

_WITHOUT_REPORT = 0.3
"""Share of the tasks' yes/no prompts asked with nothing to go by, answered by a coin: the model then starts undecided
instead of sure."""

YES_NO = " Reply with yes or no.\nAnswer:"
FEW_WORDS = " Reply in a few words.\nAnswer:"

FINDINGS = (
    "fever", "cough", "rash", "opacity", "effusion", "atelectasis", "pneumonia", "edema", "fracture", "nodule",
    "sepsis", "arrhythmia", "noise", "drift", "fluid", "collapse", "infection", "pain", "bleeding", "swelling",
    "abnormality", "ectopic beats", "a mass", "a scar",
)  # fmt: skip
SIDES = ("left", "right", "upper", "lower")
PLACES = ("lung", "chest", "arm", "leg", "abdomen", "lead", "ventricle", "lobe")
VALUES = ("heart rate", "blood pressure", "temperature", "oxygen", "urine output", "lactate", "sodium", "glucose")
WHEN = ("", "first ", "last ", "new ", "morning ", "evening ")
LEVELS = ("high", "low", "normal")
SOURCES = ("patient", "picture", "chest X-ray", "ECG", "intensive care patient")
VERDICTS = (("positive", "negative"), ("present", "absent"), ("abnormal", "normal"), ("seen", "not seen"))

_PRESENT = ("The {source} shows {finding}.", "There is {finding}.", "The {source} has {finding}.")
_ABSENT = ("The {source} shows no {finding}.", "There is no {finding}.", "The {source} has no {finding}.")
_IS_THERE = ("Does the {source} show {finding}?", "Is there {finding}?", "Does the {source} have {finding}?")


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that ends in ``Answer:``, its answer, and its kind: presence, place, value or verdict."""

    prompt: str
    answer: str
    kind: str


def training_questions(seed: int, extra_prompts: Sequence[str] = ()) -> Iterator[Question]:
    """Endless questions, none of them held out.

    Args:
        seed: the stream.
        extra_prompts: further prompts (the tasks' own), each asked after a one-line report that gives the answer (a
            verdict where the prompt says "yes or no", else a finding), so that their wording is known and the
            answer depends on what comes before.
    """
    stream = seeds.generator(seed, "tiny", "text", "training")
    while True:
        if extra_prompts and stream.random() < _EXTRA_SHARE:
            yield _verdict(stream, extra_prompts)
        elif not is_held_out((question := _question(stream)).prompt):
            yield question


def plain_text_questions(n: int, seed: int) -> list[Question]:
    """``n`` held-out questions: what the model could answer before anything was injected into it.

    Asked before and after an injection they measure forgetting.
    """
    stream = seeds.generator(seed, "tiny", "text", "held out")
    questions: list[Question] = []
    while len(questions) < n:
        question = _question(stream)
        if is_held_out(question.prompt):
            questions.append(question)
    return questions


def is_held_out(prompt: str) -> bool:
    """Whether a prompt is kept from training."""
    return hashlib.sha256(prompt.encode()).digest()[0] % HELD_OUT_SHARE == 0


def _question(stream: np.random.Generator) -> Question:
    """Three questions in five are about presence."""
    makers = (_presence, _presence, _presence, _place, _value)
    return makers[int(stream.integers(len(makers)))](stream)


def _one(stream: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(stream.integers(len(words)))]


def _presence(stream: np.random.Generator) -> Question:
    finding, source = _one(stream, FINDINGS), _one(stream, SOURCES)
    there = bool(stream.random() < 0.5)
    named = finding if there else finding.removeprefix("a ")
    fact = _one(stream, _PRESENT if there else _ABSENT).format(source=source, finding=named)
    ask = _one(stream, _IS_THERE).format(source=source, finding=finding)
    return Question(f"{fact} {ask}{YES_NO}", "yes" if there else "no", "presence")


def _place(stream: np.random.Generator) -> Question:
    finding, place = _one(stream, FINDINGS), f"{_one(stream, SIDES)} {_one(stream, PLACES)}"
    return Question(f"There is {finding} in the {place}. Where is {finding}?{FEW_WORDS}", place, "place")


def _value(stream: np.random.Generator) -> Question:
    value, level = f"{_one(stream, WHEN)}{_one(stream, VALUES)}", _one(stream, LEVELS)
    return Question(f"The {value} is {level}. What is the {value}?{FEW_WORDS}", level, "value")


def _verdict(stream: np.random.Generator, extra: Sequence[str]) -> Question:
    prompt = _one(stream, extra)
    if "yes or no" not in prompt:
        finding = _one(stream, FINDINGS)
        return Question(f"Report: {finding}. {prompt}", finding, "verdict")
    yes = int(stream.integers(2))
    if stream.random() < _WITHOUT_REPORT:
        return Question(prompt, "yes" if yes else "no", "verdict")
    word = VERDICTS[int(stream.integers(len(VERDICTS)))][1 - yes]
    return Question(f"Report: {word}. {prompt}", "yes" if yes else "no", "verdict")
