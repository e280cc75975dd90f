"""The page answers "is my method better?": all partitions in one view, settings, saturation, every definition once."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise

import pytest
from board_fakes import TASKS, algorithm, board, cells, judged, record, scored

from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.errors import UsageError
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.leaderboard.names import Names, svg_name
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.plots.labels import spread, within
from fedmeki_bench.records.store import RecordStore

LABELS = ["iid", "dirichlet alpha 0.3"]
STRENGTH = {("fedavg_s", 0): 0.8, ("fedavg_s", 1): 0.8, ("fedprox_s", 0): 6.0, ("fedprox_s", 1): 6.0,
            ("fedavg_m", 0): 0.8, ("fedavg_m", 1): -6.0, ("majority", 0): 0.0, ("majority", 1): 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Two partitions: FedProx is better under both, FedAvg_m worse under the second alone."""
    store = RecordStore(tmp_path_factory.mktemp("split"))
    rows = [algorithm("majority", view="constant"), algorithm("fedavg_s"),
            algorithm("fedprox_s", options=(("mu", 0.01),)), algorithm("fedavg_m")]  # fmt: skip
    made = []
    for number, label in enumerate(LABELS):
        for row in rows:
            for task in TASKS:
                for seed in (0, 1, 2):
                    cell = Cell(row, task, seed, f"{row.name}-{task}-{seed}-{number}", partition=label)
                    scored(store, cell, strength=STRENGTH[row.name, number])
                    made.append(cell)
    toy = board(seeds=[0, 1, 2], partitions=["iid", {"dirichlet": {"alpha": 0.3}}], reference="fedavg_s",
                algorithms=[row.name for row in rows], options={"local_epochs": 1})  # fmt: skip
    return toy, made, store


def test_all_partitions_stand_in_one_view_with_the_numbers_of_their_sections(split):
    page = page_of(*split)
    assert [c.header for c in page.overview.columns] == [
        "iid: Mean AUROC", "iid: against Fedavg_s", "dirichlet alpha 0.3: Mean AUROC",
        "dirichlet alpha 0.3: against Fedavg_s", "In all",
    ]  # fmt: skip
    shown = {row.algorithm.name: row.entries for row in page.overview.rows}
    assert shown["fedprox_s"][-1].text == "better in both"
    assert shown["fedavg_m"][-1].text == "undecided in 1, worse in 1"
    assert shown["fedavg_s"][1].text == "reference"
    for number, section in enumerate(page.sections):
        place = [c.key for c in section.table.columns].index("mean")
        for row in section.table.rows:
            assert shown[row.algorithm.name][2 * number] == row.entries[place]
        differences = {row.algorithm.name: row.entries[0] for row in section.differences.rows}
        assert shown["fedprox_s"][2 * number + 1] == differences["fedprox_s"]
    assert page.tables[0] is page.overview


def test_what_holds_everywhere_is_said_first(split):
    page = page_of(*split)
    assert page.across == (
        "Better than Fedavg_s under both: Fedprox_s; worse than Fedavg_s under dirichlet alpha 0.3 alone: Fedavg_m."
    )
    text = {name: content.decode() for name, content in render(page, ["md", "html"]).items()}
    for content in text.values():
        assert content.index("What was found") < content.index("under both") < content.index("In one view")
        assert content.index("under both") < content.index("profile" if "<html" in content else "Profile **")
    assert '<li class="better"><b>1</b> better' in text["leaderboard.html"]


def test_a_board_with_one_section_has_no_view_of_several(tmp_path):
    page = page_of(*judged(tmp_path, [0]))
    assert page.overview is None
    assert page.across == ""


@pytest.mark.slow
def test_every_definition_stands_once_in_every_format(split):
    page = page_of(*split)
    for content in render(page, ["md", "html", "tex"]).values():
        text = content.decode()
        for said in ("neither is a test", "on the same seeds and patients. All intervals"):
            assert text.count(said) == 1, said
    html = render(page, ["html"])["leaderboard.html"].decode()
    assert html.count("A larger gap deserves a look") == 1
    terms = [term for term, _ in page.terms]
    assert len(set(terms)) == len(terms)
    for table in page.tables:
        for column in table.columns:
            term = column.header if column.term is None else column.term
            assert not term or term in terms
        assert not {meaning for _, meaning in table.definitions} & set(table.notes)


def test_one_banner_per_page_and_one_mark_per_table(split):
    page = page_of(*split)
    text = {name: content.decode() for name, content in render(page, ["md", "html"]).items()}
    assert all(content.count("come from generated stand-in data") == 1 for content in text.values())
    stamped = sum("SYNTHETIC" in table.stamps for table in page.tables)
    assert stamped == len(page.tables) - 1  # settings are no numbers
    assert text["leaderboard.html"].count('<span class="stamp">SYNTHETIC</span>') == stamped + 1
    assert text["leaderboard.md"].count("(SYNTHETIC)") == stamped + 1
    assert not re.search(r"<figure.*?</figure>", text["leaderboard.html"], re.DOTALL)[0].count("SYNTHETIC")


def test_settings_of_a_row_are_shown_and_none_is_called_tuned(split):
    toy, made, store = split

    def changed(record):
        if record.algorithm == "fedavg_m":
            raise UsageError("not installed here")
        return {"profile.local_epochs": 1, "partition.alpha": 0.3}

    page = page_of(toy, made, store, Context(changed=changed))
    shown = {r.algorithm.name: [e.text for e in r.entries] for r in page.settings.rows}
    assert shown["fedprox_s"][2:] == ["mu 0.01, local_epochs 1", "row and board"]
    assert shown["fedavg_s"][2:] == ["local_epochs 1", "board"]
    assert shown["fedavg_m"][2:] == ["unknown here", "–"]
    assert "none is called tuned" in dict(page.terms)["Tuning"]
    assert any("The board sets for all rows: local_epochs 1" in note for note in page.settings.notes)
    html = render(page, ["html"])["leaderboard.html"].decode()
    assert '<span class="size">mu 0.01</span>' in html
    nothing = page_of(toy, made, store, Context(changed=lambda record: {}))
    (row,) = [r for r in nothing.settings.rows if r.algorithm.name == "fedavg_s"]
    assert [e.text for e in row.entries][2:] == ["nothing", "defaults"]


def test_parameters_that_all_stages_share_are_said_once():
    rows = [algorithm("a_s_star"), algorithm("b_s_star")]
    made = cells(rows, TASKS[:1], [0])
    params = [{"stage": {"lr": 0.1, "rank": rank}, "rule": {"mu": 1.0}} for rank in (4, 8)]
    found = [record(c, {"auroc": 0.6}, params=p) for c, p in zip(made, params, strict=True)]
    settings = page_of(board(tasks=TASKS[:1], algorithms=["a_s_star", "b_s_star"]), made, found).settings
    assert [r.entries[1].text for r in settings.rows] == ["star: rank 4", "star: rank 8"]
    assert [r.entries[0].text for r in settings.rows] == ["a: mu 1.0", "b: mu 1.0"]
    assert settings.notes == ("The same in every server stage that has it: lr 0.1.",)


def test_headers_say_how_many_test_patients(split):
    page = page_of(*split)
    assert page.main.columns[0].size == "40 samples of 30 groups"
    text = {name: content.decode() for name, content in render(page, ["md", "html", "tex"]).items()}
    assert "<br>40 samples of 30 groups |" in text["leaderboard.md"]
    assert '<span class="size">40 samples of 30 groups</span>' in text["leaderboard.html"]
    assert "60 patients" in text["leaderboard.tex"]  # of the mean, by the predictions


@pytest.mark.parametrize(
    ("values", "margins", "wanted"),
    [
        ((0.995, 0.991), {}, True),
        ((0.995, 0.985), {}, False),  # they can differ by more than the margin
        ((0.995, 0.985), {"auroc": 0.02}, True),
        ((0.995, None), {}, False),  # one competitor separates nothing from nothing
    ],
)
def test_a_column_is_saturated_where_no_difference_can_matter(values, margins, wanted):
    rows = [algorithm("majority"), algorithm("fedavg_s"), algorithm("fedprox_s")]
    made = cells(rows, TASKS[:1], [0])
    found = [
        record(c, {"auroc": v}) for c, v in zip(made, (0.5, *values), strict=True) if v is not None
    ]  # fmt: skip
    page = page_of(board(tasks=TASKS[:1], margins=margins), made, found)
    assert (page.main.columns[0].mark == "saturated") == wanted
    assert ("Saturated" in dict(page.terms)) == wanted
    for content in render(page, ["md", "html", "tex"]).values():
        assert ("saturated" in content.decode()) == wanted


def test_names_are_typeset_in_sentences_and_pictures(split):
    html = render(page_of(*split), ["html"])["leaderboard.html"].decode()
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert figures
    for figure in figures:
        assert not re.search(r"<text[^>]*>[^<]*Fed\w+_[sm]", figure)
    assert any(svg_name(algorithm("fedprox_s")) in figure for figure in figures)
    assert "Better than Fedavg<sub>s</sub> under both: Fedprox<sub>s</sub>" in html
    names = Names([algorithm("a_s"), algorithm("a_s", sup="F"), algorithm("b")])
    kinds = [part if isinstance(part, str) else part.title for part in names.parts("xA_s, A_s^F and A_s; A_s2")]
    assert kinds == ["xA_s, ", "A_s^F", " and ", "A_s", "; A_s2"]


def test_every_dot_of_traffic_and_every_site_has_its_name(split):
    html = render(page_of(*split), ["html"])["leaderboard.html"].decode()
    traffic = next(f for f in re.findall(r"<figure>.*?</figure>", html, re.DOTALL) if "Communication and" in f)
    for name in ("fedavg_s", "fedprox_s", "fedavg_m"):
        assert svg_name(algorithm(name)) in traffic
    sites = next(f for f in re.findall(r"<figure>.*?</figure>", html, re.DOTALL) if "<h3>Sites" in f)
    assert re.search(r">A</text>.*>B</text>", sites, re.DOTALL)


def test_names_move_apart_and_stay_near():
    assert spread([0.5, 0.1, 0.9], 0.1) == pytest.approx([0.5, 0.1, 0.9])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    placed = spread([0.3, 0.31, 0.32, 0.9], 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(placed))
    inside = within([-0.2, -0.1, 1.1], 0.1)
    assert inside == pytest.approx([0.05, 0.15, 0.95])


def test_latex_needs_booktabs_alone_and_compiles(split, tmp_path):
    evil = 'ü ± \u4e2d \u26a0 § \u00b6 \\x{1} _^~ " < | [1] *'
    toy, made, store = split
    text = render(page_of(toy.model_copy(update={"title": evil}), made, store), ["tex"])["leaderboard.tex"].decode()
    assert r"\resizebox" not in text
    assert r"Needs \usepackage{booktabs} and nothing else" in text
    found = shutil.which("pdflatex")
    if found is None:
        pytest.skip("no pdflatex on this machine (Debian: apt-get install texlive-latex-recommended)")
    (tmp_path / "board.tex").write_text(text)
    paper = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{board}\n\\end{document}\n"
    (tmp_path / "paper.tex").write_text(paper)
    ended = subprocess.run([found, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path,
                           capture_output=True, text=True, errors="replace", timeout=120)  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert "Overfull" not in ended.stdout
