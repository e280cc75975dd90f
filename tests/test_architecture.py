"""The arrows of ARCHITECTURE.md, walked: who may import whom, who opens the test split, what listing loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fedmeki_bench import api

ROOT = Path(__file__).parents[1]
CORE = ROOT / "fedmeki_bench"
BUILT_IN = ("baselines", "tasks", "data_prep")


def files(*parts: str) -> list[Path]:
    """The Python files below a folder; that there are some is part of every test."""
    found = sorted(ROOT.joinpath(*parts).rglob("*.py")) if not parts[-1].endswith(".py") else [ROOT.joinpath(*parts)]
    assert found, f"no Python file in {'/'.join(parts)}: it was moved or renamed, and this test looks at nothing"
    assert all(file.is_file() for file in found)
    return found


FILES = [file for top in ("fedmeki_bench", *BUILT_IN) for file in files(top)]


def name_of(file: Path) -> str:
    """The name under which a file is imported."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = ("fedmeki_bench", "builtin", *parts) if parts[0] in BUILT_IN else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


@cache
def imported(file: Path, *, typing: bool = True) -> frozenset[str]:
    """Every module of the project that a file imports, anywhere in it; without ``typing`` not what only types need."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = name_of(file) if file.name == "__init__.py" else name_of(file).rpartition(".")[0]
    guarded = {
        id(child)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for child in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if typing or id(node) not in guarded:
            found |= {target for target in _targets(node, package) if target in MODULES}
    return frozenset(found - {name_of(file)})


def _targets(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [base])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if base == "fedmeki_bench.api":  # which only says where a name really is
                yield from (
                    f"fedmeki_bench.{names[alias.name]}" for names in api.GROUPS.values() if alias.name in names
                )
            yield inner if inner in MODULES else base


def reaches(file: Path, *targets: str, typing: bool = True) -> set[str]:
    return {m for m in imported(file, typing=typing) for t in targets if m == t or m.startswith(t + ".")}


def test_the_core_never_imports_a_plug_in():
    builtin = [f"fedmeki_bench.builtin.{name}" for name in BUILT_IN]
    guilty = {f.name for f in files("fedmeki_bench") if reaches(f, *builtin)}
    assert not guilty
    assert reaches(ROOT / "data_prep" / "rsna" / "preparer.py", *builtin)  # the control: who imports one is seen


def test_plug_in_packages_do_not_import_each_other():
    for name in BUILT_IN:
        others = [f"fedmeki_bench.builtin.{other}" for other in BUILT_IN if other != name]
        assert not [f for f in files(name) if reaches(f, *others)]


@pytest.mark.parametrize("package", BUILT_IN)
def test_built_in_plug_ins_import_the_api_alone(package):
    """What a built-in needs, a third party gets."""
    for file in files(package):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            deeper = [n for n in names if n.split(".")[0] == "fedmeki_bench" and n != "fedmeki_bench.api"]
            assert not deeper, f"{file.relative_to(ROOT)} imports {deeper[0]}"


def test_the_reference_page_lists_the_api_in_its_order():
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: fedmeki_bench\.(\S+)\.(\w+)$", page, flags=re.MULTILINE)
    assert listed == [(module, name) for names in api.GROUPS.values() for name, module in names.items()]


def test_the_api_offers_to_type_checkers_what_it_offers_at_run_time():
    tree = ast.parse((CORE / "api.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If))
    typed = {(a.name, n.module) for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert typed == {(n, f"fedmeki_bench.{m}") for names in api.GROUPS.values() for n, m in names.items()}
    for name in api.__all__:
        assert getattr(api, name) is not None, name


def test_only_the_evaluation_opens_the_test_split():
    allowed = CORE / "evaluation"
    assert any(reaches(f, "fedmeki_bench.data.sealed") for f in files("fedmeki_bench", "evaluation"))
    for file in FILES:
        if allowed in file.parents or file == CORE / "data" / "sealed.py":
            continue
        assert not reaches(file, "fedmeki_bench.data.sealed"), file
        assert '_part("test")' not in file.read_text(encoding="utf-8"), file


INNER = {
    "kinds": ("task", "data", "models", "federation", "foundation", "evaluation", "records", "leaderboard", "cli"),
    "lexicon": ("task", "data", "models", "federation", "foundation", "evaluation", "records", "leaderboard", "cli"),
    "data": ("federation", "models", "foundation", "evaluation", "records", "boards", "leaderboard", "runs", "cli"),
    "data/raw": ("data.prepare", "data.clients"),
    "data/clients": ("data.prepare",),
    "near": ("data", "models", "evaluation", "runs", "cli"),
    "models": ("federation", "foundation", "evaluation", "records", "boards", "leaderboard", "runs", "cli"),
    "federation": ("sites", "foundation", "evaluation", "records", "boards", "leaderboard", "runs", "cli"),
    "foundation": ("evaluation", "records", "boards", "leaderboard", "runs", "cli"),
    "statistics": ("federation", "models", "foundation", "data", "records", "boards", "leaderboard", "runs", "cli"),
    "records": ("federation", "models", "foundation", "evaluation", "boards", "leaderboard", "runs", "cli"),
    "evaluation": ("sites", "boards", "leaderboard", "runs", "cli"),
    "boards": ("federation", "models", "foundation", "leaderboard", "runs", "cli"),
    "leaderboard": ("federation", "models", "foundation", "runs", "cli"),
    "audit": ("federation", "models", "foundation", "leaderboard", "runs", "cli"),
    "runs": ("cli", "conformance", "skeletons", "audit", "sites"),
    "sites": ("cli", "conformance", "leaderboard", "boards"),
    "conformance": ("cli", "boards", "leaderboard", "runs"),
    **dict.fromkeys(("federation ", "evaluation ", "leaderboard "), ("conformance", "skeletons")),
}


@pytest.mark.parametrize("inner", INNER)
def test_arrows_point_inwards(inner):
    """What a room loads lies below it; what only types need may lie anywhere."""
    targets = [f"fedmeki_bench.{name}" for name in INNER[inner]]
    for target in targets:
        assert any(m == target or m.startswith(target + ".") for m in MODULES), f"there is no {target}"
    found = {f.name: reaches(f, *targets, typing=False) for f in files("fedmeki_bench", *inner.strip().split("/"))}
    assert not {name: modules for name, modules in found.items() if modules}


def circles(arrows: dict[str, frozenset[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a ring (strongly connected components, Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in arrows[node]:
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            ring = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(ring) > 1:
                found.append(sorted(ring))

    for node in arrows:
        if node not in order:
            visit(node)
    return found


def test_no_two_modules_import_each_other():
    """Not even for types: a ring can only be understood as a whole."""
    assert not circles({name: imported(file) for name, file in MODULES.items()})
    ring = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"a"}), "d": frozenset({"a"})}
    assert circles(ring) == [["a", "b", "c"]]


def test_the_core_compares_no_modality_by_name():
    """What a picture, a signal or a series needs, its encoder says."""
    rooms = ("data", "federation", "foundation", "evaluation", "runs", "boards", "leaderboard", "records")
    looked_at = [f for room in rooms for f in files("fedmeki_bench", room)] + files("fedmeki_bench", "models")
    for file in looked_at:
        if "encoders" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                compared = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                assert not compared & {"image", "signal", "clinical"}, f"{file.relative_to(ROOT)}:{node.lineno}"


def test_files_stay_short_and_have_telling_names():
    for file in FILES:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{file.relative_to(ROOT)} has {lines} lines"
        assert file.stem not in {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        *(
            ["list", kind]
            for kind in ("tasks", "algorithms", "rules", "stages", "datasets", "metrics", "encoders", "views")
        ),
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
        text = file.read_text(encoding="utf-8")
        assert not [m for m in ("marshal", "shelve", "dill", "cloudpickle") if f"import {m}" in text], file
