"""The pins with hashes agree with pyproject.toml and with the versions that the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def pins(path: Path) -> dict[str, tuple[str, int, str]]:
    """Name -> version, number of hashes, marker."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", path.read_text()):
        match = re.match(r"([a-z0-9.-]+)==([^\s;]+)(?: ; ([^\\]+))?", block)
        if match:
            found[match[1]] = (match[2], block.count("--hash=sha256:"), (match[3] or "").strip())
    return found


def name_of(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def runtime() -> list[Requirement]:
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    return [Requirement(line) for line in re.findall(r'"([^"]+)"', block)]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_with_hashes_for_every_supported_python(python):
    found = pins(ROOT / "requirements" / f"py{python.replace('.', '')}.txt")
    for requirement in runtime():
        version, hashes, _ = found[name_of(requirement)]
        assert hashes, requirement
        assert requirement.specifier.contains(version), (requirement, version)
    assert all(hashes for _, hashes, _ in found.values())


@pytest.mark.parametrize("python", PYTHONS)
def test_they_are_the_versions_that_the_tests_run_with(python):
    found = pins(ROOT / "requirements" / f"py{python.replace('.', '')}.txt")
    environment = {**default_environment(), "python_version": python}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        constraint = Requirement(line)
        if constraint.marker is None or constraint.marker.evaluate(environment):
            pinned = found.get(name_of(constraint))
            assert pinned is None or constraint.specifier.contains(pinned[0]), (line, pinned)
