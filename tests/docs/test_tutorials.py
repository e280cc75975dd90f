"""Every block of every tutorial is run, from top to bottom, in an empty folder and an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "docs" / "python_api.md"]
_FENCE = re.compile(r"^```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    kind: str
    title: str | None
    text: str


def blocks(path: Path) -> list[Block]:
    found = _FENCE.findall(path.read_text(encoding="utf-8"))
    return [Block(kind, title or None, text) for kind, title, text in found]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """A virtual environment that sees this one's packages, so that `pip install -e` leaves no trace here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    seen = [sysconfig.get_path("purelib"), str(ROOT)]
    # addsitedir, not a bare path: editable installs are .pth files themselves
    (packages / "_outer.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in seen))
    for name, module in (("fedmeki-bench", "fedmeki_bench"), ("pip", "pip"), ("pytest", "pytest")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {python} -m {module} "$@"\n')
        script.chmod(0o755)
    return os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(folder), "OMP_NUM_THREADS": "1",
        "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1",
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


SLOW = (
    "algorithm",
    "dataset",
    "encoder",
    "foundation_model",
    "leaderboard",
    "python_api",
    "task",
)  # a minute and more; the others pass through the same commands


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=pytest.mark.slow if p.stem in SLOW else ()) for p in TUTORIALS]
)
def test_every_block_runs(path, tmp_path, environment):
    found = blocks(path)
    assert found
    assert path.read_text().count("```") == 2 * len(found), "a block the test doesn't see"
    for block in found:
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        elif block.kind == "console":
            for line in block.text.splitlines():
                assert line.startswith("$ "), line
                done = run(line.removeprefix("$ "), tmp_path, environment)
                assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        else:  # an excerpt of a file that a command before it wrote
            excerpt = textwrap.indent(block.text, "    ").strip()
            assert any(excerpt in p.read_text() for p in tmp_path.glob("*/*.py")), block.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rule", "stage", "encoder"])
def test_a_skeletons_own_tests_pass(kind, tmp_path, environment):
    name = f"begun_{kind}"
    assert run(f"fedmeki-bench new {kind} {name} && pip install -e {name}", tmp_path, environment).returncode == 0
    done = run(f"pytest -q {name} -p no:cacheprovider", tmp_path, environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d{1,2} passed", done.stdout)


def test_one_round_by_hand_runs_as_it_stands(tmp_path):
    script = ROOT / "examples" / "one_round.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("server -> client") == done.stdout.count("-> server: loss") == 2
    assert "the global model moved by" in done.stdout


def test_a_walk_through_a_round_names_files_that_are_there():
    page = (ROOT / "docs" / "life_of_a_round.md").read_text()
    named = set(re.findall(r"`((?:fedmeki_bench|baselines|examples)/[\w/]+\.py)`", page))
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_the_readme_fits_a_hundred_lines_and_its_tree_is_the_repository():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 100
    tree = text.split("## Where things are")[1].split("```")[1]
    for line in tree.strip().splitlines():
        indent = ROOT / "fedmeki_bench" if line.startswith("  ") else ROOT
        for name in re.findall(r"(?<![\w/])([a-z_]+(?:/|\.py))(?=\s)", line.split("   ")[0] + " "):
            assert (indent / name).exists(), name
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_site_builds_without_warnings(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "tutorials/algorithm.html", "reference/federation.html"} <= pages
    text = (tmp_path / "site" / "reference" / "federation.html").read_text()
    assert "The contract of a federated rule" in text or "FedAvg by default: override what the paper changes." in text
    assert "fonts.googleapis" not in text
