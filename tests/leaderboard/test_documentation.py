"""The PCS documentation of a board: five sections, every number with its run, reasons told or said to be lacking."""

import re
import shutil
import subprocess

import pytest

import fedmeki_bench as fb
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.workflow.stability import document_stability, gathered

BOARD = """\
name: pcs
profile: demo
seeds: [0, 1]
clients: 2
tasks: [ecg_abnormal]
algorithms: [majority, central, fedavg_m, fedprox_m]
options: {rounds: 1, local_epochs: 1}
analysis: [stability]
claims:
  - fedprox_m > fedavg_m
judgement: why.yaml
"""
SECTIONS = [
    "1. Domain problem formulation", "2. Data collection and storage", "3. Data cleaning and visualisation",
    "4. PCS inference", "5. Conclusions",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A board under version control with a file of reasons, its data and its records."""
    root = tmp_path_factory.mktemp("pcs")
    fb.synth("ptbxl", root / "raw" / "ptbxl", size=120)
    fb.prepare("ptbxl", root / "raw" / "ptbxl", root / "data", options={"hold_out": "1"})
    (root / "boards").mkdir()
    (root / "boards" / "pcs.yaml").write_text(BOARD)
    (root / "boards" / "why.yaml").write_text("domain: Cardiologists asked <b>why</b>.\nseed: Two are cheap.\n")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "A board with its claims"]):
        subprocess.run([*git, *words], cwd=root / "boards", check=True)
    fb.sweep(root / "boards" / "pcs.yaml", root / "data", results=root / "results", jobs=1)
    document_stability(gathered(root / "boards" / "pcs.yaml", root / "results"), root / "out", root / "data")
    return root


def test_all_five_sections_stand_in_both_formats(place):
    """In order, with what a person wrote escaped, and the lack of a reason said."""
    text, page = ((place / "out" / f"stability.{form}").read_text() for form in ("md", "html"))
    assert re.findall(r"^## (\d.*)$", text, flags=re.M) == SECTIONS
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == SECTIONS
    assert "Cardiologists asked &lt;b&gt;why&lt;/b&gt;." in text
    assert "Cardiologists asked &lt;b&gt;why&lt;/b&gt;." in page
    assert text.count("no reason told") == 4, "of the tasks, the metric, the held-out site and the conclusions"
    assert "Two are cheap." in text
    assert "SYNTHETIC" in page
    assert "1 is held out" in text


def test_every_number_stands_with_the_key_of_its_run(place):
    """Of all rows in all worlds; each key is a run of the board."""
    text = (place / "out" / "stability.md").read_text()
    table = text.split("### Every number with its run")[1].split("\n\n")[1]
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
    keys = {record.key for record in RecordStore(place / "results").all()}
    assert len(rows) == 8
    assert {row[3].strip() for row in rows} <= keys
    assert all(re.match(r" \d\.\d{3}", row[2]) for row in rows)


def test_a_claim_is_dated_by_the_commit_that_introduced_it(place, tmp_path):
    """One made later is told as such, and one of a board that nobody keeps is not known to be older."""
    text = (place / "out" / "stability.md").read_text()
    commit = subprocess.run(
        ["git", "log", "--format=%h"], cwd=place / "boards", capture_output=True, text=True, check=True
    ).stdout.strip()
    assert re.search(rf"fedprox_m &gt; fedavg_m \| {commit}, [\d-]+ \| yes \|", text)
    later = shutil.copytree(place / "boards", tmp_path / "boards")
    (later / "pcs.yaml").write_text(BOARD.replace("judgement", "  - best: central\njudgement"))
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam", "One more claim"]
    subprocess.run(git, cwd=later, check=True)
    document_stability(gathered(later / "pcs.yaml", place / "results"), tmp_path / "out")
    assert "no: chosen after the fact" in (tmp_path / "out" / "stability.md").read_text()
    (tmp_path / "alone.yaml").write_text(BOARD.replace("judgement: why.yaml\n", ""))
    document_stability(gathered(tmp_path / "alone.yaml", place / "results"), tmp_path / "alone")
    alone = (tmp_path / "alone" / "stability.md").read_text()
    assert "chosen after the fact, as far as can be told" in alone
    assert "No card is at hand" in alone


def test_bad_reasons_are_refused_in_a_sentence(place, tmp_path):
    """A file that is not there, and one that holds no reasons; nothing is written."""
    board = tmp_path / "pcs.yaml"
    board.write_text(BOARD)
    with pytest.raises(InputError, match=r"pcs\.yaml:11: there is no .*why\.yaml"):
        document_stability(gathered(board, place / "results"), tmp_path / "out")
    (tmp_path / "why.yaml").write_text("seed: [1, 2]\n")
    with pytest.raises(InputError, match=r"why\.yaml: reasons are texts"):
        document_stability(gathered(board, place / "results"), tmp_path / "out")
    with pytest.raises(UsageError, match="a table alone"):
        document_stability(gathered(tmp_path / "leaderboard.csv", place / "results"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_the_page_is_accessible_and_asks_nobody(place, scheme):
    """No request leaves, no error is raised, axe finds nothing."""
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_context(color_scheme=scheme, bypass_csp=True).new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((place / "out" / "stability.html").as_uri())
        violations = axe.Axe().run(page).response["violations"]
        browser.close()
    assert not [v["id"] for v in violations], [(v["id"], v["nodes"][0]["html"]) for v in violations]
    assert [url for url in asked if not url.startswith("file:")] == []
    assert not errors


@pytest.mark.slow
def test_a_run_of_every_row_is_done_again_if_asked(place, tmp_path):
    """Its predictions are identical here; of a record that was changed they are not (the control)."""
    board = place / "boards" / "pcs.yaml"
    study = fb.stability(board, place / "results", reproduce=True, data=place / "data")
    (table,) = [table for table in study.tables if table.key == "computability"]
    at = [column.key for column in table.columns].index("repeated")
    assert {row.name: row.entries[at].text for row in table.rows} == dict.fromkeys(
        ("Central", "FedAvg_m", "FedProx_m"), "identical"
    )
    with pytest.raises(UsageError, match="a table alone"):
        fb.stability(tmp_path / "leaderboard.csv", reproduce=True)
