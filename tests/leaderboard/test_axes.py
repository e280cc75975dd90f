"""Axes of a board: how they are written, which points a design has, and what a page shows of them."""

from __future__ import annotations

from collections import Counter

import pytest
from board_fakes import TASKS, algorithm, record

from fedmeki_bench.boards.axes import points_of, size_of
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.boards.edit import Change, with_changes
from fedmeki_bench.boards.federations import federations_of
from fedmeki_bench.boards.loading import board_from, load_board
from fedmeki_bench.boards.rows import TunedSpec
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.build import render
from fedmeki_bench.leaderboard.collect import collect
from fedmeki_bench.leaderboard.page import make_page

HEAD = """\
name: study   # of choices
profile: demo
tasks: [ecg_abnormal]
algorithms: [majority, fedavg_s, fedprox_s]
"""
AXES = """\
axes:
  seed: [0, 1]   # luck
  partition: [iid, {dirichlet: {alpha: 0.3}}]
  split:
    - {prepare: {split_seed: 42}}   # as published
    - {prepare: {split_seed: 43}}
"""
CUBE = {
    "seed": [0, 1], "partition": ["iid", {"dirichlet": {"alpha": 0.3}}],
    "split": [{"prepare": {"split_seed": 42}}, {"prepare": {"split_seed": 43}}],
}  # fmt: skip


def load(tmp_path, text: str) -> Board:
    (tmp_path / "study.yaml").write_text(text)
    return load_board(tmp_path / "study.yaml")


def labels(board: Board) -> list[str]:
    return [point.label for point in board.points]


def test_one_at_a_time_has_four_points_and_all_combinations_are_eight(tmp_path):
    board = load(tmp_path, HEAD + AXES)
    assert labels(board) == ["base", "seed 1", "dirichlet alpha 0.3", "split_seed 43"]
    assert [point.seeds for point in board.points] == [(0,), (1,), (0,), (0,)]
    assert board.seeds == [0]
    assert [point.partition for point in board.points] == ["iid", "iid", "dirichlet", "iid"]
    assert board.points[3].preparation == (("split_seed", 43),)
    every = load(tmp_path, HEAD + AXES + "design: factorial\n")
    assert len(set(labels(every))) == 8
    assert labels(every)[0] == "base"
    assert labels(every)[-1] == "seed 1, dirichlet alpha 0.3, split_seed 43"


def test_a_sample_is_the_same_for_the_same_seed_and_holds_the_base():
    axes = {name: list(range(5)) for name in ("a", "b", "c")}

    def drawn(seed: int, n: int = 30) -> list[str]:
        return labels(board_from(_keys(axes=axes, design={"sample": n, "seed": seed}, seeds=[0])))

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0)[0] == drawn(1)[0] == "base"
    assert len(set(drawn(0))) == 30
    assert len(set(drawn(0, 999))) == 125  # there are no more
    counts = Counter(label for seed in range(300) for label in drawn(seed, 26)[1:])
    assert len(counts) == 124  # every other combination is drawn by some seed,
    assert max(counts.values()) < 2 * min(counts.values())  # and none rather than others


def _keys(**more):
    keys = {"name": "study", "profile": "demo", "tasks": ["ecg_abnormal"], "algorithms": ["majority", "fedprox_s"]}
    return keys | more


def test_seeds_of_a_board_are_those_of_every_point_and_an_axis_of_seeds_replaces_them():
    board = board_from(_keys(seeds=[3, 4], axes={"lr": [0.001, 0.002]}))
    assert [(point.label, point.seeds, point.settings) for point in board.points] == [
        ("base", (3, 4), (("lr", 0.001),)), ("lr 0.002", (3, 4), (("lr", 0.002),)),
    ]  # fmt: skip
    assert board_from(board.model_dump(mode="json")).points == board.points
    cube = board_from(_keys(axes=CUBE))
    assert board_from(cube.model_dump(mode="json")).points == cube.points


def test_a_value_may_change_what_is_prepared_and_what_is_expected_of_it_together():
    sizes = [{"image_size": n, "prepare": {"image_size": n}} for n in (64, 48)]
    point = board_from(_keys(seeds=[0], axes={"picture": sizes})).points[1]
    assert point.label == "image_size 48"
    assert point.settings == point.preparation == (("image_size", 48),)


def test_faults_have_the_points_each():
    board = board_from(_keys(seeds=[0], faults={"honest": {}, "lost": {"lose": 0.2}}, axes={"lr": [0.1, 0.2]}))
    assert labels(board) == ["honest, base", "honest, lr 0.2", "lost, base", "lost, lr 0.2"]


def test_a_board_without_axes_is_written_as_ever():
    board = board_from(_keys(seeds=[0, 1], partitions=["iid", "natural"]))
    assert not {"axes", "design"} & set(board.model_dump())
    assert labels(board) == [choice.label for choice in board.federations] == ["iid", "natural"]
    assert not any(point.place for point in board.points)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ("axes: {seed: [0, 1]}\nseeds: [0, 1]\n", "study.yaml:5: axes.seed: give either seeds or an axis seed"),
        ("axes: {partition: [iid, natural]}\npartition: iid\nseeds: [0]\n", "5: .*give either partition or an axis"),
        ("axes: {partition: [iid, natural]}\npartitions: [iid]\nseeds: [0]\n", "give either partition or an axis"),
        ("seeds: [0]\naxes:\n  lr:\n    - 0.1\n    - 0.1\n", r"study.yaml:9: axes.lr.1: 'lr 0.1' is listed twice"),
        ("seeds: [0]\naxes:\n  lr: [0.1]\n", r"study.yaml:7: axes.lr: an axis has two values at least"),
        ("seeds: [0]\naxes:\n  a: [{lr: 1}, {lr: 2}]\n  lr: [3, 4]\n", "study.yaml:8: axes.lr: lr is decided by .* a"),
        ("axes: {seed: [0, true]}\n", "axes.seed.1: a seed is a number"),
        ("seeds: [0]\naxes: {partition: [iid, {dirichlet: 3}]}\n", "axes.partition.1: a partition is a name"),
        ("seeds: [0]\naxes: {s: [{}, {prepare: {split_seed: 43}}]}\n", "axes.s.0: it does not say with which split_s"),
        ("seeds: [0]\naxes: {s: [{prepare: {a: ../b}}, {}]}\n", "axes.s.0: a is to be a number, a word"),
        ("seeds: [0]\naxes: {s: [{seed: 3}, {}]}\n", "axes.s.0: the values of seed are an axis of that name"),
        ("seeds: [0]\naxes: {s: [{rows: {fedprx_s: {mu: 1}}}, {}]}\n", "yaml:6: 'fedprx_s' is not among .*'fedprox_s'"),
        ("seeds: [0]\ndesign: factorial\n", "design: a design is one of axes"),
        ("seeds: [0]\naxes: {lr: [1, 2]}\ndesign: {sampel: 3}\n", "study.yaml:7: design: a design is"),
        ("seeds: [0]\naxes: {lr: [1, 2]}\ndesign: {sample: 0}\n", "study.yaml:7: design: a design is"),
        ("seeds: [0]\naxes: {lr: [1, 2]}\ndesign: factoral\n", "study.yaml:7: design: a design is one_at_a_time, f"),
        ("seeds: [0]\naxes: {lr: 3}\n", "study.yaml:6: axes.lr: Input should be a valid list"),
        ("profil: 3\n", "unknown key"),
        ("axes: {lr: [1, 2]}\n", "key 'seeds' is missing"),
        ("axes: &a {lr: [1, 2]}\nseeds: [0]\ngroups: *a\n", "alias"),
    ],
)
def test_errors_name_the_place(tmp_path, axes, says):
    with pytest.raises(InputError, match=says) as caught:
        load(tmp_path, HEAD + axes)
    assert "\n" not in str(caught.value)


def test_a_design_has_a_largest_size():
    axes = {f"a{i}": list(range(10)) for i in range(5)}
    assert size_of(axes, "factorial") == 100_000
    with pytest.raises(InputError, match="has 100000 points; 10000 are the most: draw a sample"):
        board_from(_keys(seeds=[0], axes=axes, design="factorial"))
    assert len(points_of(axes, "one_at_a_time", federations_of(["iid"], {}), [0])) == 1 + 5 * 9


def test_editing_rows_leaves_axes_and_their_comments_alone(tmp_path):
    before = HEAD + AXES
    tuned = TunedSpec(over={"lr": [0.01]}, trials=1, split="valid")
    after = with_changes(before, [Change(1, {"lr": 0.01}, tuned)], where="study.yaml")
    assert after.endswith(AXES)
    assert load(tmp_path, after).points == load(tmp_path, before).points


def study(**more) -> tuple[Board, list[Cell]]:
    """Two rows, one of them bound, at the points of a cube; the settings don't say how data were prepared."""
    board = board_from(_keys(algorithms=["majority", "fedavg_s"], axes=CUBE, **more))
    rows = [algorithm("majority", view="constant"), algorithm("fedavg_s")]
    return board, [
        Cell(row, TASKS[0], point.seeds[0], f"{row.name}-{point.partition}-{point.seeds[0]}", "", point.label,
             point.preparation)
        for point in board.points for row in rows
    ]  # fmt: skip


def made(cell: Cell, value: float, split_seed: int, **changes):
    options = {"split": "patient", "split_seed": split_seed}
    cohort = {"name": "ptbxl", "task": cell.task, "card": f"c{split_seed}", "synthetic": True, "options": options}
    key = f"{cell.setting}-{split_seed}"
    return record(cell, {"auroc": value}, **{"key": key, "cohorts": [cohort], **changes})


def records(cells: list[Cell]) -> list:
    """A value per point: 0.7, and more by 0.01 for the second seed, 0.02 the partition, 0.04 the split."""
    found = []
    for cell in cells:
        split_seed = dict(cell.preparation)["split_seed"]
        moved = 0.01 * cell.seed + 0.02 * ("dirichlet" in cell.setting) + 0.04 * (split_seed == 43)
        found.append(made(cell, 0.5 if cell.algorithm.bound else 0.7 + moved, split_seed))
    return found


def test_each_cell_has_the_record_of_its_preparation():
    _, cells = study(design="factorial")
    found = collect(cells, records(cells))
    assert not found.remarks
    for outcome in found.outcomes:
        assert outcome.record is not None
        assert outcome.record.cohorts[0].options["split_seed"] == dict(outcome.cell.preparation)["split_seed"]
        assert not outcome.other  # other data than the base's are what the point is about
    assert len({o.record.key for o in found.outcomes if o.record}) == len(cells)


def test_a_record_of_another_preparation_is_never_shown():
    _, cells = study(design="factorial")
    every = records(cells)
    kept = [r for r in every if r.cohorts[0].options["split_seed"] == 42]
    stray = [made(cells[0], 0.9, 44), made(cells[0], 0.9, 42, key="untold", cohorts=[
        {"name": "ptbxl", "task": TASKS[0], "card": "c", "synthetic": True}])]  # fmt: skip
    outcomes = collect(cells, [*kept, *stray]).outcomes
    for outcome in outcomes:
        there = dict(outcome.cell.preparation)["split_seed"] == 42
        assert outcome.status == ("ok" if there else "missing")
        assert outcome.record is None or outcome.record.cohorts[0].card == "c42"
    # the control: cells that do not say how data are prepared take whatever has their setting
    blind = [Cell(c.algorithm, c.task, c.seed, c.setting, partition=c.partition) for c in cells]
    assert all(outcome.status == "ok" for outcome in collect(blind, kept).outcomes)


def shown(page, key: str) -> dict[str, list[str]]:
    (table,) = [t for t in page.sections[0].axes if t.key == key]
    return {row.algorithm.name: [entry.text for entry in row.entries] for row in table.rows}


def test_a_page_shows_the_base_and_how_rows_move():
    board, cells = study()
    page = make_page(board, collect(cells, records(cells)))
    assert [section.title for section in page.sections] == ["Main metrics, base"]
    assert {o.cell.partition for o in page.sections[0].grid.collected.outcomes} == {"base"}
    assert shown(page, "axis1")["fedavg_s"] == ["0.700", "0.710", "0.010 [0.700, 0.710]"]
    assert shown(page, "axis2")["fedavg_s"] == ["0.700", "0.720", "0.020 [0.700, 0.720]"]
    assert shown(page, "axis3")["fedavg_s"] == ["0.700", "0.740", "0.040 [0.700, 0.740]"]
    assert shown(page, "axis3")["majority"] == ["0.500", "0.500", "0.000 [0.500, 0.500]"]
    assert len(page.rows) == len(cells)
    files = render(page, ("md", "csv", "json", "tex", "html"))
    assert b"## Along the axis split" in files["leaderboard.md"]
    assert b"4 points, one axis moved at a time" in files["leaderboard.md"]
    assert b"Along the axis split" in files["leaderboard.html"]
    head, *lines = files["leaderboard.csv"].decode().splitlines()
    assert head.endswith("other,axis seed,axis partition,axis split")
    assert sum(line.endswith(",seed 0,iid,split_seed 43") for line in lines) == 2


def test_of_a_sample_a_table_says_that_other_axes_are_not_balanced():
    board, cells = study(design={"sample": 5, "seed": 0})
    page = make_page(board, collect(cells, records(cells)))
    assert all("A sample does not balance the other axes" in table.notes[0] for table in page.sections[0].axes)


def test_of_all_combinations_the_mean_is_shown_and_a_gap_names_its_points():
    board, cells = study(design="factorial")
    every = records(cells)
    page = make_page(board, collect(cells, every))
    assert shown(page, "axis3")["fedavg_s"] == ["0.715", "0.755", "0.040 [0.715, 0.755]"]
    assert "A sample" not in page.sections[0].axes[0].notes[0]
    lost = make_page(board, collect(cells, [r for r in every if r.key != "fedavg_s-iid-1-43"]))
    assert shown(lost, "axis1")["fedavg_s"][1] == "0.737 (3 of 4 points)"
    (gap,) = lost.gaps
    assert gap.points == ("seed 1, split_seed 43",)
    assert b"seed 1 (seed 1, split_seed 43): missing" in render(lost, ("md",))["leaderboard.md"]


def test_an_axis_of_one_option_can_be_written_short():
    """As a mapping of the option to its values, or of ``prepare`` to preparations; both mean the list."""
    splits = {"prepare": [{"split_seed": 42}, {"split_seed": 43}]}
    short = board_from(_keys(seeds=[0], axes={"init": {"seed.init": [0, 1]}, "split": splits}))
    long = board_from(_keys(seeds=[0], axes={"init": [{"seed.init": 0}, {"seed.init": 1}],
                       "split": [{"prepare": {"split_seed": 42}}, {"prepare": {"split_seed": 43}}]}))  # fmt: skip
    assert [point.label for point in short.points] == [point.label for point in long.points]
    assert short.points == long.points
