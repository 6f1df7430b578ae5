from pathlib import Path

import numpy as np
import pytest

from runner.errors import ConfigError
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.nn.loading.table_loader import TableLoader
from tests import data
from tests.units import LoggedWorkflow


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(data.write_table(tmp_path / "table.csv"))


def loader(file: str, **settings: object) -> TableLoader:
    return TableLoader(LoggedWorkflow(), seed=1, data_file=file, **settings)


def test_names_are_numbered_in_alphabetical_order(table: str) -> None:
    samples = loader(table, label="kind", validation_file=table).load_data()
    assert samples[TRAIN].labels[:3].tolist() == samples[VALIDATION].labels[:3].tolist() == [1, 0, 2]
    assert samples[TRAIN].data.shape == (60, 3)
    assert samples[TRAIN].targets is None


def test_columns_are_chosen_by_name_or_number(table: str) -> None:
    samples = loader(table, columns=["b", 0], targets=[3]).load_data()[TRAIN]
    a, b = data.numbers().normal(size=(2, 60))
    assert np.array_equal(samples.data, np.column_stack([b, a]))
    assert np.array_equal(samples.targets, (2 * a - b)[:, None])
    assert samples.labels is None


def test_a_single_array_keeps_its_shape(tmp_path: Path) -> None:
    path = str(tmp_path / "t.npz")
    np.savez(path, images=np.zeros((4, 3, 2)), labels=np.array([0.0, 1, 2, 1]))
    samples = loader(path, label="labels").load_data()[TRAIN]
    assert samples.data.shape == (4, 3, 2)
    assert samples.labels.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "the column 'kind' has 'no', which is no number: leave it out of the data"),
        ({"label": "type"}, "loader.label: 'type' is not a column; known: a, b, kind, y, or 0 to 3"),
        ({"label": 4}, "loader.label: 4 is not a column"),
        ({"label": -1}, "loader.label: -1 is not a column"),
        ({"label": "a", "columns": ["b"]}, "loader.label='a' is a column with other values than whole numbers or names"),
        ({"columns": [True]}, "loader.columns: True is not a column"),
        ({"targets": ["kind"], "columns": ["a"]}, "the column 'kind' has 'no', which is no number"),
        ({"targets": ["a", "b", "kind", "y"]}, "no columns for the data besides label and targets"),
    ],
)
def test_wrong_columns_are_named(settings: dict[str, object], message: str, table: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(table, **settings).load_data()


def test_a_validation_file_must_be_like_the_other(table: str, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text("a,b,kind,y\n1,2,perhaps,3\n")
    with pytest.raises(ConfigError, match=r"loader.validation_file has the label 'perhaps', .* known: maybe, no, yes"):
        loader(table, label="kind", validation_file=str(path)).load_data()
    path.write_text("a,kind\n1,yes\n")
    with pytest.raises(ConfigError, match=r"the validation samples have shape \(1,\), and the training samples \(3,\)"):
        loader(table, label="kind", validation_file=str(path)).initialize()
    path.write_text("a,b,kind,y\nnan,2,yes,3\n")
    with pytest.raises(ConfigError, match="the column 'a' has values that are not finite"):
        loader(str(path), label="kind").load_data()
