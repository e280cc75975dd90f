from __future__ import annotations

import pytest

from fedmeki_bench.data.raw.tables import number, read_table
from fedmeki_bench.errors import InputError


def read(tmp_path, data: bytes | str, columns=("a", "b")):
    path = tmp_path / "t.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_table(path, columns)


def test_values_stay_text(tmp_path):
    table = read(tmp_path, '\ufeffa,b\r\n01,"x, ""y""\nz"\n\n,NA\n')
    assert table.to_dict("list") == {"a": ["01", ""], "b": ['x, "y"\nz', "NA"]}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", r"t\.csv is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a;b\n1;2\n", "is separated by ';'"),
        ("a\tb\n1\t2\n", "is separated by tabs"),
        ("a,bb\n1,2\n", "lacks the column 'b'"),
        ("aa,patient_id\n1,2\n", "lacks the column 'a'"),
        ("a,b,b\n1,2,3\n", "has the column 'b' twice"),
        ("a,b\n1,2\n3", r"row 2 \(line 3\): has 1 fields where the header has 2; .* cut in mid-line"),
        ("a,b\n1,2,3\n4,5\n", r"row 1 \(line 2\): has 3 fields where the header has 2$"),
        ('a,b\n1,2\n3,"4', r"row 2 \(line 3\): a quote is never closed, .* cut in mid-line"),
        ('a,b\n1,"2"x\n', r"row 1 \(line 2\): the quoting is broken"),
        (b"a,b\n1,2\n3,\xff\n", "line 3: byte 0xff is not UTF-8"),
        (b"a,b\n1,\0\n", "line 2: holds a NUL byte"),
    ],
)
def test_bad_tables_get_one_sentence(tmp_path, data, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)
    assert "t.csv" in str(error.value)


def test_missing_file_and_nearest_column(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_table(tmp_path / "none.csv", ["a"])
    with pytest.raises(InputError, match=r"did you mean 'patient_id'\?"):
        read(tmp_path, "patient_id,b\n1,2\n", ("patientid",))


def test_number():
    assert number(" ") is None
    assert number("1.5") == 1.5
    for bad in ("x", "nan", "inf", "1,5"):
        with pytest.raises(ValueError):
            number(bad)
