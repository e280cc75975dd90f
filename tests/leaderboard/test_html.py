"""The page in a real browser: no request, no error, sorting, search, accessibility, both colour schemes."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from html.parser import HTMLParser

import pytest
from board_fakes import TASKS, algorithm, board, cells, judged, record

from fedmeki_bench.leaderboard.build import build
from fedmeki_bench.leaderboard.page import Context

EVIL = "<script>document.title='owned'</script>"
VOID = {"meta", "input", "link", "br", "img", "hr"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A board with several seeds, sites, an incomplete row and a method whose name is markup, as HTML and CSV."""
    root = tmp_path_factory.mktemp("page")
    toy, made, store = judged(root / "results", [0, 1, 2])
    evil = cells([algorithm("evil", base=EVIL, sub="s", sup="*")], TASKS, [0, 1, 2])
    store.write(record(evil[0], {"auroc": 0.55, "f1": 0.5}))
    toy = board(**(toy.model_dump() | {"algorithms": [*toy.algorithms, "evil"], "title": f"Toy {EVIL}"}))
    build(toy, [*made, *evil], store, root / "out", context=Context(command=lambda r: f"fedmeki-bench run {r.key}"))
    return root / "out"


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, folder):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.requests, page.problems = [], []
    page.on("request", lambda r: page.requests.append(r.url))
    page.on("console", lambda m: page.problems.append(m.text))
    page.on("pageerror", lambda e: page.problems.append(str(e)))
    page.goto((folder / "leaderboard.html").as_uri())
    yield page
    context.close()


class _Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [v for k in ("src", "href", "xlink:href") if (v := found.get(k))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_file_is_small_whole_and_needs_nothing(folder):
    text = (folder / "leaderboard.html").read_text()
    assert len(text.encode()) < 1_000_000
    parsed = _Parsed(text)
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert all(link.startswith("#") for link in parsed.links)
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)


def test_nothing_is_requested_and_nothing_goes_wrong(page, folder):
    assert page.requests == [(folder / "leaderboard.html").as_uri()]
    assert page.problems == []
    assert page.title() == f"Toy {EVIL} (SYNTHETIC)"  # text, not run
    assert page.locator("h1").inner_text().startswith(f"Toy {EVIL}")
    assert page.locator("#t-main tbody th.alg", has_text=EVIL).count() == 1


def test_numbers_equal_the_csv(page, folder):
    values = defaultdict(list)
    with (folder / "leaderboard.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "auroc" and row["value"]:
                values[row["algorithm"], row["task"]].append(float(row["value"]))
    shown = page.evaluate(
        "[...document.querySelectorAll('#t-main tbody tr[data-alg]')].map(r => [r.dataset.alg, "
        "r.cells[1].dataset.value, r.cells[2].dataset.value, r.cells[1].innerText])"
    )
    assert len(shown) == 6
    for name, first, second, text in shown:
        for task, value in zip(TASKS, (first, second), strict=True):
            wanted = values[name, task]
            if wanted:
                mean = sum(wanted) / len(wanted)
                assert float(value) == pytest.approx(mean, abs=2e-6)
                assert task != TASKS[0] or text.startswith(f"{mean:.3f}")
            else:
                assert value is None


def test_sorting_by_mouse_and_keyboard(page):
    def column(index):
        rows = "[...document.querySelectorAll('#t-main tbody[data-section=ranked] tr[data-alg]')]"
        return page.evaluate(f"{rows}.map(r => Number(r.cells[{index}].dataset.value))")

    header = page.locator("#t-main thead th").nth(2)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(2) == sorted(column(2), reverse=True)
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(2) == sorted(column(2))
    page.locator("#t-main thead th").first.locator("button").click()
    names = page.locator("#t-main tbody[data-section=ranked] tr[data-alg] th").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    assert page.locator("#t-main thead th[aria-sort]").count() == 1


def test_search_highlight_axis_and_download(page):
    page.locator("input[data-search='t-main']").fill("prox")
    assert page.locator("#t-main tbody tr[data-alg]:visible").count() == 1
    assert page.locator(".tools[data-for='t-main'] .shown").inner_text() == "1 of 6 rows"
    with page.expect_download() as download:
        page.locator("button[data-csv='t-main']").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Fedprox_s,")
    page.locator("input[data-search='t-main']").fill("")
    page.locator("button[data-pick='fedprox_s']").click()
    assert page.locator("#t-main tr.picked").get_attribute("data-alg") == "fedprox_s"
    assert page.locator("svg .alg.picked").count() > 3
    page.locator("button.clear").click()
    assert page.locator(".picked").count() == 0
    choices = page.locator("figure.choices").first
    assert choices.locator(".picture:visible").count() == 1
    choices.locator("label", has_text="megabytes").click()
    assert choices.locator(".picture:visible").get_attribute("id").endswith("megabytes")


def test_every_number_leads_to_its_run_and_command(page):
    link = page.locator("#t-main tr[data-alg=fedavg_s] td a").first
    link.click()
    target = page.locator(link.get_attribute("href"))
    assert "fedmeki-bench run k-fedavg_s" in target.inner_text()


def test_a_command_is_whole_without_scripts_and_copied_with_them(browser, folder):
    from playwright.sync_api import expect

    address = (folder / "leaderboard.html").as_uri()
    for scripts in (False, True):
        context = browser.new_context(java_script_enabled=scripts, viewport={"width": 700, "height": 800})
        page = context.new_page()
        page.goto(address)
        runs = page.locator("details", has=page.locator(".runs"))
        assert runs.get_attribute("open") is None
        runs.locator("summary").click()
        code = page.locator(".runs .command code").first
        command = code.inner_text()
        assert command.startswith("fedmeki-bench run k-")
        room = page.locator(".scroll", has=page.locator(".runs")).bounding_box()
        box = code.bounding_box()
        assert box["x"] + box["width"] <= room["x"] + room["width"]  # nothing is cut off at the right
        button = page.locator(".runs .copy").first
        assert page.locator(".runs .copy").count() == (page.locator(".runs tbody").count() if scripts else 0)
        if scripts:
            button.click()
            expect(button).to_have_text("Copied")  # the page forbids eval, which wait_for_function needs
            page.locator("input[data-search='t-main']").fill("")
            page.locator("input[data-search='t-main']").press("Control+V")
            assert page.locator("input[data-search='t-main']").input_value() == command
        context.close()


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_accessible_in_both_colour_schemes(browser, folder, scheme, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto((folder / "leaderboard.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page).response["violations"]
    told = [(v["id"], v["help"], [n["target"] for n in v["nodes"]][:3]) for v in found]
    assert told == []
    shot = page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    assert len(shot) > 50_000
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    context.close()


def test_complete_without_scripts_and_on_a_phone(browser, folder):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto((folder / "leaderboard.html").as_uri())
    assert page.locator("#t-main tbody tr[data-alg]:visible").count() == 6
    assert page.locator("figure.choices .picture:visible").count() == 3
    assert page.locator(".picker:visible").count() == 0
    context.close()
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto((folder / "leaderboard.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_json_and_html_come_from_one_page(folder):
    content = json.loads((folder / "leaderboard.json").read_text())
    assert content["provenance"]["sha256"] in (folder / "leaderboard.html").read_text()
