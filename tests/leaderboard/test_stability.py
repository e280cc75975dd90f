"""The analysis ``stability``: the same from a page and from its CSV, screening, claims, and strange tables."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from board_fakes import board, judged

from fedmeki_bench.boards.claims import claim_of
from fedmeki_bench.errors import InputError
from fedmeki_bench.leaderboard.build import build, page_of
from fedmeki_bench.leaderboard.studies.stability import study_of
from fedmeki_bench.leaderboard.studies.worlds import worlds_of_board, worlds_of_csv

RULES = Path(__file__).parents[2] / "leaderboards" / "generated" / "rules" / "leaderboard.csv"
CLAIMS = ["fedprox_s > fedavg_s", "central >= fedavg_s - 0.5 on ecg_abnormal", {"best": "fedavg_m"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board with claims, its page, and the CSV it was written to."""
    root = tmp_path_factory.mktemp("stability")
    toy, cells, store = judged(root / "results", [0, 1, 2])
    asked = board(**(toy.model_dump() | {"analysis": ["stability"], "claims": CLAIMS}))
    build(asked, cells, store, root / "out", formats=("csv", "html", "md"))
    return asked, page_of(asked, cells, store), root / "out"


def test_claims_are_judged_in_every_seed(made):
    """The planted order: FedProx is a little better, pooled training far, the weak row never the best."""
    _, page, _ = made
    (study,) = page.studies
    found = {one["claim"]: one for one in study.content["claims"]}
    assert found["best: fedavg_m"]["failed"] == 3
    assert found["central >= fedavg_s - 0.5 on ecg_abnormal"]["held"] == 3
    assert sum(found["fedprox_s > fedavg_s"][word] for word in ("held", "tied", "failed")) == 3
    assert "3 different ways" in study.verdict[0]
    assert [world["place"] for world in study.content["worlds"]] == [{"seed": f"seed {s}"} for s in range(3)]


def test_a_published_table_alone_gives_the_same(made):
    """Numbers have six decimals there, which turns no claim."""
    asked, page, out = made
    alone = study_of(worlds_of_csv(out / "leaderboard.csv"), asked.claims_made)
    (study,) = page.studies
    assert alone.content["claims"] == study.content["claims"]
    assert alone.content["pairs"] == pytest.approx(study.content["pairs"])
    assert [w["winners"] for w in alone.content["worlds"]] == [w["winners"] for w in study.content["worlds"]]


def test_a_task_without_signal_is_left_out_by_name(made):
    """Where pooled training does not beat learning nothing, no claim is judged; the note says where and why."""
    asked, page, _ = made
    worlds = worlds_of_board(asked, page.collected, page.facts)
    weak = {**worlds.numbers, ("central", "ecg_abnormal"): worlds.numbers["majority", "ecg_abnormal"]}
    silenced = replace(worlds, numbers=weak)
    assert {task for task, _ in silenced.silent} == {"ecg_abnormal"}
    study = study_of(
        silenced, [claim_of("central >= fedavg_s - 0.5 on ecg_abnormal"), claim_of("fedprox_s > fedavg_s")]
    )
    first, second = study.content["claims"]
    assert first["verdicts"] == ["left out"] * 3
    assert second["worlds"] == 3
    assert any("Left out: " in note and "seed 0" in note for note in study.notes)
    assert not study_of(worlds, []).content["silent"]


def test_the_committed_rules_board_has_many_winners():
    """The finding that the analysis was made for; without claims, they are read off the base and the page says so."""
    study = study_of(worlds_of_csv(RULES))
    assert len({row for world in study.content["worlds"] for row in world["winners"]}) == 7
    assert study.content["pairs"]["pairs"] == 57 * 56 // 2 - 3  # three pairs have equal values everywhere
    assert "chosen after the fact" in study.tables[0].notes[0]


def test_pictures_are_drawn_on_the_page(made):
    """The claims first; marks are told apart by shape, and names are typeset."""
    _, page, out = made
    titles = [picture.title for picture in page.studies[0].draw()]
    assert titles == [
        "Each claim in every world",
        "What patients and what choices leave open",
        "What moves the numbers",
    ]
    text = (out / "leaderboard.html").read_text()
    assert text.index("Each claim in every world") < text.index('id="t-main"')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "no column 'algorithm'"),
        ("algorithm,task,partition,seed,metric,value,low,high\n", "holds no row"),
        ("algorithm,task,partition,seed,metric,value,low,high\na,t,iid,0,auroc,high,,\n", ":2: value is 'high'"),
        ("algorithm,task,partition,seed,metric,value,low,high\na,t,iid,0,luck,0.5,,\n", "metric 'luck' is unknown"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path, content, said):
    """In one sentence that names the file."""
    path = tmp_path / "leaderboard.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        worlds_of_csv(path)
    with pytest.raises(InputError, match="there is no such file"):
        worlds_of_csv(tmp_path / "none.csv")


def test_the_command_needs_no_torch(tmp_path):
    """From a published table alone, in a process of its own."""
    import json
    import subprocess
    import sys

    table = shutil.copy(RULES, tmp_path)
    code = (
        "import sys\nfrom fedmeki_bench.cli.main import main\n"
        f"main(['stability', {str(table)!r}, '--json'])\nassert 'torch' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(said.stdout)["content"]["pairs"]["median"] == pytest.approx(0.75)


def table(tmp_path, values, metric="auroc"):
    """A published table: row -> its values per seed of one task; None where there is none."""
    lines = ["algorithm,task,partition,seed,metric,value,low,high,key,reason"]
    for row, found in values.items():
        for seed, value in enumerate(found):
            told = f"{metric},{value},,,{row}-{seed}," if value is not None else f",,,,{row}-{seed},failed: diverged"
            lines.append(f"{row},ecg_abnormal,iid,{seed},{told}")
    path = tmp_path / "leaderboard.csv"
    path.write_text("\n".join(lines) + "\n")
    return worlds_of_csv(path)


def test_nobody_wins_by_anothers_failure(tmp_path):
    """Where a competitor has no number nobody is first; claims about the others stand, and the cell is named."""
    worlds = table(tmp_path, {"a": [0.9, 0.9], "b": [0.8, 0.8], "c": [0.95, None]})
    study = study_of(worlds, [claim_of({"best": "a"}), claim_of("a > b"), claim_of("c > b")])
    best, pair, lacking = study.content["claims"]
    assert best["verdicts"] == ["failed", "undefined"]
    assert pair["verdicts"] == ["held", "held"]
    assert lacking["verdicts"] == ["held", "undefined"]
    assert [world["winners"] for world in study.content["worlds"]] == [["c"], []]
    assert "Done in one way (1 more could not be decided)" in study.verdict[0]
    assert any("c on ecg_abnormal" in note and "diverged" in note for note in study.notes)


def test_lower_is_better_and_one_row_is_no_comparison(tmp_path):
    """A task scored by its mean absolute error is won by the smaller one."""
    study = study_of(table(tmp_path, {"a": [3.0, 3.5], "b": [4.0, 4.5]}, metric="mae"), [claim_of("a > b")])
    assert study.content["claims"][0]["held"] == 2
    assert "same winner every time: a" in study.verdict[0]
    assert "no two competitors" in study_of(table(tmp_path, {"a": [0.9, 0.8]})).verdict[0]


def test_an_axis_of_one_row_is_read_from_that_row(tmp_path):
    """Options of a single row move nobody else: the others' runs are the same, and their range of 0 says nothing."""
    lines = ["algorithm,task,partition,seed,metric,value,low,high,key,axis prompt"]
    for point, value in (("base", 0.9), ("wording 1", 0.5)):
        lines.append(f"kim,ecg_abnormal,{point},0,auroc,{value},,,kim {point},{point}")
        lines += [f"{row},ecg_abnormal,{point},0,auroc,0.8,,,{row},{point}" for row in ("a", "b")]
    path = tmp_path / "leaderboard.csv"
    path.write_text("\n".join(lines) + "\n")
    study = study_of(worlds_of_csv(path))
    (moved,) = study.content["moves"]
    assert moved["range"] == pytest.approx(0.4)
    rows = next(table.rows for table in study.tables if table.key == "moves")
    assert rows[0].name == "prompt (of kim alone)"


def test_a_table_of_other_kinds_of_tasks_is_read():
    """Metrics are looked up among all that are installed; a task whose metric is not is named."""
    radbench = RULES.parents[1] / "radbench" / "leaderboard.csv"
    assert not study_of(worlds_of_csv(radbench)).verdict[0].startswith("error")
    assert not worlds_of_csv(radbench).unread
