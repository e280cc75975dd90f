"""An algorithm is a row of a leaderboard: rule x scope x stage x view.

``<rule>_<scope>`` plus a suffix names it (``fedavg_m_star``). Rules and stages are plug-ins, so a new rule gets
every variant for nothing and a new stage combines with every rule. Views of the same training share one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
