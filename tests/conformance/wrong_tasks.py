"""Tasks over a registered dataset with one deliberate mistake each."""

from __future__ import annotations

from dataclasses import replace

from fedmeki_bench.api import Exclude
from fedmeki_bench.builtin.tasks.covid19 import Covid19
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.medvqa import MedVqa


class NeedsAnArgument(Covid19):
    """Cannot be made without an argument."""

    def __init__(self, threshold):
        self.threshold = threshold


class Uncited(Covid19):
    """Does not say whose data these are."""

    meta = replace(Covid19.meta, citation=" ")


class WrongMetric(Covid19):
    """A metric of texts for a task of labels."""

    meta = replace(Covid19.meta, metrics=("auroc", "token_f1"))


class UnknownDataset(Covid19):
    """A dataset that nobody prepares."""

    meta = replace(Covid19.meta, dataset="covqo")


class OutOfRange(Covid19):
    """Labels 1 and 2."""

    def label(self, row):
        return super().label(row) + 1


class OneClass(Covid19):
    """Everybody is ill."""

    def label(self, row):
        return 1


class Unreasoned(Covid19):
    """Leaves rows out and does not say why."""

    def label(self, row):
        return Exclude("") if row["class"] == "Normal" else 1


class OtherAnswer(Covid19):
    """The answer contradicts the label."""

    def answer(self, row):
        return "no" if self.label(row) else "yes"


class ChangesTheRow(Covid19):
    """Writes into the row."""

    def label(self, row):
        label = super().label(row)
        row["class"] = row["class"].lower()
        return label


class Counts(Covid19):
    """The label depends on how often it was asked."""

    asked = 0

    def label(self, row):
        self.asked += 1
        return self.asked % 2


class Guesses(Covid19):
    """No answer is a no."""

    def parse(self, text):
        return int("yes" in text.lower())


class Deaf(MedVqa):
    """Reads every answer as the same."""

    def parse(self, text):
        return text.lower().strip() or "nothing"


class ForgetsTheQuestion(Covid19):
    """A prompt without the question."""

    def prompt(self, question):
        return "Is it COVID-19?\nAnswer:"


class FullStop(Covid19):
    """A prompt after which nothing can follow."""

    def prompt(self, question):
        return f"{question} Reply with yes or no."


class PlacesASignal(Covid19):
    """Puts a recording where there is a picture."""

    def prompt(self, question):
        return f"<signal>{question}\nAnswer:"


class MisspeltMark(Covid19):
    """Means the picture and writes another word."""

    def prompt(self, question):
        return f"<Image>{question}\nAnswer:"


WRONG = [
    (NeedsAnArgument, {}, "loads", "it raised TypeError"),
    (Uncited, {}, "meta", "meta.citation is empty"),
    (WrongMetric, {}, "meta", "'token_f1', a metric of generation"),
    (UnknownDataset, {}, "meta", "did you mean 'covqu'?"),
    (OutOfRange, {}, "labels", "is 2, not 0 or 1"),
    (Unreasoned, {}, "labels", "is left out without a reason"),
    (OtherAnswer, {}, "labels", "has the label 1 and the answer 'no'"),
    (ChangesTheRow, {}, "pure", "changed a row"),
    (Counts, {}, "pure", "another time"),
    (EcgAbnormal, {"split": "published"}, "splits", "is in the splits"),
    (OutOfRange, {}, "splits", "can't be prepared"),
    (Guesses, {}, "parse", "'' is read as 0"),
    (Deaf, {}, "parse", "is read as"),
    (ForgetsTheQuestion, {}, "prompt", "does not contain the question"),
    (FullStop, {}, "prompt", "the prompt ends in"),
    (PlacesASignal, {}, "prompt", "places <signal>, but the task has no modality 'signal'; what it can place: <image>"),
    (MisspeltMark, {}, "prompt", "the prompt holds '<Image', which places nothing"),
]
