"""A built-in plug-in whose source moved has a new version, or a note that its numbers did not."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

from fedmeki_bench import sources

lock = runpy.run_path(str(Path(__file__).with_name("plugin_lock.py")))


def test_versions_and_sources_are_as_locked():
    found = lock["problems"](json.loads(lock["LOCK"].read_text()), lock["present"]())
    assert not found, "\n".join([*found, "see CONTRIBUTING.md, 'What a change looks like'"])


def test_a_moved_source_is_a_problem_until_it_is_accounted_for():
    before = {"rules/fade": {"version": 1, "digest": "a"}}
    moved = {"rules/fade": {"version": 1, "digest": "b"}}
    raised = {"rules/fade": {"version": 2, "digest": "b"}}
    assert lock["problems"](before, before) == []
    assert "its source moved" in lock["problems"](before, moved)[0]
    assert lock["accept"](before, moved, "") == before, "nothing is accepted without a reason"
    assert lock["problems"](lock["accept"](before, moved, "renamed a variable"), moved) == []
    assert "version 1 in the lock, 2 in the code" in lock["problems"](before, raised)[0]
    assert lock["accept"](before, raised, "") == raised
    assert lock["problems"](before, {}) == ["rules/fade is gone"]


def test_the_digest_follows_the_source_and_nothing_else(tmp_path):
    source = Path(sources.module_file("fedmeki_bench.builtin.baselines.fedprox"))
    file = tmp_path / "fedprox.py"
    shutil.copy(source, file)

    def digest(text: str) -> str:
        file.write_text(text)
        return sources.digest("", file, lambda name, there: False)

    text = source.read_text()
    known = digest(text)
    assert digest("# remark\n" + text.replace("\n\n\n", "\n\n\n\n")) == known
    assert digest(text.replace("mu", "nu")) != known
