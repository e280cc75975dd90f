"""How plug-ins are found, what the command says, what the docs explain, and what pytest shows."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.api import Rule
from fedmeki_bench.conformance import KINDS, Clause, NotApplicable, Violation, check, clauses, find, run
from fedmeki_bench.errors import InputError, UsageError

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
WRONG = Path(__file__).with_name("wrong_rules.py")


@pytest.fixture
def plugin(tmp_path):
    """``plugin(source)`` -> the path of a file with that source."""

    def write(source: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write


# ---- the command


def test_a_plug_in_that_keeps_everything_ends_with_0(bench):
    code, out, err = bench("check", "medvqa", "--kind", "tasks")
    assert code == 0, err
    assert out.count("✓") == len(clauses("tasks"))
    assert "medvqa: 8 clauses hold, 0 without anything to check" in out


def test_json_is_a_list_of_clauses_and_a_failure_ends_with_1(bench, plugin):
    path = plugin(
        "from fedmeki_bench.builtin.tasks.medvqa import MedVqa\n\nprint('loading')\n\n\n"
        "class Deaf(MedVqa):\n    'Reads nothing.'\n\n"
        "    def parse(self, text):\n        print('parsing')\n        return None\n"
    )
    code, out, err = bench("check", f"{path}:Deaf", "--json")
    assert code == 1
    rows = json.loads(out)
    assert [row["clause"] for row in rows] == [clause.name for clause in clauses("tasks")]
    assert set(rows[0]) == {"clause", "status", "expected", "found", "read"}
    assert {row["clause"]: row["status"] for row in rows if row["status"] != "passed"} == {"parse": "failed"}
    assert "is read as None" in next(row["found"] for row in rows if row["clause"] == "parse")
    assert "1 of 8 clauses do not hold" in err


def test_a_failure_is_told_in_three_sentences(bench, plugin):
    path = plugin("from fedmeki_bench.builtin.tasks.medvqa import MedVqa\n\n\nclass Plain(MedVqa):\n    pass\n")
    code, out, _ = bench("check", f"{path}:Plain")
    assert code == 1
    assert "✕ loads" in out
    assert "Expected: the plug-in can be imported" in out
    assert "Found: Plain has no docstring" in out
    assert "Read: docs/conformance.md#loads" in out
    assert out.count("– ") == len(clauses("tasks")) - 1
    assert "it does not load" in out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("fedavvg",), "nothing to check is called 'fedavvg'; did you mean 'fedavg'"),
        (("fedavg", "--kind", "tasks"), "nothing to check is called 'fedavg'"),
        (("fedavg", "--kind", "recipes"), "Invalid value for '--kind'"),
        (("absent.py:Rule",), "no file absent.py"),
        (("absent.py",), "name the class in absent.py too"),
        (("no_such_package.rules:Rule",), "there is no module 'no_such_package.rules'"),
        (("fedmeki_bench.api:Rulle",), "did you mean 'Rule'?"),
        ((f"{WRONG}:Absent",), "has no 'Absent'"),
        ((f"{WRONG}:WRONG",), "is no subclass of Rule, Stage, Task, DatasetPreparer or Encoder"),
    ],
)
def test_what_does_not_exist_ends_with_2(bench, args, sentence):
    code, out, err = bench("check", *args)
    assert code == 2
    assert sentence in err
    assert out == ""


def test_an_unknown_option_ends_with_3(bench):
    code, _, err = bench("check", "fedprox", "-o", "muu=1")
    assert code == 3
    assert "unknown option 'muu' of fedprox; did you mean 'mu'?" in err


def test_options_reach_the_plug_in(ask):
    assert ask("fedprox", "extra-term", kind="rules", mu=0.1).status == "passed"
    zero = ask("fedprox", "extra-term", kind="rules", mu=0.0)
    assert zero.status == "failed"
    assert "changes no step" in zero.found


# ---- what can't be loaded


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import no_such_package\n", "it raised ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit('no')\n", "it raised SystemExit: no"),
        ("def f(:\n", "it raised SyntaxError"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "it raised ZeroDivisionError: division by zero (mine.py:2 in f)"),
    ],
)
@pytest.mark.parametrize("kind", ["rules", None])
def test_a_file_that_fails_to_import_is_a_failed_clause(plugin, source, found, kind):
    outcomes = check(f"{plugin(source)}:Mine", kind)
    assert outcomes[0].clause == "loads"
    assert outcomes[0].status == "failed"
    assert found in outcomes[0].found
    assert all(outcome.status == "skipped" for outcome in outcomes[1:])
    assert len(outcomes) == (len(clauses("rules")) if kind else 1)


def test_the_command_survives_it(bench, plugin):
    code, out, err = bench("check", f"{plugin('import sys; sys.exit(0)')}:Mine")
    assert code == 1
    assert "it raised SystemExit: 0" in out
    assert "1 of 1 clauses do not hold" in err


def test_the_kind_is_found_from_class_file_or_name(monkeypatch):
    assert [find(name).kind for name in ("fedavg", "plus", "covid19", "rsna", "small_signal", "simclr")] == list(KINDS)
    assert find(f"{WRONG}:Idle").kind == "rules"
    assert find("fedmeki_bench.builtin.baselines.stages:Plus").kind == "stages"
    assert find(Rule).kind == find(Rule()).kind == "rules"
    with pytest.raises(UsageError, match="say --kind"):
        find(int)
    with pytest.raises(InputError, match="unknown option"):
        find("fedprox", options={"nu": 1})
    plain = registry.names
    monkeypatch.setattr(registry, "names", lambda kind: [*plain(kind), "fedavg"] if kind == "tasks" else plain(kind))
    with pytest.raises(UsageError, match="--kind rules or --kind tasks"):
        find("fedavg")


def test_a_class_of_another_kind_is_refused_by_its_kind():
    (outcome, *_) = check(int, "rules")
    assert outcome.found == "int is the class int, no subclass of Rule."


# ---- running clauses


def test_outcomes_come_one_by_one_and_nothing_escapes():
    def leaves(subject):
        raise SystemExit(3)

    def fails(subject):
        raise Violation("it is green", expected="it is blue.")

    def idle(subject):
        raise NotApplicable("no colour")

    table = [Clause("rules", n, "all is well.", f) for n, f in (("a", leaves), ("b", fails), ("c", idle), ("d", len))]
    seen = []
    outcomes = run(table, find([].__class__, "rules"), told=seen.append)
    assert seen == outcomes
    assert [o.status for o in outcomes] == ["failed", "failed", "skipped", "failed"]
    assert outcomes[0].found.startswith("it raised SystemExit: 3 (test_suite.py")
    assert outcomes[1].message == "Expected: it is blue.\nFound: it is green\nRead: docs/conformance.md#rules-b"

    def interrupts(subject):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Clause("rules", "e", "", interrupts)], find(Rule))


def test_a_check_leaves_the_process_as_it_was():
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    (chosen,) = [c for c in clauses("rules") if c.name == "extra-term"]
    assert chosen.run(find("fedprox")).status == "passed"
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after
    assert torch.get_default_dtype() is torch.float32


# ---- docs and pytest


def test_every_clause_has_its_section_and_no_section_is_left_over():
    titles = re.findall(r"^### (.+)$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    wanted = {clause.read.partition("#")[2] for kind in KINDS for clause in clauses(kind)}
    assert anchors == wanted
    assert len(titles) == len(anchors)


@pytest.mark.slow
def test_three_lines_make_one_test_per_clause(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from fedmeki_bench.conformance import as_pytest\n\n"
        f"test_conformance = as_pytest({f'{WRONG}:Rebinds'!r}, kind='rules', without=['learns'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "gradients or loads or extra or learns",
         str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "clause gradients" in done.stdout
    assert "Found: correct_gradients put other tensors into grads; change those that are there in place." in done.stdout
    assert "Read: docs/conformance.md#rules-gradients" in done.stdout
    assert "Traceback" not in done.stdout
    assert "conformance/pytesting.py" not in done.stdout
