"""What strangers wrote only shows: no escape sequence, mark or markup of theirs acts anywhere."""

from __future__ import annotations

import copy
import html
import html.parser
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from .conftest import hidden

NASTY = [
    "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\x07b", "a\rb", "\u202egnp.exe", "\u2066x\u2069", "x\0y",
    "\x7f\x08\x08", "[bold red]markup[/]", "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>",
    "\\input{/etc/passwd}$%&#_^~", "| a | b |\n|---|", "=cmd|' /C calc'!A0", "line\u2028end\nnext",
    "`code`[x](javascript:alert(1))",
    "\ud800", "\udc9b31m", "]]><x/>", "-->", "\u200b\u200f\ufeff",
]  # fmt: skip
ALL = " ".join(NASTY)


def nasty(record: dict) -> dict:
    """A record whose every free text is hostile."""
    record = copy.deepcopy(record)
    record["notes"] = [*NASTY, ALL]
    record["environment"] = {ALL: ALL, "packages": {ALL: ALL}, "python": ALL}
    record["plugins"] = [{"kind": ALL, "name": ALL, "origin": ALL}]
    record["params"][ALL] = {ALL: ALL}
    record["versions"]["plugins"] = {ALL: 2}
    record["versions"]["foundation"] = ALL
    for evaluation in record["evaluations"]:
        evaluation["note"] = ALL
        evaluation["subgroups"] = {
            name: [{"name": text, "n": 3, "groups": 3, "value": 0.5, "note": text} for text in NASTY]
            for name in ("site", "sex", "age")
        }
        for metric in evaluation["metrics"].values():
            metric["note"] = ALL
    for one in record["history"]:
        one["note"] = ALL
        one["valid"] = {ALL: 0.5} | one["valid"]
    for cohort in record["cohorts"]:
        cohort["options"] = {ALL: ALL}
    return record


class Elements(html.parser.HTMLParser):
    """What of a page acts: the text of scripts and all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self._inside = ""

    @classmethod
    def of(cls, page: str) -> tuple[list[str], dict[str, list[str]]]:
        found = cls()
        found.feed(page)
        return found.scripts, found.attributes

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)


def check(files: dict[str, str]) -> None:
    for name, text in files.items():
        assert not hidden(text), (name, hidden(text))
    page = files.get("leaderboard.html", "")
    scripts, attributes = Elements.of(page)
    assert not any("alert" in text for text in scripts)
    assert "onerror" not in attributes
    assert not any("javascript:" in value for value in attributes.get("href", []))
    tex = files.get("leaderboard.tex", "")
    assert not re.search(r"(?<!\\)\\input\{", tex)
    assert "<script>" not in files.get("leaderboard.md", "").replace("`", "")
    if "leaderboard.json" in files:
        json.loads(files["leaderboard.json"])
    if "leaderboard.svg" in files:
        xml.etree.ElementTree.fromstring(files["leaderboard.svg"])
        assert "<script" not in files["leaderboard.svg"]


def written(world) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in (world.root / "out").iterdir()}


def show(bench, world, *, formats: str = "md,csv,json,tex,html,svg", colours: bool = False) -> dict[str, str]:
    shutil.rmtree(world.root / "out", ignore_errors=True)
    out = ("--out", world.root / "out", "--format", formats)
    ended = bench("leaderboard", world.board, "--results", world.results, *out, colours=colours)
    assert ended.code == 0, ended.err
    files = written(world)
    check(files)
    bench("status", world.board, "--results", world.results, "--data", world.data, colours=colours)
    return files


def test_texts_of_records(bench, world):
    for algorithm in ("majority", "fedavg_s"):
        world.write(nasty(world.record(algorithm)))
    files = show(bench, world)
    assert "leaderboard.svg" in files
    status = json.loads(bench("status", world.board, "--results", world.results, "--data", world.data, "--json").out)
    assert all(row["status"] == "ok" for row in status), status
    bench("rescore", world.results, "--json")
    bench("compare", "fedavg_s", "majority", "--board", world.board, "--results", world.results, "--json")
    bench("reproduce", world.results / world.record()["key"], "--data", world.data)


def test_error_messages_of_failed_runs(bench, world):
    record = nasty(world.record())
    record |= {"status": "failed", "error": {"type": ALL, "message": ALL, "where": ALL}, "evaluations": []}
    world.write(record)
    files = show(bench, world)
    assert "failed" in files["leaderboard.md"]


def test_names_of_folders(bench, world, monkeypatch):
    record = json.dumps(world.record())
    for number, name in enumerate(NASTY):
        how = "surrogateescape" if "\udc9b" in name else "replace"
        encoded = name.replace("/", "|").replace("\0", "0").encode("utf-8", how)
        folder = world.results / os.fsdecode(encoded)
        folder.mkdir()
        (folder / "record.json").write_text("{" if number % 2 else record)
    files = show(bench, world, formats="md,csv,json,tex,html")
    assert "31mred/record.json" in files["leaderboard.md"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show(bench, world, formats="md", colours=True)
    bench("rescore", world.results, colours=True)


def test_a_terminal(world):
    """Under a pseudo-terminal rich draws; of what it writes, only its own colours act."""
    for algorithm in ("majority", "fedavg_s"):
        record = nasty(world.record(algorithm))
        if algorithm == "fedavg_s":
            record |= {"status": "failed", "error": {"type": ALL, "message": ALL}, "evaluations": []}
        world.write(record)
    code = f"""
from fedmeki_bench.cli.main import main
board, shown = {str(world.board)!r}, ["--results", {str(world.results)!r}]
for args in (["status", board, *shown, "--data", {str(world.data)!r}],
             ["leaderboard", board, *shown, "--format", "md", "--out", "o"]):
    try:
        main(args)
    except SystemExit as end:
        assert not end.code, end.code
"""
    mine, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, stdin=theirs, cwd=world.root, env=env
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(mine, 65536)
        except OSError:
            break
        if not piece:
            break
        said += piece
    os.close(mine)
    assert process.wait(60) == 0, said
    text = said.decode().replace("\r\n", "\n")
    assert "\x1b[" in text, "rich drew"
    rest = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not hidden(rest), hidden(rest)
    assert "\x1b[31mred" not in text


@pytest.mark.slow
def test_texts_of_cards_and_sample_tables(bench, world, monkeypatch):
    import pandas as pd

    from fedmeki_bench.digests import file_digest

    data = world.root / "data"
    shutil.copytree(world.data, data)
    folder = data / "ecg_abnormal"
    table = pd.read_parquet(folder / "samples.parquet")
    writable = [text.encode("utf-8", "replace").decode() for text in NASTY]
    for column in ("sample_id", "group_id", "site", "question", "answer", "sex"):
        unit = 1 if column == "sample_id" else 3
        table[column] = [f"{writable[i % len(writable)]} {i // unit}" for i in range(len(table))]
    table.to_parquet(folder / "samples.parquet", index=False)
    card = json.loads((folder / "card.json").read_text())
    card["files"]["samples.parquet"] = {
        "bytes": (folder / "samples.parquet").stat().st_size, "sha256": file_digest(folder / "samples.parquet"),
    }  # fmt: skip
    card |= {
        "dropped": {text: {"n": 1, "examples": [text]} for text in NASTY}, "excluded": dict.fromkeys(NASTY, 1),
        "notes": NASTY, "shortcuts": NASTY, "grouping": ALL, "release": ALL, "options": {"split": ALL},
        "sites": {text: {"samples": 1} for text in NASTY}, "citation": ALL, "licence": ALL,
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    page = world.root / "audit.html"
    for args in (("audit", data, "--html", page), ("audit", data, "--json"), ("audit", data, "--full"),
                 ("info", "iid", "--data", data), ("info", "natural", "--data", data, "--json"),
                 ("info", "natural", "--data", data, "--svg", world.root / "p.svg"),
                 ("status", world.board, "--results", world.results, "--data", data)):  # fmt: skip
        bench(*args, codes=(0, 1, 3))
    text = page.read_text()
    assert not hidden(text), hidden(text)
    assert "<script>alert" not in text
    assert html.escape("<script>alert(1)</script>") in text
    assert not hidden((world.root / "p.svg").read_text())
    args = (
        "run",
        "fedavg_s",
        "--tasks",
        "ecg_abnormal",
        "--data",
        data,
        "--results",
        world.root / "r",
        "-o",
        "rounds=1",
    )
    assert bench(*args, "-o", "local_epochs=1", "--plain").code == 0
    monkeypatch.setenv("FORCE_COLOR", "1")
    bench("audit", data, colours=True)
    bench("info", "natural", "--data", data, colours=True)


@pytest.mark.parametrize("text", NASTY)
def test_boards_hold_plain_text(bench, world, text):
    said = json.dumps(text)  # JSON is YAML, with escapes
    kept = world.board.read_text()
    world.board.write_text(f"{kept}title: {said}\nsummary: {said}\n")
    args = (
        "leaderboard",
        world.board,
        "--results",
        world.results,
        "--out",
        world.root / "out",
        "--format",
        "md,tex,html",
    )
    if bench(*args, codes=(0, 3)).code == 0:
        check(written(world))
    world.board.write_text(kept.replace("name: small", f"name: {said}"))
    bench(*args, codes=(3,))


@pytest.mark.slow
def test_names_on_the_command_line(bench, world):
    for text in NASTY[::3]:
        if "\0" in text or "\ud800" in text:  # no argument of a process can hold these
            continue
        for args in (
            ("list", text), ("info", text), ("compare", text, text), ("leaderboard", text), ("status", text),
            ("plan", text), ("plan", world.board, "--separate", text),
            ("leaderboard", world.board, "--format", text), ("leaderboard", world.board, f"--{text}"), (text,),
            ("run", text, "--data", world.data), ("run", "fedavg_s", "--data", world.data, "--tasks", text),
            ("run", "fedavg_s", "--data", world.data, "-o", text),
            ("run", "fedavg_s", "--data", world.data, "-o", f"{text}=1"),
            ("run", "fedavg_s", "--data", world.data, "-o", f"rounds={text}"), ("run", "fedavg_s", "--seed", text),
            ("score", text, "--kind", "generation"), ("audit", text), ("prepare", text, "--raw", text, "--out", "o"),
            ("prepare", "rsna", "--raw", text, "--out", "o"), ("reproduce", text), ("rescore", text),
            ("list", "tasks", text),
        ):  # fmt: skip
            assert bench(*args).code in (2, 3), args
