"""PTB-XL: 12-lead resting ECGs with statements (versions 1.0.1 to 1.0.3), read at 100 Hz."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    PreparerOptions,
    confined,
    number,
    read_table,
    require_folder,
    training_assignment,
)

from .layout import LEADS, RATE, RECORDS, SAMPLES, TABLE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_NEEDED = ("ecg_id", "patient_id", "age", "sex", "site", "scp_codes", "extra_beats", "filename_lr")
_RELEASES = {21_837: "PTB-XL 1.0.1", 21_801: "PTB-XL 1.0.2", 21_799: "PTB-XL 1.0.3"}
_UNITS = {"mv": 1000.0, "uv": 1.0, "v": 1_000_000.0}  # to microvolts
_OVER_89 = 300  # what the table writes for such an age
_INVALID = -32768  # what format 16 writes for a missing sample
_RECORD_LINE = re.compile(r"^\S+ 12 100 1000\s*$")
_SIGNAL_LINE = re.compile(r"^(\S+) 16 ([0-9.eE+-]+)(?:\((-?\d+)\))?/(\S+) \d+ -?\d+ -?\d+ -?\d+ 0 (\S+)\s*$")


class PtbXl(DatasetPreparer):
    """Reads the official folder.

    Tasks get the columns of ``ptbxl_database.csv`` as text, ``scp_codes`` parsed to a dict of statement -> likelihood
    in percent, ``age`` in years, and ``age_over_89``: whether no more than that is told, and the age therefore 90.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="ptbxl",
        version=1,
        title="PTB-XL electrocardiograms",
        modalities=("signal",),
        grouping="patient",
        licence="CC BY 4.0",
        access="open",
        citation="Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. "
        "Scientific Data 7:154 (2020); PhysioNet, doi:10.13026/kfzx-aw45",
        url="https://physionet.org/content/ptb-xl/1.0.3/",
        real_layout="a folder with 'ptbxl_database.csv' and 'records100/NNNNN/NNNNN_lr.hea' and '.dat'",
    )
    shortcuts: ClassVar[tuple[str, ...]] = ("site and device differ in noise and in the share of abnormal recordings",)
    pool_from: ClassVar[int] = 1_000_000  # 0.3 ms a record: sending it between processes costs as much
    synthesize_size: ClassVar[int] = 600

    def sources(self, raw: Path, options: PreparerOptions) -> list[Path]:
        """The table; also checks that the folder is PTB-XL's."""
        require_folder(raw, self.meta, (TABLE, RECORDS))
        return [raw / TABLE]

    def bulk(self, raw: Path, options: PreparerOptions) -> list[Path]:
        """The 100 Hz records."""
        return [raw / RECORDS]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of rows, which differs between the releases."""
        rows = int(table.attrs.get("rows_read", 0))
        return _RELEASES.get(rows, f"PTB-XL, release not known by its {rows} rows (a part of it?)")

    def table(self, raw: Path, options: PreparerOptions, drops: Drops) -> pd.DataFrame:
        """One row per record, in the order of the table."""
        import pandas as pd

        read = read_table(raw / TABLE, _NEEDED)
        drops.read = len(read)
        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        capped = unread = 0
        for position, row in enumerate(read.to_dict("records"), start=1):
            try:
                sample = _row({str(k): v for k, v in row.items()})
                if sample["sample_id"] in seen:
                    raise Dropped("the ecg_id occurs a second time")
                confined(raw, sample["source"])
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} (ecg_id {row['ecg_id'][:20]})")
                continue
            seen.add(sample["sample_id"])
            if sample["age_over_89"]:
                capped += 1
            elif sample["age"] is None and row["age"].strip():
                unread += 1
            kept.append(sample)
        if capped:
            drops.note(f"{capped} ages over 89 (written as 300) are told as 90")
        if unread:
            drops.note(f"{unread} ages are no possible age and are left blank")
        columns = list(dict.fromkeys([*read.columns, "sample_id", "group_id", "source", "age_over_89"]))
        table: pd.DataFrame = pd.DataFrame(kept, columns=columns)
        table.attrs["rows_read"] = len(read)
        return table

    def registry(self, raw: Path, table: pd.DataFrame, options: PreparerOptions) -> dict[str, str]:
        """Patient -> split, as ``ecg_abnormal`` and every other training task of PTB-XL splits them."""
        return training_assignment(table, options, self.meta.name)

    def arrays(self, options: PreparerOptions) -> dict[str, ArraySpec]:
        """12 leads, 10 s at 100 Hz, in steps of 1 microvolt."""
        return {"signal": ArraySpec((len(LEADS), SAMPLES), "int16", 0.001, "mV")}

    def decode(self, raw: Path, source: str, options: PreparerOptions) -> Decoded:
        """Read one record, leads in the order I II III AVR AVL AVF V1-V6."""
        path = confined(raw, source)
        header, data = path.with_name(path.name + ".hea"), path.with_name(path.name + ".dat")
        for file, kind in ((header, "header (.hea)"), (data, "signal file (.dat)")):
            if not file.is_file():
                raise Dropped(f"the {kind} is missing")
        try:
            microvolts = _read_plain(header, data)
            if microvolts is None:
                microvolts = _read_any(path)
        except OSError as error:
            raise Dropped(f"the record cannot be read: {error.strerror or 'input error'}") from None
        return Decoded({"signal": _stored(microvolts)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table with ids, statements, sex and age read; Dropped where it cannot be used."""
    ecg, patient = _whole(row["ecg_id"], "ecg_id"), _whole(row["patient_id"], "patient_id")
    site, age = _number(row["site"], "site"), _age(row["age"])
    return row | {
        "sample_id": str(ecg),
        "group_id": str(patient),
        "site": "" if site is None else f"{site:g}",
        "source": row["filename_lr"],
        "scp_codes": _statements(row["scp_codes"]),
        "sex": {"0": "male", "1": "female"}.get(row["sex"].strip().removesuffix(".0"), ""),
        "age": 90.0 if age == _OVER_89 else age,
        "age_over_89": age == _OVER_89,
    }


def _number(text: str, column: str) -> float | None:
    try:
        return number(text)
    except ValueError:
        raise Dropped(f"{column} is not a number") from None


def _age(text: str) -> float | None:
    """Years; 300 stands for "over 89"; ``None`` where there is none or it is impossible."""
    try:
        age = number(text)
    except ValueError:
        return None
    return age if age is not None and (0 <= age <= 120 or age == _OVER_89) else None


def _whole(text: str, column: str) -> int:
    value = _number(text, column)
    if value is None or value != int(value):
        raise Dropped(f"{column} is not a whole number")
    return int(value)


def _statements(text: str) -> dict[str, float]:
    """``scp_codes``: the text of a Python dict, read as a literal and never evaluated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a damaged table
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise Dropped("scp_codes is not the text of a dict") from None
    if not isinstance(value, dict) or not all(
        isinstance(k, str) and isinstance(v, (int, float)) and not isinstance(v, bool) and v == v
        for k, v in value.items()
    ):
        raise Dropped("scp_codes is not a dict of statements to likelihoods")
    try:
        return {k: float(v) for k, v in value.items()}
    except OverflowError:
        raise Dropped("scp_codes is not a dict of statements to likelihoods") from None


def _read_plain(header: Path, data: Path) -> np.ndarray | None:
    """The layout that every record of the release has, at a tenth of the time of a full WFDB parser.

    Returns (12, 1000) microvolts, or ``None`` where the header is of any other kind.
    """
    import numpy as np

    try:
        lines = header.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError:
        return None
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    signals = [m for m in map(_SIGNAL_LINE.match, lines[1:]) if m]
    if len(lines) != 13 or len(signals) != 12 or not _RECORD_LINE.match(lines[0]):
        return None
    if any(m[1] != data.name for m in signals):
        return None
    try:
        gains = np.array([float(m[2]) for m in signals])
    except ValueError:
        return None
    zeros = np.array([int(m[3] or 0) for m in signals])
    expected = 2 * len(LEADS) * SAMPLES
    size = data.stat().st_size
    if size != expected:
        raise Dropped(f"the signal file is {'truncated' if size < expected else 'longer than its header says'}")
    digital = np.fromfile(data, dtype="<i2").reshape(SAMPLES, len(LEADS)).T
    return _microvolts(digital, gains, zeros, [m[4] for m in signals], [m[5] for m in signals])


def _read_any(path: Path) -> np.ndarray:
    """Any other record, through wfdb; returns (12, 1000) microvolts."""
    import numpy as np
    import wfdb

    try:
        head = wfdb.rdheader(str(path))
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, UnicodeDecodeError):
        raise Dropped("the header is no WFDB header") from None
    if head.fs != RATE:
        raise Dropped(f"{head.n_sig} leads at {head.fs:g} Hz, expected 12 at 100 Hz")
    if head.n_sig != len(LEADS):
        raise Dropped(f"{head.n_sig} leads, expected 12")
    if head.sig_len != SAMPLES:
        raise Dropped(f"{head.sig_len} samples, expected {SAMPLES} (10 s at 100 Hz)")
    if any("/" in name or "\\" in name for name in head.file_name or []):
        raise Dropped("the header names a signal file outside its folder")
    try:
        record = wfdb.rdrecord(str(path), physical=False)
    except FileNotFoundError:
        raise Dropped("the signal file named in the header is missing") from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError):
        raise Dropped("the signal file is truncated or does not fit its header") from None
    return _microvolts(
        np.asarray(record.d_signal).T,
        np.asarray(record.adc_gain, dtype=float),
        np.asarray(record.baseline),
        [unit or "" for unit in record.units or []],
        [name or "" for name in record.sig_name or []],
    )


def _microvolts(
    digital: np.ndarray, gains: np.ndarray, zeros: np.ndarray, units: list[str], names: list[str]
) -> np.ndarray:
    """(leads, samples) integers to microvolts, leads in standard order."""
    import numpy as np

    labels = [name.upper() for name in names]
    if sorted(labels) != sorted(LEADS):
        raise Dropped("the leads are not the 12 standard ones")
    if any(unit.lower() not in _UNITS for unit in units):
        raise Dropped("the signal is not given in volts, millivolts or microvolts")
    if np.any(digital == _INVALID):
        raise Dropped("the signal has samples marked as missing")
    if np.any(gains <= 0) or not np.all(np.isfinite(gains)):
        raise Dropped("the header gives a gain that is not positive")
    factor = np.array([_UNITS[unit.lower()] for unit in units]) / gains
    order = [labels.index(lead) for lead in LEADS]
    microvolts: np.ndarray = (digital - zeros[:, None].astype(float)) * factor[:, None]
    return microvolts[order]


def _stored(microvolts: np.ndarray) -> np.ndarray:
    import numpy as np

    rounded = np.rint(microvolts)
    if np.abs(rounded).max() > 32767:
        raise Dropped("the signal exceeds 32 mV")
    return np.ascontiguousarray(rounded, dtype=np.int16)
