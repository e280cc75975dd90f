from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from fedmeki_bench.cli import view as ui
from fedmeki_bench.events import RoundEnded, RunEnded, RunStarted

CELLS = {
    "k1": [("fedavg_s", "ecg", "aggregated")],
    "k2": [("fedavg_m", "ecg", "aggregated"), ("fedavg_m", "lung", "aggregated")],
    "k3": [("fedavg_s", "lung")],
}


def terminal(width=100):
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=40, color_system="truecolor")


def paper():
    return Console(file=io.StringIO(), width=60)


def drawn(view, width=100):
    out = Console(file=io.StringIO(), width=width)
    out.print(view.picture())
    return out.file.getvalue()


def feed(view):
    view(RunStarted("k1", 4))
    for r, v in enumerate((0.5, 0.6, 0.8)):
        view(RoundEnded("k1", r, 4, 0.5, {"ecg": v}, 11_000_000, 12_000_000, 4.14))
    view(RunEnded("k2", "cached", 0.0, {("aggregated", "ecg"): 0.81234, ("other", "ecg"): 0.1}))
    view(RunEnded("k3", "failed", 9.0, {}, "loss became [nan] in round 7"))


def test_plain_lines_are_timestamped_one_per_event_and_uncut():
    out = paper()
    with ui.SweepView("sweep", CELLS, console=out) as view:
        assert view.plain
        feed(view)
    lines = out.file.getvalue().splitlines()
    assert len(lines) == 6
    assert all(re.match(r"\d\d:\d\d:\d\d \w", line) for line in lines)
    text = out.file.getvalue()
    assert "\x1b" not in text
    assert "round   fedavg_s · ecg: 3/4 loss 0.5000 valid ecg .800 up 11.0 MB down 12.0 MB 4.1 s" in text
    assert "failed  fedavg_s · lung in 0:09: loss became [nan] in round 7" in text
    assert "cached  fedavg_m · 2 tasks in 0:00: aggregated/ecg .812 other/ecg .100" in text


def test_no_color_means_plain(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert ui.SweepView("s", CELLS, console=terminal()).plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert not ui.SweepView("s", CELLS, console=terminal()).plain
    assert ui.SweepView("s", CELLS, console=terminal(), plain=True).plain


def test_grid_shows_glyphs_scores_rounds_and_reasons():
    view = ui.SweepView("sweep demo", CELLS, console=terminal(), plain=False)
    assert view.counts() == {"waiting": 3}
    with view:
        feed(view)
        text = drawn(view)
    assert re.search(r"fedavg_s +◐ 3/4 +✕ failed", text)
    assert re.search(r"fedavg_m +↺ \.812 +↺", text)
    assert "2/3 runs" in text
    assert "▁▃█ valid .800" in text
    assert "↑ 11.0 MB 4.1 s/round" in text
    assert "✕ fedavg_s · lung: failed: loss became [nan] in round 7" in text
    assert "○ waiting" in text
    assert max(map(len, text.splitlines())) <= 100
    view(RunEnded("k1", "ok", 10.0, {("aggregated", "ecg"): 0.9}))
    assert "● .900" in drawn(view)
    assert view.left() == 0


def test_seeds_of_a_cell_stand_side_by_side():
    view = ui.SweepView("s", {"a": [("x", "t")], "b": [("x", "t")]}, console=terminal(), plain=False)
    view(RunEnded("a", "ok", 1.0, {("aggregated", "t"): 0.6}))
    view(RunEnded("b", "ok", 1.0, {("aggregated", "t"): 0.8}))
    assert "●● .700" in drawn(view)


def test_a_key_that_is_not_on_the_board_is_no_error():
    view = ui.SweepView("s", CELLS, console=terminal(), plain=False)
    view(RunStarted("other", 3))
    assert "other" in drawn(view)


def test_run_and_prepare_views():
    view = ui.RunView("fedavg_s", console=terminal(), plain=False)
    with view:
        view(RunStarted("k", 4, first_round=1))
        view(RoundEnded("k", 1, 4, 0.5, {"ecg": 0.7}, 5, 5, 0.1))
        assert "round 2/4" in drawn(view)
        view(RunEnded("k", "failed", 1.0, {}, "boom"))
        assert "✕ boom" in drawn(view)
    prepare = ui.PrepareView("ptbxl", console=terminal(), plain=False)
    with prepare:
        prepare(1234, 5000, "reading [x]")
        assert "1,234/5,000" in drawn(prepare)
        assert "reading [x]" in drawn(prepare)
    out = paper()
    with ui.PrepareView("ptbxl", console=out) as prepare:
        for i in range(1001):
            prepare(i, 1000, "reading")
    assert len(out.file.getvalue().splitlines()) == 11


def test_print_table(capsys):
    rows = [["a", 1, ["x", "y"]], ["b|[red]", None, "two\nlines"]]
    ui.print_table("T", ["name", "n", "z"], rows, json=True)
    assert json.loads(capsys.readouterr().out)[0] == {"name": "a", "n": 1, "z": ["x", "y"]}
    out = paper()
    ui.print_table("T", ["name", "n", "z"], rows, console=out)
    assert out.file.getvalue() == "name\tn\tz\na\t1\tx, y\nb|[red]\t–\ttwo lines\n"
    out = terminal()
    ui.print_table("T", ["name", "n", "z"], rows, console=out)
    assert "b|[red]" in out.file.getvalue()


@pytest.mark.parametrize(
    ("values", "wanted"), [([], ""), ([0.5, 0.5], "▄▄"), ([0, 1], "▁█"), ([float("nan"), 1.0, 2.0], "▁█")]
)
def test_sparkline(values, wanted):
    assert ui.sparkline(values) == wanted


def test_small_words():
    assert [ui.clock(s) for s in (7, 723, 3729, float("inf"))] == ["0:07", "12:03", "1:02:09", "–"]
    assert [ui.size(n) for n in (12, 11_200_000, 4e12)] == ["12 B", "11.2 MB", "4000.0 GB"]
    assert [ui.score(v) for v in (0.8125, 1.0, -0.25, None)] == [".812", "1.000", "-.250", "–"]
