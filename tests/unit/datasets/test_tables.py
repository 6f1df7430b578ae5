import bz2
import csv
import gzip
import io
import lzma
import pickle
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from pyarrow import parquet

from runner.datasets import csv_files, csv_layout, tables
from runner.datasets.texts import Texts
from runner.errors import ConfigError
from runner.nn.loading.samples import TRAIN
from runner.nn.loading.table_loader import TableLoader
from tests import data
from tests.units import LoggedWorkflow

KEY = "loader.data_file"


@pytest.fixture(params=["python", "pyarrow"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has CSV files of any size read by one of the two readers, after a look at few lines."""
    monkeypatch.setattr(csv_layout, "SAMPLE_LINES", 2)
    monkeypatch.setattr(csv_layout, "SAMPLE_CELLS", 4)
    if request.param == "pyarrow":
        monkeypatch.setattr(csv_files, "LARGE", 0)
    else:
        monkeypatch.setattr(csv_files, "BLOCK_ROWS", 3)
    return request.param


def values(column: tables.Column) -> list[object]:
    return [column.names[code] for code in column.codes] if isinstance(column, Texts) else column.tolist()


def read(path: Path, **settings: object) -> dict[str, list[object]]:
    return {name: values(column) for name, column in tables.load(KEY, str(path), **settings).columns.items()}


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_formats_give_the_same_columns(ending: str, tmp_path: Path) -> None:
    table = read(data.write_table(tmp_path / f"table{ending}"))
    a, b = data.numbers().normal(size=(2, 60))
    assert list(table) == ["a", "b", "kind", "y"]
    assert table["a"] == a.tolist()
    assert table["y"] == (2 * a - b).tolist()
    assert table["kind"][:4] == ["no", "maybe", "yes", "no"]


ODD: dict[str, tuple[bytes, dict[str, object]]] = {
    "plain": (b"a,b\n1,2\n3,4\n", {}),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", {}),
    "CRLF": (b"a,b\r\n1,2\r\n3,4\r\n", {}),
    "CR": (b"a,b\r1,2\r3,4\r", {"lineterminator": "\r"}),
    "no end of line": (b"a,b\n1,2\n3,4", {}),
    "blank lines": (b"a,b\n\n1,2\n\n\n3,4\n\n", {}),
    "blank first line": (b"\n\na,b\n1,2\n", {}),
    "quoted comma": (b'name,b\n"Doe, Jane",2\n"Roe, Max",3\n', {}),
    "quoted quote": (b'name,b\n"12"" disc",2\nx,3\n', {}),
    "quoted end of line": (b'name,b\n"one\ntwo",2\nx,3\n', {}),
    "quoted numbers": (b'a,b\n"1","2"\n"3","4"\n', {}),
    "end of line in the header": (b'"a\nb",c\n1,2\n', {}),
    "semicolons": (b"a;b\n1;2\n3;4\n", {"sep": ";"}),
    "semicolons within commas": (b"a,b\nx;y,2\nz,3\n", {}),
    "tabs": (b"a\tb\n1\t2\n3\t4\n", {"sep": "\t"}),
    "pipes": (b"a|b\n1|2\n3|4\n", {"sep": "|"}),
    "blanks around": (b"a , b\n 1, 2 \n3 ,4\n", {"skipinitialspace": True}),
    "quote after a blank": (b'a, b\n1, "x, y"\n2, "z"\n', {"skipinitialspace": True}),
    "one column": (b"a\n1\n2\n", {}),
    "one row": (b"a,b\n1,2\n", {}),
    "exponents": (b"a,b\n1e3,-2E-3\n.5,5.\n", {}),
    "signs": (b"a,b\n+1,-2\n+.5,-0.0\n", {}),
    "many digits": (b"a,b\n0.1000000000000000055511151231257827,179769313486231570000e288\n1e-320,123456789012345678\n", {}),
    "leading zeros": (b"a,zip\n01,x\n007,y\n", {}),
    "text that looks like code": (b"a,t\n1,0x10\n2,1_000\n3,True\n", {}),
    "not ASCII": ("größe,名\n1,ä\n2,犬\n".encode(), {}),
    "text late": (b"a,b\n" + b"1,2\n" * 7 + b"1,x\n", {"dtype": {"b": str}}),
    "numbers late": (b"a,b\nx,2\n" + b"1,2\n" * 7, {"dtype": {"a": str}}),
    "years as names": (b"id,2019,2020\n7,1,2\n8,3,4\n", {}),
    "mixed ends of lines": (b"a,b\r\n1,2\n3,4\r5,6\r\n", {"engine": "python"}),
    "quoted CRLF": (b'name,b\r\n"one\r\ntwo",2\r\nx,3\r\n', {"engine": "python", "keep_default_na": False}),
    "byte order mark before quotes": (b'\xef\xbb\xbf"a","b"\n1,2\n3,4\n', {"encoding": "utf-8-sig"}),
    "other ends of lines in text": ("a,b\nx\u2028y,1\nz\x85w,2\nv\x0bu,3\nt\x0cs,4\n".encode(), {}),
    "one cell below a name": (b"a\n5\n", {}),
    "empty name in the middle": (b"a,,c\n1,2,3\n4,5,6\n", {"names": ["a", "", "c"], "header": 0}),
    "names that differ in case": (b"a,A\n1,2\n", {}),
    "names of other signs": (b'a(cm),b[0],${x},a.b,"c,d"\n1,2,3,4,5\n', {}),
    "dates and truth": (b"d,t,b\n2024-01-02,True,1\n2024-01-03,False,2\n", {}),
    "empty cells of text": (b't,b\n,1\nx,2\n"",3\n', {}),
    "decimal commas": (b"a;b\n1,5;2\n2,5;3\n", {"sep": ";"}),
    "tabs within commas": (b"a,b\nx\ty,2\nz,3\n", {}),
    "commas within tabs": (b"a\tb\n1,5\t2\n2,5\t3\n", {"sep": "\t"}),
    "large numbers": (b"a,b\n9007199254740993,18446744073709551617\n-9223372036854775808,1e308\n", {}),
    "many columns": (b",".join(b"c%d" % number for number in range(1500)) + b"\n" + b",".join([b"7"] * 1500) + b"\n", {}),
    "gzip in members": (gzip.compress(b"a,b\n1,2\n", mtime=0) + gzip.compress(b"3,4\n", mtime=0), {"compression": "gzip"}),
    "gzip": (gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0), {"compression": "gzip"}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_read_as_by_pandas(name: str, by: str, tmp_path: Path) -> None:
    content, settings = ODD[name]
    (path := tmp_path / "t.csv").write_bytes(content)
    expected = pandas.read_csv(path, **{"keep_default_na": False, **settings})
    table = read(path)
    assert list(table) == [column.strip() for column in expected.columns]
    for column, wanted in zip(table, expected, strict=True):
        wanted = expected[wanted]
        as_text = isinstance(table[column][0], str)
        assert table[column] == ([str(cell).strip() for cell in wanted] if as_text else wanted.astype(float).tolist()), column


CELLS = {
    **dict.fromkeys(
        ["1", "-0", "-0.0", "+0", "5e-324", "2.2250738585072011e-308", "1e308", "1.7976931348623157e308", "1e-400"], True
    ),
    **dict.fromkeys(["1.", ".5", "-.5", "+.5", "1e5", "1E+05", "1e0005", "00012", " 1 ", "1\xa0", "\u20091", "\u200b1"], True),
    **dict.fromkeys(["9007199254740993", "18446744073709551617", "123456789012345678901234567890", "\x0c1", "\ufeff1"], True),
    **dict.fromkeys(["1e309", "-1e400", "inf", "Infinity", "-INF", "nan", "NaN", "-nan"], "not finite"),
    **dict.fromkeys(["", " ", "\u200b"], "the cell is empty"),
    **dict.fromkeys(["NA", "N/A", "null", "None", "#N/A", "1.#INF", "True", "0x10", "0x1p3", "1_000", "1j", "1d5", "1L"], "n"),
    **dict.fromkeys(
        ["1e", "e5", "1e+", "--1", "+-1", "+ 1", "1 000", "$5", "50%", ".", "1f", "∞", "\u22121", "½", "١٢", "\uff11"], "n"
    ),
    **dict.fromkeys(["1/2", "(1)", "1.5.2", "12:30", "2024-01-02", "'1'", "0b1", "infinit", "nan(1)", "x\xa0", "1e1_0"], "n"),
    **dict.fromkeys(["1,5", "1,234", "1.234,5"], "not a number: .*decimal point"),
    **dict.fromkeys(["1\0", "\x001"], "NUL"),
}
"""For each cell whether it is a number, or why it is refused."""


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_the_number_that_it_is_for_pandas_or_is_refused_with_its_place(cell: str, by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(f"a;b\n0.5;7\n{cell};8\n".encode())
    loader = TableLoader(LoggedWorkflow(), seed=1, data_file=str(path))
    if CELLS[cell] is True:
        plain = cell.strip("\u200b\ufeff\xa0\u2009 \x0c")
        expected = pandas.read_csv(io.StringIO(f"a\n0.5\n{plain}\n"))["a"].to_numpy(float)
        assert loader.load_data()[TRAIN].data[:, 0].tobytes() == expected.tobytes()
    else:
        message = "is not a number" if CELLS[cell] == "n" else CELLS[cell]
        with pytest.raises(ConfigError, match=rf"(?s)t.csv'.* line 3, column 'a'.*{message}") as caught:
            loader.load_data()
        assert len(str(caught.value).splitlines()) == 1


def test_large_files_are_read_as_by_pandas(by: str, tmp_path: Path) -> None:
    random = data.numbers()
    frame = pandas.DataFrame(random.normal(size=(3000, 4)) * 10.0 ** random.integers(-300, 300, size=(3000, 4)))
    frame.columns = list("abcd")
    frame["kind"] = np.array(["ant", "bee, or wasp", 'c"at'])[random.integers(3, size=3000)]
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    table = read(path)
    for name in "abcd":
        assert table[name] == frame[name].tolist()
    assert table["kind"] == frame["kind"].tolist()


@pytest.mark.parametrize(
    ("content", "header", "names"),
    [
        (b"1,2.5\n3,-4\n", None, ["0", "1"]),
        (b"5.1,3.5,setosa\n4.9,3.0,setosa\n", None, ["0", "1", "2"]),
        (b"red,big\nblue,small\nred,small\n", None, ["0", "1"]),
        (b"red,big\nblue,small\n", None, ["red", "big"]),
        (b"0,1,2\n5,6,7\n", None, ["0", "1", "2"]),
        (b",0,1\n0,6,7\n", None, ["", "0", "1"]),
        (b"name,2019\nx,5\n", None, ["0", "1"]),
        (b"name,2019\nx,5\n", True, ["name", "2019"]),
        (b"a,b\n1,2\n", False, ["0", "1"]),
    ],
)
def test_a_header_is_recognized(content: bytes, header: bool | None, names: list[str], by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(content)
    table = read(path, header=header)
    assert list(table) == names
    lines = len(content.splitlines())
    assert len(table[names[0]]) == lines - (content.startswith(",".join(names).encode()))


@pytest.mark.parametrize(
    ("expected", "names"), [(["2019"], ["name", "2019"]), (["2019", "name"], ["name", "2019"]), (["2019", "x"], ["0", "1"])]
)
def test_a_line_with_all_names_is_a_header(expected: list[str], names: list[str], by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(b"name,2019\nx,5\n")
    assert list(tables.load(KEY, str(path), expected=expected).columns) == names


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
def test_delimiters_in_quoted_names_are_none(delimiter: str, quoting: int, by: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a;": [1.5, 2], "b,c": ['q"', "x|y"], "d|": [3.0, 4], "e\tf": [5.0, 6]})
    frame.to_csv(path := tmp_path / "t.csv", index=False, sep=delimiter, quoting=quoting)
    assert read(path) == {name: frame[name].tolist() for name in frame}


def test_a_table_without_a_header_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path := tmp_path / "iris.csv").write_bytes(b"5.1,3.5,setosa\n4.9,3.0,setosa\n")
    read(path)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "iris.csv has no header" in record.message
    caplog.clear()
    read(path, header=False)
    assert not caplog.records


def test_a_delimiter_at_the_end_of_each_line_is_no_column(by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(b"a,b,\n1,2,\n3,4,\n")
    assert read(path) == {"a": [1, 3], "b": [2, 4]}
    path.write_bytes(b"a;b;\n" + b"1;2;\n" * 40 + b"3;4;5\n")
    with pytest.raises(ConfigError, match="line 42 has one value more"):
        read(path)


def test_columns_can_be_asked_for_as_text(by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(b"a,zip\n1,007\n2,010\n")
    assert read(path, texts=["zip"])["zip"] == read(path, texts=[1])["zip"] == ["007", "010"]
    assert read(path)["zip"] == [7, 10]


def test_white_space_around_texts_does_not_count(by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes('a,b\n1,cat \n2," cat"\n3,\u00a0cat\n'.encode())
    assert tables.load(KEY, str(path)).columns["b"].names == ["cat"]


def test_columns_that_nobody_uses_may_be_of_any_kind(tmp_path: Path) -> None:
    columns = {"when": np.arange(4).astype("M8[D]"), "a": np.arange(4.0), "z": [None, 1.0, 2.0, 3.0], "b": np.arange(4)}
    pandas.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", when=columns["when"], a=columns["a"], z=1j * columns["a"], b=columns["b"])
    for name in ("t.parquet", "t.npz"):
        table = tables.load(KEY, str(tmp_path / name))
        assert table.names == ["when", "a", "z", "b"]
        assert [table.name("key", number) for number in (1, 3)] == ["a", "b"]
        assert table.column("b").tolist() == [0, 1, 2, 3]
        for unusable in ("when", "z"):
            with pytest.raises(ConfigError, match=rf"{name}' cannot be read: its column '{unusable}' (is of type|has 1 empty)"):
                table.column(unusable)


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s)}".ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n3\n", "line 3 has 1 value, and the first line has 2"),
        ("t.csv", b"a,b\n1,2,3\n3,4,5\n", "line 2 has 3 values, and the first line has 2"),
        ("t.csv", b'a,b\n"x\ny",2\n3\n', "line 4 has 1 value"),
        ("t.csv", b"a,b\n1,2\n" + b"1,2\n" * 40 + b"3\n", "line 43 has 1 value"),
        ("t.csv", b"a,a\n1,2\n", "it has two columns named 'a'"),
        ("t.csv", b"a, a\n1,2\n", "it has two columns named 'a'"),
        ("t.csv", b",,a\n1,2,3\n", "it has two columns without a name"),
        ("t.csv", b"", "it has no rows"),
        ("t.csv", b"\n\n", "it has no rows"),
        ("t.csv", b"a,b\n", ""),
        ("t.csv", b"a,b\n1,\xe9\n", "it is not UTF-8 .byte 0xe9 in line 2."),
        ("t.csv", b"a,b\n" + b"1,2\n" * 40 + b"1,\xff\n", "it is not UTF-8 .byte 0xff in line 42."),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "it is UTF-16"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "it is UTF-16"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-be"), "it is UTF-16"),
        ("t.csv.gz", gzip.compress("a,b\n1,2\n".encode("utf-16"), mtime=0), "it is UTF-16"),
        ("t.csv", b"a,b\n1,\xed\xa0\x80\n", "it is not UTF-8 .byte 0xed in line 2."),
        ("t.csv", b"a,b\n1,x\0y\n", "line 2, column 'b' has a NUL character"),
        ("t.csv", b"a,b\n1,2\n3,4\n\0\0\0\0", "line 4 has 1 value"),
        ("t.csv", b"a,b\n1,2\n3,4\n\x1a", "line 4 has 1 value"),
        ("t.csv", b"a,b\n1,2,\n3,4,\n", "line 2 has 3 values, and the first line has 2"),
        ("t.csv", b"a,b\n1,2\n   \n3,4\n", "line 3 has 1 value"),
        ("t.csv", b"# made by hand\na,b\n1,2\n", "line 2 has 2 values, and the first line has 1"),
        ("t.csv", b"a\n1,5\n2,5\n", "line 2 has 2 values"),
        ("t.csv", b"a,b\n'x',1\n'y, z',2\n", "line 3 has 3 values"),
        ("t.csv", b'a,b\n"x \\" y",1\nz,2\n', "the row that begins after line 1 is not CSV"),
        ("t.csv", b"a,b\n" + b"x" * 140_000 + b",1\n", "the row that begins after line 1 is not CSV: field larger"),
        ("t.csv", b'[{"a": 1, "b": 2}]\n', "is not CSV"),
        ("t.csv", b"\xef\xbb\xbf\xef\xbb\xbfa,a\n1,2\n", "it has two columns named 'a'"),
        ("t.csv", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "it is a web page"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        ("t.csv", bz2.compress(b"a,b\n1,2\n"), "it is compressed by bzip2"),
        ("t.csv", lzma.compress(b"a,b\n1,2\n"), "it is compressed by xz"),
        ("t.csv", b"PK\3\4" + bytes(30), "it is a ZIP archive or an Excel workbook"),
        ("t.csv.gz", gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "it is compressed by gzip: unpack it"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-8] + bytes(8), "CRC"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0) + b"junk junk", ""),
        ("t.tsv", b"a\tb\n1\n", "line 2 has 1 value"),
        ("t.csv", b'a,b\n1,"2\n3,4\n', "the row that begins after line 1 is not CSV"),
        ("t.csv", b'a,b\n1,x\n2,"y\n3,z\n4,w\n', "the row that begins after line 2 is not CSV"),
        ("t.csv", b'a,b\n1,"2"x\n3,4\n', "the row that begins after line 1 is not CSV"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 9, mtime=0)[:-9], ""),
        ("t.csv.gz", b"\x1f\x8bnothing", ""),
        ("t.npy", b"nothing", ""),
        ("t.npy", b"", ""),
        ("t.npz", b"nothing", ""),
        ("t.npz", b"", ""),
        ("t.parquet", b"nothing", ""),
        ("t.parquet", b"", "it is empty"),
        ("t.parquet", b"a,b\n1,2\n", ""),
        ("t.parquet", b"PAR1" + bytes(40), "magic bytes"),
        ("t.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("t.npy", b"\x93NUMPY\1\0v\0" + HEADER % b"99999999999, 2", "announces more than there is memory for"),
        ("t.npy", b"\x93NUMPY\1\0v\0" + HEADER % b"-1, 2", ""),
        ("t.npy", b"\x93NUMPY\1\0v\0" + HEADER % b"3, 2", "Failed to read all data"),
        ("t.npy", b"\x93NUMPY\1\0v\0" + HEADER % b"'3', 2", ""),
        ("t.npy", b"\x93NUMPY\x09\0v\0" + HEADER % b"3, 2", ""),
        ("t.npy", pickle.dumps([1]), "pickled"),
        ("t.npy", b"PK\3\4" + bytes(30), ""),
        ("t.xlsx", b"", "known: .csv, .csv.gz, .npy, .npz, .parquet, .tsv, .tsv.gz"),
    ],
)
def test_a_wrong_file_is_named(name: str, content: bytes, message: str, by: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"loader.data_file='.*{name}' .*{message}") as caught:
        tables.load(KEY, str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_line_of_a_row_is_told(by: str, tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(b'a,b\n\n1,"x\ny"\n\n2,z\n')
    table = tables.load(KEY, str(path))
    assert [table.row_name(row) for row in range(2)] == ["line 4", "line 6"]


ARRAYS = {
    **{dtype: np.arange(12).reshape(6, 2).astype(dtype) for dtype in ("u1", "i2", ">i4", "i8", "u8", "f2", ">f4", "f8", "?")},
    "longdouble": np.arange(12, dtype=np.longdouble).reshape(6, 2) / 3,
    "Fortran": np.asfortranarray(np.arange(12.0).reshape(6, 2)),
    "structured": np.array([(1, 2.5), (3, 4.5)], [("0", "i4"), ("1", "f8")]),
    "text": np.array([["1", "x"], ["2", " y "]]),
    "bytes": np.array([[b"1", b"x"], [b"2", b"y"]]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_arrays_are_read_as_by_numpy(name: str, ending: str, tmp_path: Path) -> None:
    array = ARRAYS[name]
    columns = {str(number): array[str(number)] if array.dtype.names else array[:, number] for number in range(2)}
    path = tmp_path / f"t{ending}"
    if ending == ".npy":
        np.save(path, array)
    else:
        np.savez_compressed(path, **columns)
    table = read(path)
    for number, column in columns.items():
        wanted = [text.strip() for text in column.astype(str).tolist()] if column.dtype.kind in "US" else column.tolist()
        assert table[number] == [float(cell) if name == "longdouble" else cell for cell in wanted]


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    for arrays, message in (
        ({"x": np.zeros(3), "y": np.zeros(2)}, r"columns of different lengths: {'x': 3, 'y': 2}"),
        ({"x": np.float64(1)}, "its column 'x' is a single value"),
        ({"x": np.array([{}], object)}, "cannot be read: Object arrays cannot be loaded"),
        ({"x": np.zeros(3, complex)}, "'x' is of type complex128"),
        ({"x": np.array(["2024-01-02"], "M8[D]")}, "'x' is of type datetime64"),
        ({"x": np.array([b"\xff"])}, "'x' has bytes that are not ASCII"),
        ({"x": np.zeros(0)}, "has no rows"),
        ({"x": np.array(["1"], "m8[s]")}, "'x' is of type timedelta64"),
        ({"x": np.array([["a", "b"]])}, "'x' is of type <U1 and has 2 dimensions, and neither numbers nor a column of text"),
        ({"x": np.array([b"ab"], "V2")}, "'x' is of type |V2"),
        ({"x": np.array([((1, 2),)], [("p", [("q", "i4"), ("r", "i4")])])}, "'x' is of type"),
        ({}, "has no rows"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ConfigError, match=message):
            read(path)
    for array, message in ((np.zeros(3), "has 1 dimensions instead of 2"), (np.zeros((0, 2)), "has no rows")):
        np.save(tmp_path / "t.npy", array)
        with pytest.raises(ConfigError, match=message):
            read(tmp_path / "t.npy")


def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ConfigError, match=r"it has 'readme.txt' beside arrays"):
        read(path)
    np.save(tmp_path / "t.npy", np.zeros((2, 2)))
    (tmp_path / "t.npy").rename(path)
    with pytest.raises(ConfigError, match=r"it is an array of numpy: name it .npy"):
        read(path)
    np.savez(path, x=np.arange(3.0))
    path.write_bytes(path.read_bytes().replace(b"\0\0\xf0?", b"\0\0\xf1?"))
    with pytest.raises(ConfigError, match="Bad CRC-32"):
        read(path)
    path.rename(tmp_path / "t.npy")
    with pytest.raises(ConfigError, match="it is a ZIP archive"):
        read(tmp_path / "t.npy")


PARQUET = {
    **{str(kind): pyarrow.array([1, 2, 3], kind) for kind in (pyarrow.int8(), pyarrow.uint64(), pyarrow.float32())},
    "half": pyarrow.array(np.array([1, 2.5, 3], np.float16)),
    "bool": pyarrow.array([True, False, True]),
    "text": pyarrow.array(["x", " y ", "x"]),
    "large integers": pyarrow.array([2**53 + 1, -(2**63), 2**63 - 1]),
    "unsigned integers": pyarrow.array([2**64 - 1, 0, 1], pyarrow.uint64()),
    "extreme numbers": pyarrow.array([-0.0, 5e-324, 1.7976931348623157e308]),
    "small decimals": pyarrow.array([1, 2, 3]).cast(pyarrow.decimal256(50, 2)),
    "dictionary of numbers": pyarrow.array([5, 7, 5]).dictionary_encode(),
    "dictionary of truth": pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 0]), pyarrow.array([True, False])),
    "text as views": pyarrow.array(["x", "y", "x"]).cast(pyarrow.string_view()),
    "large text": pyarrow.array(["x", "y", "x"], pyarrow.large_string()),
    "dictionary": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
    "decimals": pyarrow.array([Decimal("3.00000"), Decimal("0.10007"), Decimal("36231.04593")], pyarrow.decimal128(25, 5)),
    "decimal": pyarrow.array([1, 2, 3]).cast(pyarrow.decimal128(21, 2)),
    "chunks": pyarrow.chunked_array([["x", "y"], ["y", "x"]]),
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_is_read_as_by_pandas(name: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": PARQUET[name]}), path := tmp_path / "t.parquet")
    wanted = pandas.read_parquet(path)["a"].tolist()
    plain = {str: str.strip, Decimal: float}
    assert read(path)["a"] == [plain.get(type(cell), lambda cell: cell)(cell) for cell in wanted]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pyarrow.array([1.0, None, None]), "its column 'a' has 2 empty cells, the first in row 1"),
        (pyarrow.array([0], pyarrow.timestamp("s")), "its column 'a' is of type timestamp"),
        (pyarrow.array([[1, 2], [3]]), "its column 'a' is of type list"),
        (pyarrow.array([b"x"]), "its column 'a' is of type binary"),
        (pyarrow.nulls(3), "its column 'a' has 3 empty cells, the first in row 0"),
        (pyarrow.array([1, None]), "its column 'a' has 1 empty cells, the first in row 1"),
        (pyarrow.array([0], pyarrow.date32()), "its column 'a' is of type date32"),
        (pyarrow.array([0], pyarrow.duration("s")), "its column 'a' is of type duration"),
        (pyarrow.array([{"x": 1}]), "its column 'a' is of type struct"),
        (pyarrow.array([[1.0, 2.0]], pyarrow.list_(pyarrow.float32(), 2)), "its column 'a' is of type fixed_size_list"),
        (pyarrow.array([b"x"], pyarrow.binary(1)), "its column 'a' is of type fixed_size_binary"),
    ],
)
def test_wrong_columns_of_parquet_are_refused(column: pyarrow.Array, message: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": column}), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "t.parquet")


def test_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table([[1], [2]], ["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="it has two columns named 'a'"):
        read(tmp_path / "t.parquet")


def test_csv_files_need_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data.write_table(tmp_path / "t.csv")
    expected = read(path)
    monkeypatch.setattr(csv_files, "LARGE", 0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert read(path) == expected


def test_a_missing_file_and_a_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"loader.data_file='.*none.csv' is not a file"):
        tables.load(KEY, str(tmp_path / "none.csv"))
    path = data.write_table(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"a .parquet file needs the package pyarrow: pip install 'veles-runner\[data\]'"):
        tables.load(KEY, str(path))
