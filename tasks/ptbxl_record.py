"""What the tasks that learn from PTB-XL's statements and ages have in common: the same records of the same release."""

from __future__ import annotations

from fedmeki_bench.api import Clinical, TaskMeta


def record_meta(
    *, name: str, title: str, kind: str, what: str, asks: str, classes: tuple[str, ...] = (), unit: str = ""
) -> TaskMeta:
    """The metadata of a training task on single records; all else is the data set's."""
    return TaskMeta(
        name=name,
        version=1,
        title=title,
        dataset="ptbxl",
        modalities=("signal",),
        kind=kind,
        role="training",
        clinical=Clinical(
            what=what,
            who="in- and outpatients of all ages with a 10-second resting 12-lead ECG (Germany, 1989-1996)",
            when="when the recording is read, before a cardiologist has looked at it",
        ),
        licence="CC BY 4.0",
        access="open: download PTB-XL 1.0.3 from https://physionet.org/content/ptb-xl/1.0.3/ "
        "(ptbxl_database.csv and the folder records100 are enough)",
        citation="Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. "
        "Scientific Data 7:154 (2020); PhysioNet, doi:10.13026/kfzx-aw45",
        grouping="patient",
        classes=classes,
        unit=unit,
        asks=asks,
    )
