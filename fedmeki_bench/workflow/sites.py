"""Hospital sites: deal a data folder over them, and serve one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def deal_sites(
    data: str | Path, out: str | Path, *, sites: int, clients: int, tasks: Sequence[str] | None = None,
    partition: str = "iid", seed: int = 0, options: Mapping[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Deal a prepared data folder over a server and sites, as runs with these clients, partition and seed would.

    Args:
        data: the folder of prepared cohorts.
        out: where ``server`` and ``site-0``, ``site-1``, ... are written.
        sites: how many; client k goes to site k modulo their number.
        clients, tasks, partition, seed: as of the runs to come.
        options: of the partition and of availability, as of these runs.

    Returns:
        The folders, the server's first.

    Raises:
        UsageError, InputError: a name or a number does not fit, or a folder exists already.
    """
    from fedmeki_bench.data.cohort import find, prepared
    from fedmeki_bench.runs.assemble import assignment
    from fedmeki_bench.runs.deal import together
    from fedmeki_bench.runs.execute import open_cohorts
    from fedmeki_bench.runs.resolved import resolve
    from fedmeki_bench.sites.prepare import deal_out
    from fedmeki_bench.workflow.training import specified

    data = Path(data)
    (spec,) = specified("fedavg_m", data, tasks=tasks, clients=clients, partition=partition, seed=seed, options=options)
    plugins = resolve(spec)
    cohorts = open_cohorts(spec, data, plugins.tasks)
    assigned = {
        tuple(names): assignment(spec, plugins, {name: cohorts[name] for name in names})
        for names in together(list(cohorts))
    }
    zero_shot = [name for name in prepared(data) if name not in plugins.tasks and find(data, name).role == "zero_shot"]
    beside = {name: find(data, name) for name in zero_shot}
    return deal_out(spec, cohorts, assigned, sites, Path(out), beside=beside)


def serve_site(
    data: str | Path, memory: str | Path, socket: str | Path, *, device: str = "cpu",
    tell: Callable[[str], None] = lambda line: None,
) -> None:  # fmt: skip
    """Serve the clients of one site until the process is ended: wait for messages at a Unix socket, and answer them.

    Args:
        data: the site's folder.
        memory: where what its clients hold between rounds is kept.
        socket: the path of the socket; Flower's client app on this machine hands messages over there.
        device: where the models live.
        tell: takes a line for each thing done.

    Raises:
        InputError: the folder is not a site's.
    """
    from fedmeki_bench.sites.serving import Serving
    from fedmeki_bench.workflow.training import check_device

    check_device(device)
    Serving(Path(data), Path(memory), device=device, tell=tell).forever(Path(socket))
