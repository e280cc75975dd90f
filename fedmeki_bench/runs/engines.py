"""Which engine a run is executed by: a name and its options, as they cross process borders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.errors import UsageError
from fedmeki_bench.options import parse_options

if TYPE_CHECKING:
    from fedmeki_bench.federation.engine import Engine, Sequential
    from fedmeki_bench.runs.assemble import Models
    from fedmeki_bench.runs.spec import RunSpec


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine by name, with its options.

    Attributes:
        name: of a plug-in of kind ``engines``.
        options: as given, by name.
    """

    name: str = "sequential"
    options: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> EngineChoice:
        """The same, its options resolved.

        Raises:
            UsageError: there is no such engine, or it can't work here.
            InputError: an option is unknown or out of range.
        """
        found: type[Engine] = registry.load("engines", self.name)
        options = parse_options(found.Params, dict(self.options), owner=f"engine {self.name}").model_dump()
        found.check(options)
        return EngineChoice(self.name, options)

    @property
    def has_data(self) -> bool:
        """Whether the samples of clients lie in the run's data folder."""
        found: type[Engine] = registry.load("engines", self.name)
        return found.has_data

    def opened(
        self, spec: RunSpec, key: str, data: Path, folder: Path, device: str, models: Models,
        here: Callable[[], Sequential],
    ) -> Engine:  # fmt: skip
        """The engine, ready for a run."""
        from fedmeki_bench.federation.engine import Opening

        found: type[Engine] = registry.load("engines", self.name)
        layouts = {id(each): each.values.layout for each in (models.common, *models.own.values())}
        return found.open(
            Opening(
                spec, key, data, folder, devices_of(device), self.checked().options, models.common,
                tuple(layouts.values()), tuple(range(spec.clients)), here,
            )
        )  # fmt: skip


HERE = EngineChoice()
"""All clients in this process, one after another."""


def devices_of(device: str) -> tuple[str, ...]:
    """The devices in a comma-separated list; of a run, the server's models are on the first.

    Raises:
        UsageError: there is none in it.
    """
    found = tuple(name.strip() for name in device.split(",") if name.strip())
    if not found:
        raise UsageError(f"--device {device!r} names no device")
    return found
