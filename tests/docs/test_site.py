"""The documentation site: built without a warning, whole, and searched in a browser from disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site") / "my site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_link_of_a_page_leads_to_a_file_of_the_site(site):
    checked = 0
    for page in site.rglob("*.html"):
        if "leaderboards" in page.relative_to(site).parts or page.name == "404.html":  # it is shown in any folder
            continue
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()):
            if not re.match(r"[a-z]+:", link):
                checked += 1
                assert (page.parent / unquote(link)).exists(), (page.name, link)
    assert checked > 500


def test_nothing_is_asked_of_the_network_and_search_works_from_disk(site):
    playwright = pytest.importorskip("playwright.sync_api")
    found = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for start in ("index.html", "tutorials/algorithm.html"):
            page = browser.new_page()
            requests, problems = [], []
            page.on("request", lambda r: requests.append(r.url))  # noqa: B023
            page.on("pageerror", lambda e: problems.append(str(e)))  # noqa: B023
            page.goto((site / start).as_uri())
            page.locator("input.md-search__input").fill("dirichlet")
            first = page.locator(".md-search-result__item a").first
            first.wait_for(timeout=30_000)
            assert "matching document" in page.locator(".md-search-result__meta").inner_text()
            first.click()
            page.wait_for_url(re.compile(r"file://.*\.html"))
            assert "dirichlet" in page.content().lower()
            assert not problems
            assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in requests), requests
            page.close()
        browser.close()
