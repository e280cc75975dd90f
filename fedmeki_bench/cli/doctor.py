"""``doctor``: is this machine fit, is data there, do the same seeds give the same bits?"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmeki_bench import registry
from fedmeki_bench.cli import options
from fedmeki_bench.cli.view.echo import echo, escape
from fedmeki_bench.errors import CheckFailed, FedmekiError

if TYPE_CHECKING:
    from fedmeki_bench.records.record import Record

_MARKS = {"ok": "[green]✓ ok[/]  ", "warn": "[yellow]! note[/]", "bad": "[bold red]✕ bad[/] "}


@click.command("doctor")
@options.data
@options.results
@options.as_json
def doctor_command(data: Path, results: Path, as_json: bool) -> None:
    """Check environment, devices, plug-ins, cohorts and determinism; exits with 1 if something is broken."""
    makers: dict[str, Callable[[], list[dict[str, str]]]] = {
        "environment": _environment, "plug-ins": _plugins, "cohorts": partial(_cohorts, data),
        "results folder": partial(_disk, results), "determinism": _determinism,
    }  # fmt: skip
    checks = [check for what, make in makers.items() for check in _made(what, make)]
    if as_json:
        echo(json.dumps(checks, indent=1, ensure_ascii=False))
    else:
        from fedmeki_bench.cli.view import make_console

        console = make_console()
        for check in checks:
            console.print(
                f"{_MARKS[check['state']]} [bold]{escape(check['what'])}[/]: {escape(check['found'])}", soft_wrap=True
            )
    bad = [check for check in checks if check["state"] == "bad"]
    if bad:
        raise CheckFailed(f"{len(bad)} of {len(checks)} checks failed, first {bad[0]['what']}: {bad[0]['found']}")


def _made(what: str, make: Callable[[], list[dict[str, str]]]) -> list[dict[str, str]]:
    """The checks of one kind; whatever is raised on the way is a bad one, and the others are still made."""
    try:
        return make()
    except (Exception, SystemExit) as error:  # plug-ins and damaged installations raise what they like
        return [_check("bad", what, f"{type(error).__name__}: {error}")]


def _check(state: str, what: str, found: str) -> dict[str, str]:
    return {"state": state, "what": what, "found": found}


def _environment() -> list[dict[str, str]]:
    import torch

    from fedmeki_bench.runs.environment import environment

    facts = environment("cpu", torch.get_num_threads())
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    checks = [
        _check("ok", "python", f"{facts['python']} on {facts['platform']}"),
        _check("ok", "packages", packages),
        _check("ok", "processor", f"{facts['processor']}, {facts['cores']} cores"),
    ]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        checks.append(_check("ok", "accelerators", ", ".join(names)))
    else:
        checks.append(
            _check("warn", "accelerators", "none; the demo profile needs none, the paper profile is slow without")
        )
    return checks


def _plugins() -> list[dict[str, str]]:
    found = [plugin for kind in registry.KINDS for plugin, _ in registry.loaded(kind)]
    broken = [plugin for plugin in found if plugin.broken]
    checks = [
        _check(
            "bad", f"{registry.singular(p.kind)} {p.name}",
            f"{p.broken} (declared by {p.origin}: [fedmeki_bench.{p.kind}] {p.name} = {p.target})",
        )
        for p in broken
    ]  # fmt: skip
    well = len(found) - len(broken)
    return [*checks, _check("ok", "plug-ins", f"{well} of {len(found)} load" if broken else f"all {well} load")]


def _cohorts(data: Path) -> list[dict[str, str]]:
    from fedmeki_bench.data.cohort import find, prepared

    names = prepared(data)
    if not names:
        return [_check("warn", "cohorts", f"none in {data}; `fedmeki-bench demo` or `prepare` makes some")]
    checks = []
    for name in names:
        try:
            cohort = find(data, name)
            cohort.verify()
            stamp = ", SYNTHETIC" if cohort.synthetic else ""
            text = f"{cohort.card['rows']['kept']} samples of {cohort.card['groups']} groups{stamp}"
            checks.append(_check("ok", f"cohort {name}", text))
        except FedmekiError as error:
            checks.append(_check("bad", f"cohort {name}", str(error)))
    return checks


def _disk(results: Path) -> list[dict[str, str]]:
    there = results.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    if not os.access(there, os.W_OK):
        return [_check("bad", "results folder", f"{there} is not writable")]
    return [_check("ok" if free > 2 else "warn", "results folder", f"{free:.0f} GB free in {there}")]


def _determinism() -> list[dict[str, str]]:
    """Two short runs of the same specification, of built-in plug-ins alone, compared bit for bit."""
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.data.prepare.prepare import prepare
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.execute import execute
    from fedmeki_bench.runs.spec import specify
    from fedmeki_bench.workflow.data import synth

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synth("ptbxl", root / "raw", size=80, seed=0)
        preparer, task = registry.load("datasets", "ptbxl")(), registry.load("tasks", "ecg_abnormal")()
        prepare(preparer, root / "raw", root / "data", [task], preparer.Options())
        options_ = {"rounds": 2, "local_epochs": 1}
        (spec,) = specify(resolve("fedavg_m"), ["ecg_abnormal"], clients=2, options=options_)
        records = [execute(spec, root / "data", RecordStore(root / name)) for name in ("a", "b")]
    if (error := records[0].error or records[1].error) is not None:
        return [_check("bad", "determinism", f"a two-round run on synthetic ECGs failed: {error.message}")]
    same = _bits(records[0]) == _bits(records[1])
    return [_check("ok" if same else "bad", "determinism", f"bit-identical on this machine: {'yes' if same else 'no'}")]


def _bits(record: Record) -> tuple[list[float | None], list[dict[str, float | None]]]:
    scores = [{n: m.value for n, m in e.metrics.items()} for e in record.evaluations]
    return [r.loss for r in record.history], scores
