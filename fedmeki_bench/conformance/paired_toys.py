"""A generated task whose samples have several modalities at once: up to two pictures, and a signal or none."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from fedmeki_bench.conformance.toys import Asked, Generated, Pictures, Signals, cohorts
from fedmeki_bench.data.cohort import Cohort, find
from fedmeki_bench.data.contract import ArraySpec, DatasetMeta, Decoded, PreparerOptions
from fedmeki_bench.seeds import generator
from fedmeki_bench.task import Clinical, TaskMeta

MODALITIES = ("image", "signal")


class Patients(Generated):
    """The label shows in the pictures and in the signal; a third lack the signal, a quarter the pictures."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="patients", version=1, title="generated patients", modalities=MODALITIES, grouping="sample",
        licence="none", access="generated", citation="none", url="none", real_layout="nothing",
    )  # fmt: skip

    def arrays(self, options: PreparerOptions) -> dict[str, ArraySpec]:
        """Pictures and signals as the other generated tasks have them."""
        picture, wave = Pictures.spec, Signals.spec
        return {
            "image": ArraySpec(picture.shape, picture.dtype, picture.scale, picture.unit, many=2, optional=True),
            "signal": ArraySpec(wave.shape, wave.dtype, wave.scale, wave.unit, optional=True),
        }

    def decode(self, raw: object, source: str, options: PreparerOptions) -> Decoded:
        """None, one or two pictures, and a signal or none; never nothing at all."""
        number, first, second = map(int, source.split(":"))
        random = generator(number, "conformance", self.meta.name)
        pictures = [Pictures().draw(first, second, random).astype("uint8") for _ in range(1 + number % 2)]
        wave = Signals().draw(first, second, random).astype("int16")
        if number % 4 == 3:
            return Decoded({"image": [], "signal": wave})
        return Decoded({"image": pictures} if number % 3 == 0 else {"image": pictures, "signal": [wave]})


class Either(Asked):
    """Is the left brighter, or the wave fast? Both say the same."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="either", version=1, title="Is it the first sort?", dataset="patients", modalities=(*MODALITIES, "text"),
        kind="binary", role="training", clinical=Clinical("Is it the first sort?", "nobody", "never"), licence="none",
        access="generated", citation="none", grouping="sample", positive="yes",
    )  # fmt: skip


EITHER = Either()


@cache
def paired_cohort() -> Cohort:
    """The cohort of :class:`Either`."""
    from fedmeki_bench.data.prepare.prepare import prepare

    data = cohorts()["left"].path.parent
    raw = data.parent / "raw"
    prepare(Patients(), raw, data.parent / "paired", [EITHER], PreparerOptions(), workers=1)
    return find(data.parent / "paired", EITHER.meta.name)
