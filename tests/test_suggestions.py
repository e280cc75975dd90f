"""What is offered in place of a wrong name is something the user could have meant."""

from __future__ import annotations

import pytest

from fedmeki_bench import registry
from fedmeki_bench.conformance import subject
from fedmeki_bench.errors import UsageError, nearest

FILE = '''
from __future__ import annotations

import re
from collections.abc import Mapping
from pydantic import Field
from fedmeki_bench.api import Rule, Stage

LIMIT = 3


def helper():
    """No plug-in."""


class _Private(Rule):
    """Not for others."""


class Mine(Rule):
    """Mine."""

    class Params(Rule.Params):
        """None."""
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def said(look, *args) -> str:
    with pytest.raises(UsageError) as caught:
        look(*args)
    return str(caught.value)


@pytest.mark.parametrize("wrong", ["Mein", "__nam__", "_Privat", "Filed", "helpr", "annotation"])
def test_of_a_file_only_its_own_plug_ins_are_offered(file, wrong):
    for look in (lambda name: registry.load("rules", name), subject.find):
        text = said(look, f"{file}:{wrong}")
        offered = text.rpartition("; ")[2]
        assert offered in ("did you mean 'Mine'?", "known: Mine"), text


def test_a_file_without_any_offers_nothing(tmp_path):
    (tmp_path / "empty.py").write_text("from fedmeki_bench.api import Rule\n")
    assert said(registry.load, "rules", f"{tmp_path}/empty.py:Mine").endswith("empty.py has no 'Mine'")


def test_of_a_module_only_its_own_plug_ins_are_offered():
    text = said(subject.find, "fedmeki_bench.builtin.baselines.fedprox:FedProks")
    assert text.endswith("has no 'FedProks'; did you mean 'FedProx'?")
    assert "Field" not in said(subject.find, "fedmeki_bench.builtin.baselines.fedprox:Fiel")


def test_private_names_are_never_offered():
    assert nearest("_split", ["_split", "__doc__", "splits"]) == "did you mean 'splits'?"
    assert nearest("zzz", ["_a", "b"]) == "known: b"
    assert nearest("a", ["_a"]) == ""
