"""Which run of a sweep comes next: the longest, of those for which memory is left; and what is left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmeki_bench import memory
from fedmeki_bench.runs import expected, waiting
from fedmeki_bench.runs.waiting import Waiting

GB = 10**9


def entry(rule, seconds=None, peak=None, *, stage="none", rounds=10):
    cost = SimpleNamespace(seconds=seconds, peak_memory=peak, bytes_up=0, bytes_down=0)
    settings = SimpleNamespace(rounds=rounds, local_epochs=1, participation=1.0)
    params = {"stage": {"foundation": "tiny"} if stage == "kim" else {}}
    return SimpleNamespace(
        status="missing" if seconds is None else "ok", key="", record=SimpleNamespace(cost=cost),
        spec=SimpleNamespace(rule=rule, stage=stage, tasks=("a",), params=params, resolved_profile=lambda: settings),
        cells=[SimpleNamespace(algorithm=SimpleNamespace(bound=rule == "majority", pooled=False, options=()))],
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small_cohorts(monkeypatch):
    monkeypatch.setattr(
        expected, "open_cohorts", lambda spec, data: {"a": SimpleNamespace(part=lambda split: range(100))}
    )


def order(entries, done=()):
    queue = Waiting(entries, done, Path())
    return [queue.next(()) for _ in entries]


def test_the_longest_comes_first_by_what_runs_alike_took():
    done = [entry("fedavg", 5.0), entry("scaffold", 50.0), entry("ditto", 20.0), entry("majority", 0.01)]
    waits = [entry("majority"), entry("fedavg"), entry("scaffold"), entry("ditto")]
    assert [e.spec.rule for e in order(waits, done)] == ["scaffold", "ditto", "fedavg", "majority"]


def test_without_records_the_rounds_and_the_language_model_decide():
    waits = [entry("majority"), entry("fedavg", rounds=2), entry("fedavg", stage="kim", rounds=2), entry("fedavg")]
    assert order(waits) == [waits[2], waits[3], waits[1], waits[0]]
    done = [entry("fedavg", 100.0), entry("scaffold", 1.0, rounds=2)]
    assert order([entry("fedavg"), kim := entry("ditto", stage="kim")], done)[0] is kim, "as slow as its samples say"


def free(monkeypatch, amount, total=100 * GB):
    monkeypatch.setattr(waiting.memory, "available", lambda: (amount, total))


def test_a_run_that_would_not_find_its_memory_waits_and_a_smaller_one_goes_first(monkeypatch):
    done = [entry("large", 9.0, 30 * GB), entry("large", 9.0, 60 * GB), entry("small", 1.0, 2 * GB)]
    large, small = entry("large"), entry("small")
    queue = Waiting([small, large], done, Path())
    free(monkeypatch, 20 * GB)
    assert queue.next([(entry("small"), 2 * GB)]) is small, (
        "30 GB (the other peak is of a process that ran more) don't fit"
    )
    assert queue.next([(entry("small"), 2 * GB)]) is None
    free(monkeypatch, 33 * GB)
    assert queue.next([(entry("large"), 10 * GB)]) is None, "the one under way will take 20 more"
    assert queue.next([(entry("large"), 30 * GB)]) is large


def test_one_always_runs(monkeypatch):
    free(monkeypatch, 0)
    queue = Waiting([large := entry("large")], [entry("large", 9.0, 30 * GB)], Path())
    assert queue.next([]) is large
    assert not queue


def test_where_memory_is_short_nothing_more_is_begun_though_nothing_is_known_of_it(monkeypatch):
    queue = Waiting([entry("a"), entry("b")], [], Path())
    free(monkeypatch, GB)
    assert queue.next([(entry("c"), 0)]) is None
    free(monkeypatch, 3 * GB)
    assert queue.next([(entry("c"), 0)]) is not None
    monkeypatch.setattr(waiting.memory, "available", lambda: None)  # a system that doesn't say
    assert queue.next([(entry("c"), 0)]) is not None


def test_what_a_run_of_this_sweep_took_counts_for_the_next(monkeypatch):
    first, second, other = entry("a"), entry("a"), entry("b")
    queue = Waiting([first, second, other], [], Path())
    free(monkeypatch, 10 * GB)
    first.key, record = "key", SimpleNamespace(status="ok", cost=SimpleNamespace(peak_memory=30 * GB))
    assert queue.next([]) is first
    queue.learn(first, SimpleNamespace(load=lambda key: record))
    assert queue.next([(entry("c"), 0)]) is other, "another like the first takes 30 GB"
    assert queue.next([(entry("c"), 0)]) is None
    assert queue.next([]) is second


def test_a_run_is_tried_again_once_and_last(monkeypatch):
    first, second = entry("a", rounds=20), entry("b")
    queue = Waiting([first, second], [], Path())
    assert queue.next([]) is first
    assert queue.again(first)
    assert queue.next([]) is second
    assert queue.next([]) is first
    assert not queue.again(first)


def group(root: Path, own: str, version: int) -> None:
    """Control groups: of version 2, a job of 4 GB in a container of 3; of version 1, a job of 2."""
    names = ("memory.max", "memory.current", "inactive_file") if version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")  # fmt: skip
    folder = root if version == 2 else root / "memory"
    for place, limit in ((own, "4000" if version == 2 else "2000"), ("", "3000" if version == 2 else "9999")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name, value in zip(names, (limit, "1000", None), strict=True):
            if value:
                (folder / place / name).write_text(value + "\n")
        (folder / place / "memory.stat").write_text(f"{names[2]} 300\nother 7\n")


@pytest.mark.parametrize(
    ("version", "line", "expect"),
    [(2, "0::/job", (2300, 3000)), (1, "4:memory,cpu:/job\n3:pids:/x", (1300, 2000)), (1, "4:cpu:/job", (5120, 10240))],
)
def test_memory_is_that_of_the_tightest_limit(tmp_path, monkeypatch, version, line, expect):
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemFree: 1 kB\nMemAvailable: 5 kB\n")
    (tmp_path / "own").write_text(line + "\n")
    group(tmp_path / "groups", "job", version)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    assert memory.available() == expect


def test_where_the_system_says_nothing(tmp_path, monkeypatch):
    for name in ("_MEMINFO", "_OWN_GROUPS", "_GROUPS"):
        monkeypatch.setattr(memory, name, tmp_path / "none")
    assert memory.available() is None
    assert memory.resident(None) == 0
