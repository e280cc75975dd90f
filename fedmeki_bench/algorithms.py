"""An algorithm is a row of a leaderboard: rule x scope x stage x view; and from a name to one.

``<rule>_<scope>`` plus a suffix names it (``fedavg_m_star``): the table of algorithms comes first, then this grammar. A
view of the rule's may follow (``ditto_m_own``): the row then scores that one.

So ``scaffold_m_plus`` means something the moment somebody registers a rule called ``scaffold``, and so does
``./my_rule.py:MyRule`` with a variant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fedmeki_bench import registry
from fedmeki_bench.errors import UsageError, nearest

Scope = Literal["s", "m"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of a leaderboard.

    Attributes:
        name: as typed on the command line.
        rule: federated rule (what clients do, how the server combines).
        scope: ``s``, one federation per training task; ``m``, one over all of them.
        stage: what the server does after combining: ``none``, ``plus``, ...
        view: which model is scored: ``aggregated``, ``personal``, ``constant``, ``foundation``.
        base, sub, sup: the display name as in the papers: base with subscript and superscript.
        bound: a reference row (majority, local, central) rather than a competitor.
        control: a bound that is broken on purpose; it may scatter over seeds as no working row does.
        pooled: all clients' data held by one (the ``central`` bound).
        options: what makes this row an ablation, as with ``-o``: (key, value) pairs; the command line comes after.
    """

    name: str
    rule: str
    scope: Scope
    stage: str = "none"
    view: str = "aggregated"
    base: str = ""
    sub: str = ""
    sup: str = ""
    bound: bool = False
    control: bool = False
    pooled: bool = False
    paper: str = ""
    summary: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """Display name in plain text, e.g. ``FedAvg_m+`` or ``FedAvg_m^F``."""
        return self.base + (f"_{self.sub}" if self.sub else "") + (f"^{self.sup}" if self.sup.isalnum() else self.sup)

    @property
    def html(self) -> str:
        """Display name with real sub- and superscripts (safe: only these tags, text escaped)."""
        import html

        sub = f"<sub>{html.escape(self.sub)}</sub>" if self.sub else ""
        sup = f"<sup>{html.escape(self.sup)}</sup>" if self.sup else ""
        return html.escape(self.base) + sub + sup


_PLAIN = "none"
_FILE = re.compile(r"^(?P<rule>.+\.py:[A-Za-z_]\w*?)(?:_(?P<variant>[sm](?:_\w+)?))?$")
_NAME = re.compile(r"^(?P<rule>[a-z][a-z0-9_]*?)_(?P<variant>[sm](?:_\w+)?)$")


@lru_cache(maxsize=1)
def table() -> dict[str, Algorithm]:
    """Name or alias -> algorithm, in the tables' order. A table that can't be loaded is left out.

    ``list algorithms`` shows the broken table with its reason.
    """
    rows: dict[str, Algorithm] = {}
    for found in registry.working("algorithms").values():
        rows = {name: row for name, row in found.items() if isinstance(row, Algorithm)} | rows
    return rows


def resolve(name: str, variant: str | None = None) -> Algorithm:
    """The algorithm called ``name``.

    Args:
        name: a row of the table, a name by the grammar, or ``file.py:Rule`` (then ``_m_plus`` may follow).
        variant: scope and stage for a bare rule name or file, e.g. ``m_plus``.

    Raises:
        UsageError: no such algorithm, rule or stage; offers the nearest.
    """
    rows = table()
    if variant is None and name in rows:
        return rows[name]
    rule, chosen = _split(name, variant)
    scope, _, suffix = chosen.partition("_")
    known = suffixes()
    suffix, asked = _view_of(suffix)
    if suffix not in known:
        offered = [f"{scope}_{s}" if s else scope for s in known]
        raise UsageError(f"unknown variant {chosen!r} in {name!r}; {nearest(chosen, offered)}")
    base = rule.rpartition(":")[2]
    if ".py:" not in rule and rule not in registry.names("rules"):
        raise UsageError(f"unknown algorithm {name!r}; {nearest(name, [*rows, *registry.names('rules')])}")
    title = getattr(registry.load("rules", rule), "title", "") or base
    stage, view, mark = known[suffix]
    needed = registry.load("rules", rule).needs_stage
    if needed and stage != needed:
        fitting = next((s for s, (of, *_) in known.items() if of == needed), needed)
        raise UsageError(f"{name!r}: the rule {base} is about the stage {needed}; use {rule}_{scope}_{fitting}")
    typed: Scope = "s" if scope == "s" else "m"
    left = views(rule, stage)  # a rule that personalises leaves no aggregate to be scored
    if asked and asked not in left:
        raise UsageError(
            f"{name!r} asks for the view {asked}, but this algorithm leaves {', '.join(left)} to be scored"
        )
    of = f", view {asked}" if asked else ""
    return Algorithm(
        f"{rule}_{chosen}", rule, typed, stage, base=title, sub=f"{scope}, {asked}" if asked else scope, sup=mark,
        view=asked or (view if view in left else left[0]), summary=f"{title}, scope {scope}, stage {stage}{of}",
    )  # fmt: skip


def described(name: str) -> Algorithm:
    """As :func:`resolve`, but a file that the name gives is not loaded: title and view follow from the name alone.

    Raises:
        UsageError: as :func:`resolve`.
    """
    if ".py:" not in name:
        return resolve(name)
    rule, chosen = _split(name, None)
    scope, _, suffix = chosen.partition("_")
    suffix, asked = _view_of(suffix)
    if suffix not in suffixes():
        raise UsageError(f"unknown variant {chosen!r} in {name!r}; {nearest(suffix, suffixes())}")
    stage, view, mark = suffixes()[suffix]
    title = rule.rpartition(":")[2]
    typed: Scope = "s" if scope == "s" else "m"
    return Algorithm(
        f"{rule}_{chosen}", rule, typed, stage, base=title, sub=f"{scope}, {asked}" if asked else scope, sup=mark,
        view=asked or view or "aggregated",
        summary=f"{title}, scope {scope}, stage {stage}, from a file",
    )  # fmt: skip


@lru_cache(maxsize=1)
def suffixes() -> dict[str, tuple[str, str, str]]:
    """Suffix of an algorithm's name -> (stage, view, mark in tables); the empty suffix is the plain stage.

    An empty view means the first view of the rule.
    """
    known = {"": (_PLAIN, "", "")}
    for name, stage in registry.working("stages").items():
        if name == _PLAIN:
            continue
        variants = stage.variants or {name: ("", name)}
        for suffix, (view, mark) in variants.items():
            known.setdefault(suffix, (name, view, mark))
    return known


def _view_of(suffix: str) -> tuple[str, str]:
    """Stage's suffix and view of a suffix that ends in the name of a view, ``plus_own``; else as it is, and no view."""
    if suffix in suffixes():
        return suffix, ""
    stage, _, view = suffix.rpartition("_")
    return (stage, view) if view in registry.names("views") else (suffix, "")


def views(rule: str, stage: str) -> tuple[str, ...]:
    """The views that a training of this rule and stage leaves to be scored."""
    chosen = registry.load("stages", stage)
    left = (*(chosen.instead.get(view, view) for view in registry.load("rules", rule).views), *chosen.views)
    known = registry.names("views")
    also = (other for view in left if view in known for other in registry.load("views", view).also)
    return tuple(dict.fromkeys((*left, *also)))


def _split(name: str, variant: str | None) -> tuple[str, str]:
    pattern = _FILE if ".py:" in name else _NAME
    match = pattern.match(name)
    if variant is not None:
        if not re.fullmatch(r"[sm](_\w+)?", variant):
            raise UsageError(f"variant {variant!r} is not a scope (s or m) and perhaps a stage, such as m_plus")
        return name, variant
    if match and match["variant"]:
        return match["rule"], match["variant"]
    if ".py:" in name or name in registry.names("rules"):
        raise UsageError(f"{name!r} is a rule: add a scope and perhaps a stage, such as {name}_m or {name}_m_plus")
    raise UsageError(f"unknown algorithm {name!r}; {nearest(name, [*table(), *registry.names('rules')])}")
