"""Valid inputs changed at random, at the level of bytes and of structure, and what may come of them."""

from __future__ import annotations

import copy
import os
import unicodedata
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from hostile.conftest import within
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.errors import FedmekiError

QUICK, LONG = 200, int(os.environ.get("FEDMEKI_BENCH_FUZZ", "2000"))
CASES = [pytest.param(QUICK, id="quick"), pytest.param(LONG, id="long", marks=pytest.mark.slow)]

BITS = [b"\0", b"\xff", b"\r", b"\n", b",", b'"', b"'", b"[", b"{", b"-", b"1e999", b"9" * 40, b"9" * 5000, b"NaN",
        b"\x1b[2J", "\u202e".encode(), b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0" * 64, b'!!int ""', b"&a *a",
        b"../x"]  # fmt: skip
EXTREMES = [None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "x" * 3000, "\0",
            "\ud800", "\u202e\x1b[2J", "../x", [], {}, [[]], {"a": {"b": []}}]  # fmt: skip


@st.composite
def edits(draw: Any) -> Callable[[bytes], bytes]:
    """One to four changes of bytes: flip, cut, insert, duplicate, swap, overwrite with something extreme."""
    kinds = st.sampled_from(["flip", "cut", "remove", "insert", "double", "swap", "put"])
    share = st.floats(0, 1)
    step = st.tuples(kinds, share, share, st.integers(0, 255), st.sampled_from(BITS))
    plan = draw(st.lists(step, min_size=1, max_size=4))

    def change(data: bytes) -> bytes:
        for kind, where, until, byte, bit in plan:
            # squared: more often near the start, where headers are
            at = min(int(where * where * len(data)), max(len(data) - 1, 0))
            end = min(at + 1 + int(until * 40), len(data))
            if kind == "flip" and data:
                data = data[:at] + bytes([data[at] ^ (byte or 1)]) + data[at + 1 :]
            elif kind == "cut":
                data = data[:at]
            elif kind == "remove":
                data = data[:at] + data[end:]
            elif kind == "insert":
                data = data[:at] + bit + data[at:]
            elif kind == "double":
                data = data[:end] + data[at:]
            elif kind == "swap":
                data = data[:at] + data[at:end][::-1] + data[end:]
            elif kind == "put":
                data = data[:at] + bit + data[at + len(bit) :]
        return data

    return change


JSON = st.recursive(
    st.sampled_from(EXTREMES) | st.text(max_size=20) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def changes(draw: Any) -> Callable[[Any], Any]:
    """One to three changes of a JSON value: a field replaced, removed, doubled under another name, or exchanged."""
    kinds = st.sampled_from(["replace", "replace", "remove", "add", "swap"])
    ways = st.lists(st.floats(0, 1), min_size=1, max_size=5)
    steps = draw(st.lists(st.tuples(kinds, ways, JSON), min_size=1, max_size=3))

    def change(value: Any) -> Any:
        value = copy.deepcopy(value)
        for kind, way, new in steps:
            new = copy.deepcopy(new)  # one object in two places could come to hold itself
            place, key = value, None
            for step in way:
                inner = place if key is None else place[key]
                keys = list(inner) if isinstance(inner, dict) else []
                keys = list(range(len(inner))) if isinstance(inner, list) else keys
                if not keys:
                    break
                place, key = inner, keys[min(int(step * len(keys)), len(keys) - 1)]
            if key is None:
                return new
            if kind == "replace":
                place[key] = new
            elif kind == "remove":
                del place[key]
            elif kind == "add" and isinstance(place, dict):
                place[f"{key}2"] = new
            elif kind == "swap":
                other = next(iter(place)) if isinstance(place, dict) else 0
                place[key], place[other] = place[other], place[key]
        return value

    return change


def explore(examples: int, *strategies: Any) -> Callable[[Callable[..., None]], None]:
    """Run a property at once over so many examples, the same ones at every call."""

    def run(check: Callable[..., None]) -> None:
        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.tuples(*strategies))
        def held(values: tuple[Any, ...]) -> None:
            with within(20):
                check(*values)

        held()

    return run


@contextmanager
def refused_in_words() -> Any:
    """Inside, a value comes out, or a documented error with one line that holds no control character."""
    try:
        yield
    except FedmekiError as error:
        one_line(str(error))
    except Dropped as dropped:
        one_line(dropped.reason)


def one_line(text: str) -> None:
    """A sentence fit to be shown."""
    assert text.strip()
    wrong = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not wrong, (wrong, text)
