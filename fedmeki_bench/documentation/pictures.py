"""How many samples each cohort has, by split and label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedmeki_bench.leaderboard.plots.theme import ACCENT, FAINT, INK, MUTED, Picture, as_svg, bare, strips, styled

_SPLITS = ("client", "valid", "public", "test", "external")


def balance(cards: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> Picture | None:
    """Bars of samples per split, positives apart where labels are two; None without any card.

    Args:
        cards: task -> a card of its cohort.
        titles: task -> what it is called.
    """
    shown = {task: titles[task] for task in cards if task in titles}
    if not shown:
        return None
    with styled():
        fig, panels = strips(shown, {split: split for split in _SPLITS})
        for task, axes in panels.items():
            largest = 1
            for y, split in enumerate(_SPLITS):
                facts = cards[task]["splits"].get(split, {})
                n, positive = int(facts.get("samples", 0)), facts.get("positive")
                axes.barh([y], [n], height=0.6, color=FAINT if positive is not None else ACCENT)
                if positive is not None:
                    axes.barh([y], [int(positive)], height=0.6, color=ACCENT)
                axes.annotate(f" {n}" if n else " none", (n, y), va="center", fontsize=7.5, color=INK if n else MUTED)
                largest = max(largest, n)
            axes.set_xlim(0, 1.2 * largest)
            axes.set_xlabel("samples")
            bare(axes)
        key, title = "pcs-balance", "Samples by split"
        svg = as_svg(fig, key, title)
    return Picture(key, title, "Samples of each split; the dark part are positives, where a task has two labels.", svg)
