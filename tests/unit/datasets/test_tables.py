import sys
from pathlib import Path

import numpy as np
import pytest

from runner.datasets import tables
from runner.errors import ConfigError
from tests import data

KEY = "loader.data_file"


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_formats_give_the_same_columns(ending: str, tmp_path: Path) -> None:
    table = tables.load(KEY, str(data.write_table(tmp_path / f"table{ending}")))
    a, b = data.numbers().normal(size=(2, 60))
    assert list(table) == ["a", "b", "kind", "y"]
    assert np.array_equal(table["a"], a)
    assert np.array_equal(table["y"], 2 * a - b)
    assert table["kind"][:4].tolist() == ["no", "maybe", "yes", "no"]


def test_rows_without_names_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeff1,2.5\n\n3,-4e1\n", encoding="utf-8")
    table = tables.load(KEY, str(path))
    assert {name: column.tolist() for name, column in table.items()} == {"0": [1, 3], "1": [2.5, -40]}
    array = tables.load(KEY, str(data.write_table(tmp_path / "t.npy")))
    assert list(array) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n3\n", "cannot be read: line 3 has 1 values, and the first line has 2"),
        ("t.csv", b"a,a\n1,2\n", "cannot be read: it has two columns named 'a'"),
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a\n\xff\n", "cannot be read: 'utf-8' codec"),
        ("t.npy", b"nothing", "cannot be read"),
        ("t.npz", b"nothing", "cannot be read"),
        ("t.parquet", b"nothing", "cannot be read: Could not open Parquet"),
        ("t.xlsx", b"", "is of no known format; known: .csv, .npy, .npz, .parquet"),
    ],
)
def test_a_wrong_file_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"loader.data_file='.*{name}' {message}"):
        tables.load(KEY, str(tmp_path / name))


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "t.npz")
    for arrays, message in (
        ({"x": np.zeros(3), "y": np.zeros(2)}, r"columns of different lengths: {'x': 3, 'y': 2}"),
        ({"x": np.float64(1)}, "its array 'x' is a single value"),
        ({"x": np.array([{}], object)}, "cannot be read: Object arrays cannot be loaded"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ConfigError, match=message):
            tables.load(KEY, path)
    np.save(tmp_path / "t.npy", np.zeros(3))
    with pytest.raises(ConfigError, match="has 1 dimensions instead of 2"):
        tables.load(KEY, str(tmp_path / "t.npy"))


def test_empty_cells_of_parquet_are_refused(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": [1.0, None]}), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="its column 'a' has 1 empty cells"):
        tables.load(KEY, str(tmp_path / "t.parquet"))


def test_a_missing_file_and_a_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"loader.data_file='.*none.csv' is no file"):
        tables.load(KEY, str(tmp_path / "none.csv"))
    path = data.write_table(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"a .parquet file needs the package pyarrow: pip install pyarrow"):
        tables.load(KEY, str(path))
