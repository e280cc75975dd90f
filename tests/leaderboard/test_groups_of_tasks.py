"""Groups of tasks averaged apart, and what an injected model says without the data: tables worked out by hand."""

from __future__ import annotations

import pytest
from board_fakes import TASKS, algorithm, board, cells, record

from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.build import page_of

GROUPS = {"Both": TASKS, "Hearts": ["ecg_abnormal"]}
VALUES = {("ecg_abnormal", 0): 0.8, ("ecg_abnormal", 1): 0.9, ("ecg_abnormal", 2): 0.7,
          ("lung_opacity", 0): 0.6, ("lung_opacity", 1): 0.7, ("lung_opacity", 2): 0.8}  # fmt: skip


def table(page, key):
    return next((t for section in page.sections for t in section.details if t.key == key), None)


def made(seeds, **changes):
    row = algorithm("fedavg_s", **changes)
    found = cells([row], TASKS, seeds)
    return found, [record(c, {"auroc": VALUES[c.task, c.seed]}) for c in found]


def test_a_group_is_averaged_over_its_tasks_and_then_over_seeds():
    shown = table(
        page_of(board(algorithms=["fedavg_s"], seeds=[0, 1, 2], groups=GROUPS), *made([0, 1, 2])), "task_groups"
    )
    assert [c.header for c in shown.columns] == ["Both", "Hearts"]
    assert [e.text for e in shown.rows[0].entries] == [
        "0.750 ± 0.050 (0.700 to 0.800)", "0.800 ± 0.100 (0.700 to 0.900)",
    ]  # fmt: skip


def test_a_group_without_all_its_numbers_has_none_and_a_board_without_groups_no_table():
    found, records = made([0, 1, 2])
    shown = table(
        page_of(board(algorithms=["fedavg_s"], seeds=[0, 1, 2], groups=GROUPS), found, records[:-1]), "task_groups"
    )
    assert [e.text for e in shown.rows[0].entries] == ["–", "0.800 ± 0.100 (0.700 to 0.900)"]
    assert table(page_of(board(algorithms=["fedavg_s"], seeds=[0, 1, 2]), found, records), "task_groups") is None


def test_a_misspelt_task_of_a_group_is_named_with_its_line(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(
        "name: b\nprofile: demo\nseeds: [0]\ntasks: [ecg_abnormal]\nalgorithms: [fedavg_s]\n"
        "groups:\n  Hearts: [ecg_abnormol]\n"
    )
    with pytest.raises(InputError, match=r"b.yaml:7: task 'ecg_abnormol' of group 'Hearts'.*ecg_abnormal"):
        load_board(path)


def test_what_is_said_without_the_data_stands_before_and_after():
    found, records = made([0], view="foundation", stage="injection")
    for one, (before, blind) in zip(records, ((0.5, 0.5), (0.4, 0.6)), strict=True):
        seen = one.evaluations[0]
        for view, value in (("foundation_before", before), ("foundation_blind", blind)):
            other = seen.model_copy(deep=True, update={"view": view})
            other.metrics["auroc"].value = value
            one.evaluations.append(other)
    shown = table(page_of(board(algorithms=["fedavg_s"]), found, records), "unseeing")
    assert [e.text for e in shown.rows[0].entries] == ["before 0.500, after 0.500", "before 0.400, after 0.600"]
    plain, without = made([0])
    assert table(page_of(board(algorithms=["fedavg_s"]), plain, without), "unseeing") is None
