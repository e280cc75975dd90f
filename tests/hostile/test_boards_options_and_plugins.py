"""Boards, options and plug-in files that are none: one sentence, the documented code, no hang, nothing executed."""

from __future__ import annotations

import os

import pytest

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)
)
GOOD = """\
name: small
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms: [majority]
"""

BOARDS = {
    "alias bomb": BOMB,
    "alias bomb in a board": GOOD + "options: &a {x: 1}\nprepare: *a\n",
    "recursive anchor": "&a [*a]",
    "recursive mapping": "&a {name: *a}",
    "merge of itself": "&a\n<<: *a\n",
    "deep lists": "[" * 20_000 + "]" * 20_000,
    "deep mappings": "{a: " * 20_000 + "1" + "}" * 20_000,
    "deep by indentation": "\n".join(" " * i + "a:" for i in range(500)),
    "impossible date": GOOD + "title: 2020-13-45\n",
    "impossible time": GOOD + "title: 2020-01-01 99:99:99\n",
    "a date": GOOD + "title: 2020-01-01\n",
    "empty int": GOOD + 'summary: !!int ""\n',
    "no bool": GOOD + "summary: !!bool perhaps\n",
    "no timestamp": GOOD + "summary: !!timestamp soon\n",
    "no float": GOOD + 'summary: !!float ""\n',
    "binary": GOOD + "summary: !!binary '?'\n",
    "object": GOOD + "summary: !!python/object/apply:os.system ['touch it-ran']\n",
    "module": GOOD + "summary: !!python/name:os.system\n",
    "duplicate key": GOOD + "name: other\n",
    "duplicate nested key": GOOD + "options: {rounds: 1, rounds: 2}\n",
    "list as key": GOOD + "? [a, b]\n: 1\n",
    "mapping as key": GOOD + "? {a: b}\n: 1\n",
    "number as key": GOOD + "1: 2\n",
    "null as key": GOOD + "~: 2\n",
    "tabs": GOOD.replace(": ", ":\t") + "options:\n\trounds: 1\n",
    "long integer": GOOD.replace("[0]", "[" + "9" * 5000 + "]"),
    "huge integer": GOOD.replace("[0]", "[1" + "0" * 300 + "]"),
    "sexagesimal": GOOD.replace("clients: 2", "clients: " + ":".join(["59"] * 300)),
    "NaN": GOOD.replace("clients: 2", "clients: .nan"),
    "infinite": GOOD.replace("clients: 2", "clients: .inf"),
    "negative": GOOD.replace("clients: 2", "clients: -3"),
    "NaN option": GOOD + "options: {lr: .nan}\n",
    "huge option": GOOD + "options: {rounds: 1" + "0" * 400 + "}\n",
    "empty": "",
    "only a comment": "# nothing\n",
    "text": "small",
    "a list": "[1, 2]",
    "two documents": GOOD + "---\n" + GOOD,
    "two megabytes": GOOD + "summary: '" + "x" * 2_000_000 + "'\n",
    "many keys": GOOD + "".join(f"k{i}: 1\n" for i in range(400)),
    "many algorithms": GOOD.replace("[majority]", "[" + ", ".join(f"a{i}_s" for i in range(400)) + "]"),
    "a row of two": GOOD.replace("[majority]", "[{majority: {}, local: {}}]"),
    "a row of nothing": GOOD.replace("[majority]", "[{majority: }]"),
    "a row within a row": GOOD.replace("[majority]", "[{majority: {options: {lr: {majority: {}}}}}]"),
    "a row under a number": GOOD.replace("[majority]", "[{1: {}}]"),
    "a row under a path": GOOD.replace("[majority]", "[{majority: {name: ../../evil}}]"),
    "a label that runs backwards": GOOD.replace("[majority]", '[{majority: {label: "a\\u202eb"}}]'),
    "a label of two lines": GOOD.replace("[majority]", '[{majority: {label: "a\\n# b"}}]'),
    "a budget without end": GOOD.replace(
        "[majority]", "[{majority: {options: {lr: 1}, tuned: {over: {lr: [1]}, trials: 1" + "0" * 300 + "}}}]"
    ),
    "NUL": GOOD + "title: a\0b\n",
    "byte order mark": "\ufeff" + GOOD,
    "carriage returns": GOOD.replace("\n", "\r"),
    "unknown task": GOOD.replace("ecg_abnormal", "ecg_abnormel"),
    "unknown algorithm": GOOD.replace("majority", "majorety"),
    "unknown profile": GOOD.replace("demo", "dmeo"),
    "unknown partition": GOOD + "partition: idd\n",
    "unknown option": GOOD + "options: {ronds: 1}\n",
    "everything null": "\n".join(f"{line.split(':')[0]}: ~" for line in GOOD.splitlines()),
    "everything a mapping": "\n".join(f"{line.split(':')[0]}: {{a: b}}" for line in GOOD.splitlines()),
    "long name": GOOD.replace("small", "s" * 5000),
    "long algorithm": GOOD.replace("majority", "m" * 5000 + "_s"),
    "long file": GOOD.replace("majority", f"'{'m' * 5000}.py:Rule_s'"),
    "published elsewhere": GOOD + "published: ../../../../etc/passwd\n",
    "long published": GOOD + f"published: {'x' * 5000}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_boards(bench, world, name):
    (world.root / "leaderboards").mkdir()
    path = world.root / "leaderboards" / "theirs.yaml"
    path.write_bytes(BOARDS[name].encode())
    fine = name in (
        "a date",
        "binary",
        "byte order mark",
        "carriage returns",
        "huge integer",
        "sexagesimal",
        "long file",
    )
    for args in (
        ("leaderboard", path, "--results", world.results, "--out", world.root / "o", "--format", "md"),
        ("status", path, "--results", world.results, "--data", world.data),
        ("sweep", path, "--results", world.root / "none", "--data", world.root / "none", "--plain"),
    ):  # fmt: skip
        assert bench(*args, codes=(0, 2, 3) if fine else (2, 3)).code in (0, 2, 3)
    ended = bench("list", "leaderboards", codes=(0,))
    assert "small" in ended.out or "theirs" in ended.out
    assert not (world.root / "it-ran").exists()


@pytest.mark.parametrize("place", ["pipe", "folder", "dangling", "loop", "empty"])
def test_something_else_in_the_place_of_a_board(bench, world, place):
    (world.root / "leaderboards").mkdir()
    path = world.root / "leaderboards" / "theirs.yaml"
    {
        "pipe": os.mkfifo, "folder": os.mkdir, "dangling": lambda p: p.symlink_to("nowhere"),
        "loop": lambda p: p.symlink_to(p.name), "empty": lambda p: p.touch(),
    }[place](path)  # fmt: skip
    for args in (
        ("leaderboard", path, "--results", world.results), ("leaderboard", "theirs", "--results", world.results),
        ("status", "theirs", "--data", world.data), ("sweep", path, "--data", world.data), ("info", "theirs"),
    ):  # fmt: skip
        bench(*args, codes=(2, 3))
    assert "theirs" in bench("list", "leaderboards", codes=(0,)).out


VALUES = [
    BOMB, "&a [*a]", "[" * 20_000 + "]" * 20_000, "2020-13-45", '!!int ""', "!!timestamp x", "!!python/name:os.system",
    "{a: 1, a: 2}", "\t", "9" * 5000, "1e999", ".nan", "-1", "x" * 2_000_000, "[1, 2", "{{}}", "? [a]\n: b", "", "~",
    "0x" + "f" * 3000, "1_0", "0b_", "'", '"', "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "---", "...",
    "%YAML 9.9\n---",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_options(bench, world, number):
    value = VALUES[number]
    for key in ("rounds", "encoders", "x" * 3000):
        args = ("run", "fedavg_s", "--data", world.root / "none", "-o", f"{key}={value}")
        assert bench(*args, codes=(2, 3)).err
    bench(
        "prepare",
        "ptbxl",
        "--raw",
        world.root / "none",
        "--out",
        world.root / "o",
        "-o",
        f"split_seed={value}",
        codes=(2, 3),
    )


_IMPORT = b"from fedmeki_bench.api import Rule as R\n"
PLUGINS = {
    "binary": bytes(range(256)),
    "syntax error": b"def (:\n",
    "empty": b"",
    "SystemExit": b"raise SystemExit(0)\n",
    "KeyboardInterrupt in a function": b"class Rule: pass\n",
    "wrong kind": b"from fedmeki_bench.api import Task\nclass Rule(Task):\n    'A task.'\n",
    "no class": b"Rule = 3\n",
    "a module": b"import os as Rule\n",
    "attribute missing": b"Other = 1\n",
    "import error": b"import no_such_module_anywhere\n",
    "message with escapes": b"raise ValueError('\\x1b]0;x\\x07 \\u202e \\ud800 a\\nb')\n",
    "deep": b"x = " + b"(" * 3000 + b")" * 3000 + b"\n",
    "version that is no number": _IMPORT + b"class Rule(R):\n    'R.'\n    version = 'one'\n",
    "computed version": _IMPORT + b"class Rule(R):\n    'R.'\n    version = int('2')\n",
    "params that are none": _IMPORT + b"class Rule(R):\n    'R.'\n    Params = 3\n",
    "views that are none": _IMPORT + b"class Rule(R):\n    'R.'\n    views = None\n",
    "another encoding": b"# coding: utf-7\nx = 1\n",
    "latin bytes": b"x = '\xe9'\n",
    "NUL": b"x = 1\0\n",
}  # fmt: skip


@pytest.mark.parametrize("name", [*PLUGINS, "folder", "pipe", "dangling", "long"])
def test_plugin_files_that_are_none(bench, world, name):
    path = world.root / ("x" * 300 + ".py" if name == "long" else "theirs.py")
    if name in PLUGINS:
        path.write_bytes(PLUGINS[name])
    elif name != "long":
        {"folder": os.mkdir, "pipe": os.mkfifo, "dangling": lambda p: p.symlink_to("nowhere")}[name](path)
    world.board.write_text(world.board.read_text().replace("[majority, fedavg_s]", f"[majority, '{path}:Rule_s']"))
    for args in (
        ("run", f"{path}:Rule_s", "--data", world.data, "--tasks", "ecg_abnormal", "-o", "rounds=1", "--plain"),
        ("info", f"{path}:Rule_s"),
        ("sweep", world.board, "--data", world.data, "--results", world.root / "r", "--plain"),
        ("run", "fedavg_s", "--data", world.data, "--tasks", "ecg_abnormal", "--partition", f"{path}:Rule", "--plain"),
    ):  # fmt: skip
        if name in ("computed version", "no class") and args[0] == "sweep":
            continue
        bench(*args, codes=(2, 3, 4) if name != "computed version" else (0, 2, 3, 4))
    assert bench("check", f"{path}:Rule").code in (1, 2, 3) if name != "computed version" else True
    for args in (
        ("status", world.board, "--data", world.data, "--results", world.results),
        ("leaderboard", world.board, "--results", world.results, "--out", world.root / "o", "--format", "md"),
    ):  # fmt: skip
        assert bench(*args).code == 0, "showing a board doesn't depend on the file"
