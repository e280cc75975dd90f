"""A federation of real processes on this machine: SuperLink, SuperNodes, site workers; all of it ends with the test.

Flower lives in an environment of its own (`make flower`); without it the tests that need it are skipped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
FLOWER = Path(os.environ.get("FEDMEKI_FLOWER", ROOT / ".venv-flower" / "bin"))
COMMAND = [sys.executable, "-m", "fedmeki_bench"]
LIMIT = 240.0  # seconds for anything here

_WATCHDOG = """
import os, signal, sys
groups = [int(line) for line in sys.stdin]
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
"""Ends all groups when the pipe to it ends, which it does however the test ends: nothing may flood the machine."""

needs_flower = pytest.mark.skipif(not (FLOWER / "flwr").exists(), reason="Flower is not installed: make flower")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hospitals:
    """Everything but the run itself.

    Args:
        sites: the folders of the sites, as `site prepare` wrote them.
        folder: for sockets, memories and logs; its path is short, since paths of sockets are.
        tls: arguments of the SuperLink and of the SuperNodes, where it is not to be --insecure.
    """

    def __init__(
        self, sites: Sequence[Path], folder: Path, *, link: Sequence[str] = ("--insecure",),
        node: Callable[[int], Sequence[str]] = lambda number: ("--insecure",), connection: str = "insecure = true",
    ) -> None:  # fmt: skip
        self.sites, self.folder, self._node_arguments = list(sites), folder, node
        self.port = free_port()
        self.environment = os.environ | {
            "FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{FLOWER}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        (folder / "home").mkdir()
        (folder / "home" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\n{connection}\n'
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watchdog = subprocess.Popen(
            [sys.executable, "-c", _WATCHDOG], stdin=subprocess.PIPE, start_new_session=True
        )
        arguments = ["--port", str(self.port), "--disable-runtime-dependency-installation", *link]
        self.start("link", [str(FLOWER / "flower-superlink"), *arguments])

    def start(self, name: str, command: Sequence[str]) -> None:
        """A process in a group of its own, its output in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{self.processes[name].pid}\n".encode())
        self._watchdog.stdin.flush()

    def open(self, *numbers: int) -> None:
        """Start these sites: worker and SuperNode."""
        for number in numbers:
            socket_path = self.folder / f"{number}.sock"
            serve = ["site", "serve", "--data", str(self.sites[number]), "--memory", str(self.memory(number))]
            self.start(f"site-{number}", [*COMMAND, *serve, "--socket", str(socket_path)])
            superlink = ["--superlink", f"127.0.0.1:{self.port}", "--port", str(free_port())]
            config = ["--node-config", f'socket="{socket_path}" patience=60']
            node = [str(FLOWER / "flower-supernode"), *superlink, *config, *self._node_arguments(number)]
            self.start(f"node-{number}", node)

    def kill(self, *names: str) -> None:
        """End processes with all that they started, as a power cut would."""
        for name in names:
            process = self.processes.pop(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def memory(self, number: int) -> Path:
        return self.folder / f"memory-{number}"

    def kept(self, number: int, pattern: str) -> list[str]:
        """Files of clients' memories at a site."""
        return sorted(path.name for path in self.memory(number).glob(f"*/{pattern}"))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def run(self, data: Path, results: Path, algorithm: str, *more: str) -> subprocess.Popen[bytes]:
        """Begin `run --engine flower`."""
        flower = ["--engine", "flower", "-e", f"flwr={FLOWER / 'flwr'}"]
        flower += [] if "patience" in " ".join(more) else ["-e", "patience=120"]
        command = ["run", algorithm, "--data", str(data), "--results", str(results), *flower, "--plain", *more]
        self.start("run", [*COMMAND, *command])
        return self.processes["run"]

    def close(self) -> list[str]:
        """End everything; the processes that are left, which should be none."""
        names = list(self.processes)
        groups = [self.processes[name].pid for name in names]
        self.kill(*names)
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait()
        time.sleep(0.5)
        left = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.info["cmdline"] or ()))
        return left


def wait_for(what: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Until something holds.

    Raises:
        TimeoutError: it does not within its time.
    """
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.02)


@contextlib.contextmanager
def hospitals(sites: Sequence[Path], folder: Path, **how) -> Iterator[Hospitals]:  # type: ignore[no-untyped-def]
    """Hospitals that are open, and gone afterwards; what their logs say is shown where a test fails."""
    found = Hospitals(sites, folder, **how)
    try:
        found.open(*range(len(found.sites)))
        yield found
    except BaseException:
        for path in sorted(folder.glob("*.log")):
            sys.stderr.write(f"---- {path.name}\n{path.read_text(errors='replace')[-3000:]}\n")
        raise
    finally:
        left = found.close()
    assert not left
