"""The clauses for tasks. What each one asks for stands in docs/conformance.md."""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fedmeki_bench import registry
from fedmeki_bench.conformance import loading
from fedmeki_bench.conformance.clause import LOADS, Check, Clause, Undecided, Violation
from fedmeki_bench.conformance.releases import Release, own_release, standin
from fedmeki_bench.conformance.subject import Subject, dataset_of
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import FedmekiError, InputError, nearest
from fedmeki_bench.evaluation.intervals import per_sample_values
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.foundation.places import laid, places_of
from fedmeki_bench.profiles import profile
from fedmeki_bench.task import Exclude, Task

_SIZE = 120
_SECONDS = 5.0
_TEXTS = (
    "title", "dataset", "modalities", "clinical.what", "clinical.who", "clinical.when", "licence", "access", "citation",
    "grouping", "metrics",
)  # fmt: skip
_UNCLEAR = ("", "   ", "yes and no", "I don't know.", "The recording is normal.", "nothing abnormal", "maybe")
_NO_REASON = MetricSpec.__dataclass_fields__["undefined"].default


def _task(subject: Subject) -> Task:
    task: Task = subject.value()
    return task


def _release(subject: Subject) -> Release:
    """The user's own release, or a stand-in of the task's dataset."""

    def make() -> Release:
        cls = dataset_of(subject)
        if subject.raw is not None:
            return own_release(cls, subject.options, subject.raw)
        return standin(cls, subject.options, size=_SIZE)

    return subject.once("release", make)


def _lacking(subject: Subject, what: str) -> Exception:
    """The release lacks what a clause needs: a mistake in a real one, no more than a gap in a stand-in."""
    found = _release(subject)
    if found.own:
        return Violation(f"{found.title} has {what}.")
    dataset = subject.value.meta.dataset
    return Undecided(
        f"{found.title} has {what}, and a real release may have others: ask again with --raw and a folder of {dataset}"
    )


def _rows(subject: Subject) -> list[dict[str, Any]]:
    """The rows of the release's table, as a task is asked about them."""

    def make() -> list[dict[str, Any]]:
        found = _release(subject)
        table = found.preparer.table(found.raw, found.options, Drops())
        rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        return rows

    return subject.once("rows", make)


def _ask(task: Task) -> Callable[[dict[str, Any]], Any]:
    """What a task is asked about a row: its label or, where the kind has none, its answer."""
    return task.label if task.meta.labels.how.labelled else task.answer


def _answered(subject: Subject) -> list[tuple[dict[str, Any], Any]]:
    """The rows that take part, each with its label or, for free text, its answer."""
    task = _task(subject)
    ask = _ask(task)
    pairs = [(row, ask(row)) for row in _rows(subject)]
    return [(row, verdict) for row, verdict in pairs if not isinstance(verdict, Exclude)]


def _cohort(subject: Subject) -> Cohort:
    def make() -> Cohort:
        found = _release(subject)
        workers = None if found.own else 1
        out = found.room / "data"
        (done,) = prepare(found.preparer, found.raw, out, [_task(subject)], found.options, workers=workers)
        return Cohort.open(done.path)

    return subject.once("cohort", make)


def _loads(subject: Subject) -> None:
    loading.loads(subject)
    if not hasattr(subject.value, "meta"):
        raise Violation(f"{subject.value.__name__} has no meta.")
    _task(subject)
    if subject.seconds > _SECONDS:
        raise Violation(f"loading it took {subject.seconds:.1f} s; import heavy packages where they are used.")


def _meta(subject: Subject) -> None:
    meta = subject.value.meta
    loading.described(meta, _TEXTS)
    if meta.role == "training" and meta.learnt is None:
        raise Violation(
            f"the role is training and the kind {meta.kind}: clients train on labels, or on the concepts that answers "
            "name (meta.concepts and Task.concepts); without either they would contribute nothing."
        )
    if meta.labels.how.threshold and not meta.positive.strip():
        raise Violation("meta.positive is empty: it says what label 1 means.")
    if blank := [k for k, name in enumerate(meta.classes) if not name.strip()]:
        raise Violation(f"class {blank[0]} of meta.classes has no name.")
    if meta.dataset not in registry.names("datasets"):
        known = nearest(meta.dataset, registry.names("datasets"))
        raise Violation(f"meta.dataset is {meta.dataset!r}, which is not registered; {known}")
    offered = registry.load("datasets", meta.dataset).meta.modalities
    if stray := [m for m in meta.modalities if m not in (*offered, "text")]:
        raise Violation(f"meta.modalities has {stray[0]!r}, dataset {meta.dataset!r} offers {', '.join(offered)}.")
    for name in meta.metrics:
        if name not in registry.names("metrics"):
            raise Violation(
                f"meta.metrics has {name!r}, which is not registered; {nearest(name, registry.names('metrics'))}"
            )
        spec: MetricSpec = registry.load("metrics", name)
        if not spec.applies(meta.kind):
            raise Violation(f"meta.metrics has {name!r}, a metric of {', '.join(spec.kinds)}; the task is {meta.kind}.")
    if meta.trained_by and meta.trained_by not in registry.names("tasks"):
        raise Violation(f"meta.trained_by is {meta.trained_by!r}, which is no registered task.")


def _labels(subject: Subject) -> None:
    task = _task(subject)
    spec, ask, seen = task.meta.labels, _ask(task), []
    reasons: dict[str, int] = {}
    for row in _rows(subject):
        verdict = ask(row)
        sample = row["sample_id"]
        if isinstance(verdict, Exclude):
            if not verdict.reason.strip():
                raise Violation(f"row {sample!r} is left out without a reason.")
            reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1
            continue
        if spec.how.labelled and (problem := spec.how.problem(verdict, spec)):
            raise Violation(f"the label of row {sample!r} is {verdict!r}, {problem}.")
        if not spec.how.labelled and not (isinstance(verdict, str) and verdict.strip()):
            raise Violation(f"the answer of row {sample!r} is {verdict!r}; text is expected, or Exclude with a reason.")
        if not str(task.question(row)).strip():
            raise Violation(f"the question about row {sample!r} is empty.")
        seen.append(verdict)
        if spec.how.labelled and task.answer(row) != (words := spec.how.words(verdict, spec)):
            raise Violation(
                f"row {sample!r} has the label {verdict!r} and the answer {task.answer(row)!r}, not {words!r}."
            )
    if not seen:
        raise _lacking(subject, f"no row for this task{_most_often(reasons)}")
    if task.meta.concepts:
        _concepts(subject, task)
    if not spec.how.labelled or task.meta.role != "training":
        return
    labels = spec.how.read(list(spec.how.column(seen)), spec)
    if len(set(spec.how.strata(labels, spec).tolist())) < 2:
        raise _lacking(subject, f"only rows with the label {seen[0]!r}, {len(seen)} of them")


def _concepts(subject: Subject, task: Task) -> None:
    """What clients train on in the place of labels: each concept is named by some answers and not by all."""
    named = [set(task.concepts(row)) for row, _ in _answered(subject)]
    if stray := sorted(set().union(*named).difference(task.meta.concepts)):
        raise Violation(f"concepts() names {stray[0]!r}, which is none of meta.concepts.")
    for concept in task.meta.concepts:
        if not 0 < (count := sum(concept in one for one in named)) < len(named):
            raise _lacking(subject, f"the concept {concept!r} in {count} of {len(named)} answers")


def _most_often(reasons: dict[str, int]) -> str:
    if not reasons:
        return ""
    reason = max(reasons, key=lambda name: reasons[name])
    return f" ({reasons[reason]} of {sum(reasons.values())} are left out because {reason!r})"


def _pure(subject: Subject) -> None:
    task = _task(subject)
    ask = _ask(task)
    rows = _rows(subject)
    before = copy.deepcopy(rows)
    first = [(ask(row), task.question(row)) for row in rows]
    if any(not _same_row(a, b) for a, b in zip(before, rows, strict=True)):
        raise Violation("asking for labels and questions changed a row, which other tasks read too.")
    again = [(ask(row), task.question(row)) for row in reversed(rows)][::-1]
    other = _task(subject)
    ask = _ask(other)
    fresh = [(ask(row), other.question(row)) for row in rows]
    for row, one, two, three in zip(rows, first, again, fresh, strict=True):
        if not one == two == three:
            raise Violation(f"row {row['sample_id']!r} gives {one!r} once and {two!r} or {three!r} another time.")


def _same_row(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(a[k] is b[k] or a[k] == b[k] or (a[k] != a[k] and b[k] != b[k]) for k in a)


def _splits(subject: Subject) -> None:
    if not _answered(subject):
        raise _lacking(subject, "no row for this task")
    try:
        cohort = _cohort(subject)
    except FedmekiError as error:
        raise Violation(f"{_release(subject).title} can't be prepared: {error}") from error
    table = cohort._table()
    homes: dict[str, str] = {}
    for group, split in zip(table["group_id"], table["split"], strict=True):
        if homes.setdefault(str(group), str(split)) != split:
            raise Violation(f"group {group!r} is in the splits {homes[str(group)]} and {split}.")
    found = set(table["split"])
    wanted = {"test"} if cohort.role == "zero_shot" else {"client", "valid", "public", "test"}
    if not found - wanted and cohort.role == "training" and "client" not in found:
        raise _lacking(subject, f"no sample for clients among the {len(table['split'])} of this task")
    if not found <= wanted:
        raise Violation(
            f"its samples are in the splits {', '.join(sorted(found))}; a {cohort.role} task has {sorted(wanted)}."
        )


def _parse(subject: Subject) -> None:
    task = _task(subject)
    spec = task.meta.labels
    for row, _ in _answered(subject):
        answer = str(task.answer(row))
        if (read := task.parse(answer)) is None or spec.how.words(read, spec) != answer.strip():
            raise Violation(f"the gold answer {answer!r} is read as {read!r}.")
    for text in _UNCLEAR if spec.how.labelled else _UNCLEAR[:2]:
        if (read := task.parse(text)) is not None:
            raise Violation(f"{text!r} is read as {read!r}; what states no single answer is unparsed (None).")
    for answer in spec.how.candidates(spec):
        if (read := task.parse(f" {answer.capitalize()}.\n")) != task.parse(answer) or read is None:
            raise Violation(f"the answer {answer!r} with a capital and a full stop is read as {read!r}.")


def _prompt(subject: Subject) -> None:
    task, found = _task(subject), _release(subject)
    many = {modality: spec.many for modality, spec in found.preparer.arrays(found.options).items()}
    questions = sorted({task.question(row) for row, _ in _answered(subject)})[:20]
    for question in [*questions, "Is there a 'probe' {in} it?"]:
        prompt = task.prompt(question)
        if question.rstrip(" ?") not in prompt:
            raise Violation(f"the prompt {prompt!r} does not contain the question {question!r}.")
        if prompt != task.prompt(question):
            raise Violation(f"the question {question!r} gives two different prompts.")
        _marks(prompt, task, many)
        for wording in range(1, len(task.wordings) + 1):
            _wording(task, wording, question)
        end = prompt.rstrip()[-1:]
        if end in {"", ".", ",", ";"}:
            raise Violation(
                f"the prompt ends in {prompt[-20:]!r}; an answer can follow a colon, or best the finding itself, as in "
                "'Yes or no, is there a nodule'."
            )


def _wording(task: Task, wording: int, question: str) -> None:
    """Another wording puts the same question once, in other words, and ends where an answer follows."""
    put, template = task.worded(wording).ask(question), task.wordings[wording - 1]
    if template.count("{question}") != 1 or question not in put:
        raise Violation(f"the wording {template!r} does not hold {{question}} once, so it asks something else.")
    if put in {task.worded(other).ask(question) for other in range(wording)}:
        raise Violation(f"the wording {template!r} is no other than one before it.")
    if put != put.rstrip() or put[-1:] in {".", ",", ";", "?"}:
        raise Violation(f"the wording {template!r} ends where no answer follows; end it in a colon.")


def _marks(prompt: str, task: Task, many: Mapping[str, int]) -> None:
    """Marks such as ``<image>`` name what the task has, and none is misspelt, which would make it text."""
    try:
        row = laid(prompt, places_of(task.meta.arrays, many), profile("demo").encoders, task.meta.name)
    except InputError as error:
        raise Violation(f"{error}.") from error
    texts = " ".join(part for part in row if isinstance(part, str))
    for name in re.findall(r"<\s*([A-Za-z_]+)[\s0-9]*>", texts):
        if close := difflib.get_close_matches(name.lower(), task.meta.modalities, n=1, cutoff=0.75):
            raise Violation(f"the prompt holds '<{name}', which places nothing and stays text; write <{close[0]}>.")


def _metrics(subject: Subject) -> None:
    task = _task(subject)
    specs: list[MetricSpec] = [registry.load("metrics", name) for name in task.meta.metrics]
    verdicts = [verdict for _, verdict in _answered(subject)]
    if not verdicts:
        raise _lacking(subject, "no row for this task")
    values: dict[str, list[tuple[MetricSpec, float]]] = {}
    kind = task.meta.labels
    if kind.how.labelled:
        labels = kind.how.read(list(kind.how.column(verdicts)), kind)
        gold = kind.how.gold(labels, kind).tolist()
        predictors = {"perfect": kind.how.decided(gold, labels, kind)}
        for answer in kind.how.candidates(kind)[:2] or (kind.how.words(gold[0], kind),):
            said = [kind.how.parse(answer, kind)] * len(gold)
            predictors[f"constant {answer}"] = kind.how.decided(said, labels, kind)
        for who, scores in predictors.items():
            values[who] = [(spec, spec(labels, scores)) for spec in specs]
    else:
        gold = [str(v) for v in verdicts]
        answers: dict[str, list[Any]] = {
            "perfect": gold,
            "constant": ["same"] * len(gold),
            "silent": [None] * len(gold),
        }
        for who, said in answers.items():
            columns = per_sample_values(gold, said, specs)
            values[who] = [(s, s(np.zeros(len(gold)), columns[s.name])) for s in specs]
    alike = len({str(v) for v in verdicts}) == 1
    for who, pairs in values.items():
        for spec, value in pairs:
            allowed = math.isnan(value) and spec.undefined != _NO_REASON and (who != "perfect" or alike)
            if not math.isfinite(value) and not allowed:
                raise Violation(f"the metric {spec.name!r} of a {who} predictor is {value}.")


def _clause(name: str, expected: str, check: Check) -> Clause:
    return Clause("tasks", name, expected, check)


CLAUSES = (
    _clause(LOADS, loading.EXPECTED, _loads),
    _clause("meta", "the metadata is complete; dataset and metrics are registered and fit the kind of task.", _meta),
    _clause(
        "labels",
        "every row has a label 0 or 1 (or an answer), both of which occur, or is left out for a reason.",
        _labels,
    ),
    _clause("pure", "label and question depend on the row alone, and leave it as it was.", _pure),
    _clause("splits", "the dataset can be prepared for the task, and no group is in two splits.", _splits),
    _clause("parse", "gold answers are read back, and what says nothing clear is unparsed, never guessed.", _parse),
    _clause("prompt", "the prompt contains the question and ends where an answer can follow.", _prompt),
    _clause("metrics", "the metrics are finite for a perfect and for a constant predictor, or say why not.", _metrics),
)
