"""The arrows of ARCHITECTURE.md, walked: who may import whom, who opens the test split, what listing loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fedmeki_bench", "baselines", "tasks", "data_prep")
FILES = sorted(f for package in PACKAGES for f in (ROOT / package).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Every module name a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reaches(file: Path, *targets: str) -> set[str]:
    return {m for m in imported(file) for t in targets if m == t or m.startswith(t + ".")}


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_the_core_never_imports_a_plug_in(package):
    guilty = [f for f in (ROOT / "fedmeki_bench").rglob("*.py") if reaches(f, package)]
    assert not guilty


def test_plug_in_packages_do_not_import_each_other():
    for package in PACKAGES[1:]:
        others = [p for p in PACKAGES[1:] if p != package]
        assert not [f for f in (ROOT / package).rglob("*.py") if reaches(f, *others)]


def test_only_the_evaluation_opens_the_test_split():
    sealed = "fedmeki_bench.data.sealed"
    allowed = ROOT / "fedmeki_bench" / "evaluation"
    assert not [f for f in FILES if reaches(f, sealed) and allowed not in f.parents]


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("cohort", ("federation", "models", "evaluation", "results", "leaderboard", "runs", "cli", "engine")),
        ("models", ("federation", "evaluation", "results", "leaderboard", "runs", "cli", "engine")),
        ("federation", ("evaluation", "results", "leaderboard", "runs", "cli")),
        ("engine", ("evaluation", "results", "leaderboard", "runs", "cli")),
        ("results", ("federation", "models", "evaluation", "leaderboard", "runs", "cli", "engine")),
        ("statistics", ("federation", "models", "cohort", "results", "leaderboard", "runs", "cli")),
        ("leaderboard", ("federation", "models", "runs", "cli", "engine")),
        ("evaluation", ("leaderboard", "runs", "cli")),
        ("runs", ("cli", "console")),
        ("conformance", ("cli", "console", "leaderboard", "runs")),
        *((inner, ("conformance", "skeletons")) for inner in ("federation", "evaluation", "leaderboard", "runs")),
    ],
)
def test_arrows_point_inwards(inner, outer):
    targets = [f"fedmeki_bench.{name}" for name in outer]
    guilty = {}
    for file in (ROOT / "fedmeki_bench" / inner).rglob("*.py"):
        found = {m for m in reaches(file, *targets) if not _only_for_types(file, m)}
        if found:
            guilty[file.name] = found
    assert not guilty


def _only_for_types(file: Path, module: str) -> bool:
    """Whether the import stands under ``if TYPE_CHECKING`` alone: it names a type and loads nothing."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    inside = {id(child) for block in guarded for child in ast.walk(block)}
    for node in ast.walk(tree):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        if module in names and id(node) not in inside:
            return False
    return True


def test_files_stay_short_and_have_telling_names():
    for file in FILES:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{file.relative_to(ROOT)} has {lines} lines"
        assert file.stem not in {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        *(["list", kind] for kind in ("tasks", "algorithms", "rules", "stages", "datasets", "metrics", "encoders")),
        ["list", "partitions"],
        ["list", "leaderboards"],
    ],
)
def test_listing_loads_nothing_heavy(command):
    code = (
        "import sys\n"
        "from fedmeki_bench.cli.main import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'wfdb', 'pydicom', 'duckdb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_user_data_is_executed():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "__import__"}, file
        assert not reaches(file, "marshal", "shelve", "dill", "cloudpickle"), file
