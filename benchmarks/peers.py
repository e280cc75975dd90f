"""A round of FedAvg here and in other frameworks: the same model, samples, batch sizes and Adam, in one run.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --flower PYTHON [--encoders clinical signal] [--profiles demo paper]
                                                 [--clients 5 100] [--rounds 5] [--processes 1 2] [--json FILE]

`PYTHON` is that of an environment with `pip install 'flwr[simulation]==1.42.0' torch==2.13.0 numpy`, which need not
have this project; without `--flower` that column is left out. 400 samples in all are dealt evenly over the clients. All
take turns, round by round, after one round that is not counted; each process has one thread. Times are medians over
rounds; ratios are medians of the ratios within a turn. Processor time counts all processes of whoever is measured.

| name | what is measured |
|---|---|
| ours | `Federation` with its sequential engine, which reads its samples from the prepared cohort |
| bare | the loop of `bare_loop.py`: all tensors in memory, one model |
| Flower, 1 or 2 | Flower's simulation on Ray, its own FedAvg, samples as tensors in memory, so many processes |
| PFLlib | its procedure, re-enacted: a model and a loader per client, parameters summed up one by one |
| FedMEKI | its procedure, re-enacted: records decoded in every round, the mean key by key from state dicts built anew |

Re-enacted means written here from what is known of the procedure; neither project's code is run. Both are re-enacted in
their favour: optimisers and gradients of clients that do not train are dropped, and only the model of the one task
is averaged, where FedMEKI averages those of all tasks. Samples of the clinical task are one stored tensor each.

Validation and checkpoints are left out everywhere. Goals: 2 x the rounds of Flower's simulation at 5 clients, and 4 x
at 100.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bare_loop import TASKS, BareLoop, federation, prepared
from pyarrow.parquet import read_table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fedmeki_bench.processes import keep_pages

SAMPLES = 400
RECORDS = 720  # of which more than 400 train, for each encoder
Pairs = Sequence[tuple[Tensor, Tensor]]


def even(encoder: str, profile: str, clients: int, data: Path) -> Any:
    """FedAvg of one task with :data:`SAMPLES` samples, as many for each client."""
    made, task = federation(encoder, profile, clients, data), TASKS[encoder][1]
    part = made.clients[0].data[task].cohort.part("client")
    each = SAMPLES // clients
    for client in made.clients:
        client.data = {task: part.take(range(client.number * each, (client.number + 1) * each))}
    return made


def adam(model: nn.Module, settings: Any) -> torch.optim.Optimizer:
    """The clients' optimiser."""
    return torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)


def one_pass(model: nn.Module, batches: Any, settings: Any) -> None:
    """A client's local training."""
    optimiser = adam(model, settings)
    for inputs, labels in batches:
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(inputs), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimiser.step()
    model.zero_grad(set_to_none=True)
    optimiser.state.clear()


class PFLlib:
    """PFLlib's procedure, re-enacted: every client has a model of its own, a copy of the server's.

    Only parameters are exchanged, one by one; batch-norm statistics stay where they are.
    """

    def __init__(self, model: nn.Module, clients: Sequence[Pairs], settings: Any) -> None:
        self.model, self.settings, self.clients = copy.deepcopy(model), settings, clients
        self.models = [copy.deepcopy(model) for _ in clients]

    @torch.no_grad()
    def send(self) -> None:
        """Every client's parameters become the server's."""
        for own in self.models:
            for mine, theirs in zip(own.parameters(), self.model.parameters(), strict=True):
                mine.data = theirs.data.clone()

    @torch.no_grad()
    def receive(self) -> None:
        """The server's parameters become the clients' weighted mean."""
        total = sum(map(len, self.clients))
        kept = [(len(pairs) / total, copy.deepcopy(own)) for pairs, own in zip(self.clients, self.models, strict=True)]
        for mine in self.model.parameters():
            mine.data.zero_()
        for weight, own in kept:
            for mine, theirs in zip(self.model.parameters(), own.parameters(), strict=True):
                mine.data += theirs.data.clone() * weight

    def round(self) -> None:
        """One communication round."""
        self.send()
        for pairs, own in zip(self.clients, self.models, strict=True):
            own.train()
            one_pass(own, DataLoader(pairs, self.settings.batch_size, shuffle=True), self.settings)  # type: ignore[arg-type]
        self.receive()


class FedMEKI:
    """FedMEKI's procedure, re-enacted: samples are decoded whenever they are read, and the mean is taken key by key."""

    def __init__(self, model: nn.Module, clients: Sequence[Any], settings: Any) -> None:
        self.model, self.settings, self.clients = copy.deepcopy(model), settings, clients
        self.models = [copy.deepcopy(model) for _ in clients]

    @torch.no_grad()
    def combine(self) -> dict[str, Tensor]:
        """The mean of every tensor; the state dicts of all clients are built for each of them."""
        total, found = sum(map(len, self.clients)), {}
        for key in self.model.state_dict():
            parts = [
                own.state_dict()[key] * (len(pairs) / total)
                for pairs, own in zip(self.clients, self.models, strict=True)
            ]
            found[key] = torch.stack(parts).sum(dim=0).to(self.model.state_dict()[key].dtype)
        return found

    def round(self) -> None:
        """One communication round."""
        for pairs, own in zip(self.clients, self.models, strict=True):
            own.load_state_dict(self.model.state_dict())
            own.train()
            one_pass(own, DataLoader(pairs, self.settings.batch_size, shuffle=True), self.settings)
        self.model.load_state_dict(self.combine())


@dataclass(frozen=True)
class Decoding:
    """Samples of one client in files, read and decoded each time: a dataset as torch's loaders take it."""

    paths: Sequence[Path]
    labels: Tensor
    read: Callable[[Path], Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.read(self.paths[index]), self.labels[index]


def record(path: Path) -> Tensor:
    """An ECG in the format of its release, (12, samples) in mV."""
    import wfdb

    signal, _ = wfdb.rdsamp(str(path))
    return torch.from_numpy(signal.T.copy()).float()


def decoding(encoder: str, made: Any, bare: BareLoop, folder: Path) -> list[Decoding]:
    """The clients' samples as files: of ECGs the release's own, of series a tensor each."""
    task, found = TASKS[encoder][1], []
    for client, (inputs, labels) in zip(made.clients, bare.clients, strict=True):
        if encoder == "signal":
            raw = folder / f"raw-{TASKS[encoder][0]}-{RECORDS}"
            table = read_table(client.data[task].cohort.path / "samples.parquet", columns=["source"])
            sources = table["source"].to_pylist()
            found.append(Decoding([raw / str(sources[row]) for row in client.data[task].rows], labels, record))
            continue
        paths = [folder / "tensors" / f"{client.number}-{n}.pt" for n in range(len(labels))]
        paths[0].parent.mkdir(exist_ok=True)
        for path, sample in zip(paths, inputs, strict=True):
            torch.save(sample.clone(), path)
        found.append(Decoding(paths, labels, torch.load))
    return found


class Flower:
    """A Flower simulation in a process of its own, which waits to be told before each round."""

    def __init__(
        self, python: str, model: Any, clients: Pairs, settings: Any, rounds: int, processes: int, folder: Path
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        torch.save((model.encoder, model.decoder), folder / "model.pt")
        torch.save([(inputs.clone(), labels.clone()) for inputs, labels in clients], folder / "clients.pt")
        self._reports, write = os.pipe()
        chosen = {name: getattr(settings, name) for name in ("lr", "weight_decay", "clip", "batch_size")}
        told = chosen | {"rounds": rounds, "processes": processes, "reports": write}
        (folder / "settings.json").write_text(json.dumps(told), encoding="utf-8")
        here = Path(__file__).resolve().parent
        environment = os.environ | {
            "FLOWER_ROUND": str(folder), "PYTHONPATH": f"{here}{os.pathsep}{here.parent}", "OMP_NUM_THREADS": "1",
            "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0",
        }  # fmt: skip
        started = time.perf_counter()
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [python, "-c", "import flower_round; flower_round.main()"], stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT, env=environment, cwd=folder, pass_fds=[write], text=True,
            )  # fmt: skip
        os.close(write)
        self._lines = os.fdopen(self._reports, encoding="utf-8")
        self._await("ready")
        self.start = time.perf_counter() - started
        self._left = rounds

    def round(self) -> None:
        """One communication round; the wait for it is over when Flower has the new global model."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self._await("done")
        self._left -= 1

    def cpu(self) -> float:
        """Seconds on the processor of Flower's process and all that it started, Ray's included."""
        return tree_seconds(self._process.pid)

    def close(self) -> None:
        """Do the rounds that are left, and wait for the end."""
        started = time.perf_counter()
        while self._left:
            self._await("ready")
            self.round()
        self._process.wait(timeout=120)
        self.end = time.perf_counter() - started
        self._lines.close()

    def _await(self, word: str) -> None:
        for line in self._lines:
            if line.strip() == word:
                return
            if line.strip() == "failed":
                break
        raise SystemExit(f"Flower failed:\n{(self.folder / 'log.txt').read_text(encoding='utf-8')[-3000:]}")


def tree_seconds(root: int) -> float:
    """Seconds on the processor of a process and its descendants, dead ones included if somebody waited for them."""
    parents, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return sum(ticks[each] for each in descendants(root, parents)) / os.sysconf("SC_CLK_TCK")


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """A process and all that descend from it, given everybody's parent."""
    found, more = {root} & parents.keys(), True
    while more:
        new = {child for child, parent in parents.items() if parent in found} - found
        found |= new
        more = bool(new)
    return found


def taking_turns(
    peers: Mapping[str, tuple[Callable[[], object], Callable[[], float]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Who -> seconds on the processor and on the clock of each round after the first; another one begins each time."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    names = [*peers]
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            work, cpu = peers[name]
            before, started = cpu(), time.perf_counter()
            work()
            seconds = time.perf_counter() - started
            found[name].append((cpu() - before, seconds))
    return {name: times[1:] for name, times in found.items()}


def summary(times: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[dict[str, Any]]:
    """Per peer the medians of both times, and of their ratios to ours within a turn."""
    for name, own in times.items():
        row: dict[str, Any] = {"peer": name}
        for place, kind in enumerate(("cpu", "wall")):
            row[f"{kind}_s"] = statistics.median(time[place] for time in own)
            turns = zip(own, times["ours"], strict=True)
            row[f"{kind}_ratio"] = statistics.median(theirs[place] / ours[place] for theirs, ours in turns)
        yield row


def compared(
    encoder: str, profile: str, clients: int, rounds: int, folder: Path, flower: str | None, processes: Sequence[int]
) -> list[dict[str, Any]]:
    """All peers on one setting."""
    made = even(encoder, profile, clients, prepared(encoder, folder, RECORDS))
    bare, ours = BareLoop(made, TASKS[encoder][1]), made.run()
    pairs = [[*zip(inputs, labels, strict=True)] for inputs, labels in bare.clients]
    pfllib, own = PFLlib(bare.model, pairs, made.settings), time.process_time
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        files = decoding(encoder, made, bare, folder if encoder == "signal" else temporary)
        reference = FedMEKI(bare.model, files, made.settings)
        peers: dict[str, tuple[Callable[[], object], Callable[[], float]]] = {
            "ours": (lambda: next(ours), own), "bare": (bare.round, own), "PFLlib": (pfllib.round, own),
            "FedMEKI": (reference.round, own),
        }  # fmt: skip
        simulations: dict[str, Flower] = {}
        for count in processes if flower else ():
            one = simulations[f"Flower, {count}"] = Flower(
                flower or "", bare.model, bare.clients, made.settings, rounds + 1, count, temporary / str(count)
            )
            peers[f"Flower, {count}"] = (one.round, one.cpu)
        rows = [*summary(taking_turns(peers, rounds))]
        for name, one in simulations.items():
            one.close()
            next(row for row in rows if row["peer"] == name).update(start_s=one.start, end_s=one.end)
    setting = {"encoder": encoder, "profile": profile, "clients": clients, "samples": bare.samples}
    return [setting | row for row in rows]


def beginning(encoder: str, profile: str, clients: int, data: Path) -> float:
    """Seconds from nothing to a federation that is ready for its first round, in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--begin", encoder, profile, str(clients), str(data)], check=True)
    return time.perf_counter() - started


def machine() -> str:
    """What the table was measured on, in words."""
    about = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    flags = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if f" {flag} " in about]
    cores = f"{os.cpu_count()} cores" + "".join(f" with {name}" for name in flags[:1])
    return f"{cores}, Python {platform.python_version()}, torch {importlib.metadata.version('torch')}, one thread"


def shown(row: Mapping[str, Any]) -> str:
    """A line of the table."""
    beside = "" if row["peer"] == "ours" else f"{row['cpu_ratio']:.2f} | {row['wall_ratio']:.2f}"
    start = f"{row['start_s']:.1f}" if "start_s" in row else ""
    return (
        f"| {row['encoder']}, {row['profile']} | {row['clients']} | {row['peer']} | {1000 * row['cpu_s']:.0f} | "
        f"{1000 * row['wall_s']:.0f} | {beside or ' | '} | {start} |"
    )


def main() -> None:
    if sys.argv[1:2] == ["--begin"]:
        even(*sys.argv[2:4], int(sys.argv[4]), Path(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower", metavar="PYTHON", help="of an environment with flwr[simulation]")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="of each Flower simulation")
    parser.add_argument("--encoders", nargs="+", choices=["clinical", "signal"], default=["clinical", "signal"])
    parser.add_argument("--profiles", nargs="+", choices=["demo", "paper"], default=["demo", "paper"])
    parser.add_argument("--clients", nargs="+", type=int, default=[5, 100])
    parser.add_argument("--rounds", type=int, default=5, help="that are counted")
    parser.add_argument("--data", type=Path, help="where stand-ins are kept; by default they are made anew")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_pages()
    found, flower = list[dict[str, Any]](), (chosen.flower, chosen.processes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.data or Path(temporary)
        print(machine())
        if chosen.flower:
            versions = (
                "import importlib.metadata as m; print(*[f'{p} {m.version(p)}' for p in ('flwr', 'ray', 'torch')])"
            )
            print(subprocess.run([chosen.flower, "-c", versions], check=True, capture_output=True, text=True).stdout)
        print("| encoder, profile | clients | who | CPU ms | wall ms | CPU, x ours | wall, x ours | start s |")
        print("|---|---:|---|---:|---:|---:|---:|---:|")
        for encoder in chosen.encoders:
            for profile in chosen.profiles:
                for clients in chosen.clients:
                    rows = compared(encoder, profile, clients, chosen.rounds, folder, *flower)
                    rows[0]["start_s"] = beginning(encoder, profile, clients, prepared(encoder, folder, RECORDS))
                    for row in rows:
                        print(shown(row), flush=True)
                    found += rows
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
