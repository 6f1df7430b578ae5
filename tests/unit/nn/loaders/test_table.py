import pickle
import random
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from pyarrow import parquet

from runner.errors import ConfigError
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.nn.loading.table_loader import TableLoader
from tests import data
from tests.networks import trained
from tests.units import LoggedWorkflow


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(data.write_table(tmp_path / "table.csv"))


@pytest.fixture
def written(tmp_path: Path):
    """Returns a function that writes a file and returns its path."""

    def write(content: str, name: str = "t.csv") -> str:
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    return write


def loader(file: str, **settings: object) -> TableLoader:
    return TableLoader(LoggedWorkflow(), seed=1, data_file=file, **settings)


def test_names_are_numbered_in_alphabetical_order(table: str) -> None:
    made = loader(table, label="kind", validation_file=table)
    samples = made.load_data()
    assert samples[TRAIN].labels[:3].tolist() == samples[VALIDATION].labels[:3].tolist() == [1, 0, 2]
    assert made.label_names == ["maybe", "no", "yes"]
    assert samples[TRAIN].data.shape == (60, 3)
    assert samples[TRAIN].targets is None


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_columns_are_chosen_by_name_or_number(ending: str, tmp_path: Path) -> None:
    samples = loader(str(data.write_table(tmp_path / f"t{ending}")), columns=["b", 0], targets=[3]).load_data()[TRAIN]
    a, b = data.numbers().normal(size=(2, 60))
    assert np.array_equal(samples.data, np.column_stack([b, a]))
    assert np.array_equal(samples.targets, (2 * a - b)[:, None])
    assert samples.labels is None


def test_arrays_keep_their_shape(tmp_path: Path) -> None:
    path = str(tmp_path / "t.npz")
    images = np.arange(24).reshape(4, 3, 2)
    np.savez(path, images=images, labels=np.array([0.0, 1, 2, 1]), x=np.array([5.0, 6, 7, 8]))
    samples = loader(path, columns=["images"], label="labels").load_data()[TRAIN]
    assert np.array_equal(samples.data, images)
    assert samples.labels.tolist() == [0, 1, 2, 1]
    samples = loader(path, label="labels").load_data()[TRAIN]
    assert np.array_equal(samples.data, np.column_stack([images.reshape(4, 6), [5, 6, 7, 8]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "line 2, column 'kind': 'no' is not a number: leave the column out, or name it in loader.categories"),
        ({"label": "type"}, "loader.label: 'type' is not a column of .*known: 'a', 'b', 'kind', 'y', or 0 to 3"),
        ({"label": "Kind"}, "loader.label: 'Kind' is not a column of .* did you mean 'kind'?"),
        ({"label": 4}, "loader.label: 4 is not a column"),
        ({"label": -1}, "loader.label: -1 is not a column"),
        ({"label": "a", "columns": ["b"]}, "line 2, column 'a': the label 0.345.* is not a whole number"),
        ({"label": "kind", "columns": ["a", 2]}, "loader.columns has 'kind', which is the label"),
        ({"targets": ["b"], "columns": ["a", 1]}, "loader.columns has 'b', which is a target"),
        ({"columns": ["a", 0]}, "loader.columns has 'a' twice"),
        ({"targets": ["a", "a"]}, "loader.targets has 'a' twice"),
        ({"categories": ["kind", 2]}, "loader.categories has 'kind' twice"),
        ({"columns": [True]}, "loader.columns: True is not a column"),
        ({"targets": ["kind"], "columns": ["a"]}, "line 2, column 'kind': 'no' is not a number"),
        ({"targets": ["a", "b", "kind", "y"]}, "no columns for the data besides label and targets"),
        (
            {"label": "kind", "categories": ["kind"]},
            "loader.categories: 'kind' is not one of the columns of the data: 'a', 'b', 'y'",
        ),
        ({"columns": ["a"], "categories": ["kind"]}, "loader.categories: 'kind' is not one of the columns of the data: 'a'"),
    ],
)
def test_wrong_columns_are_named(settings: dict[str, object], message: str, table: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(table, **settings).load_data()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,label\n1,2,x\nnan,2,y\n", "line 3, column 'a': nan is not finite"),
        ("a,b,label\n1,2,x\n1,-inf,y\n", "line 3, column 'b': -inf is not finite"),
        ("a,b,label\n1,2,x\n1,1e999,y\n", "line 3, column 'b': inf is not finite"),
        ("a,b,label\n1,2,x\n1,,y\n", "line 3, column 'b': the cell is empty"),
        ("a,b,label\n1,2,x\n1,NA,y\n", "line 3, column 'b': 'NA' is not a number"),
        ("a,b,label\n1,2,x\n1,2,\n", "line 3, column 'label': the cell is empty"),
        ("a,b,label\n1,2,x\n1,2,  \n", "line 3, column 'label': the cell is empty"),
        ("a,b,label\n1,2,x\n1,2,nan\n", "line 3, column 'label': the cell is nan"),
        ("a,b,label\n1,2,0\n1,2,0.5\n", "line 3, column 'label': the label 0.5 is not a whole number"),
        ("a,b,label\n1,2,0\n1,2,nan\n", "line 3, column 'label': the cell is nan"),
        ("a;b;label\n1;2;x\n1;2,5;y\n", "line 3, column 'b': '2,5' is not a number: write numbers with a decimal point"),
        (
            'a,b,label\n1,2,x\n1,"1,234.5",y\n',
            "line 3, column 'b': '1,234.5' is not a number: write numbers with a decimal point",
        ),
        ("a,b,label\n1,2,x\n1,2024-01-02,y\n", "line 3, column 'b': '2024-01-02' is not a number"),
        ("a,b,label\n1,2,x\n1,True,y\n", "line 3, column 'b': 'True' is not a number"),
        ("a,b,label\n1,2,x\n1,5 kg,y\n", "line 3, column 'b': '5 kg' is not a number"),
        ("a,b,label\n1,2,0\n1,2,-3\n", "line 3, column 'label': the label -3 is not"),
        ("a,b,label\n1,2,0\n1,2,1000000000000\n", "line 3, column 'label': the label 1000000000000 is not"),
        ("a,b,label\n1,2,0\n1,1e300,1\n", r"precision=float64"),
    ],
)
def test_wrong_cells_are_named(content: str, message: str, written) -> None:
    settings = {"normalization": "none"} if "1e300" in content else {}
    with pytest.raises(ConfigError, match=message):
        loader(written(content), label="label", **settings).initialize()


def test_a_column_of_row_numbers_is_left_out_and_told(written, caplog: pytest.LogCaptureFixture) -> None:
    for first in ("", "Unnamed: 0"):
        caplog.clear()
        path = written(f"{first},a,label\n0,5,x\n1,6,y\n")
        assert loader(path, label="label").load_data()[TRAIN].data.tolist() == [[5], [6]]
        assert f"the column {first!r} is an index" in caplog.text
        assert loader(path, label="label", columns=[first, "a"]).load_data()[TRAIN].data.tolist() == [[0, 5], [1, 6]]


def test_names_that_may_mean_a_missing_value_are_told(written, caplog: pytest.LogCaptureFixture) -> None:
    made = loader(written("a,kind,label\n5,x,cat\n6,NA,None\n"), label="label", categories=["kind"])
    made.load_data()
    assert made.label_names == ["None", "cat"]
    for told in ("line 3, column 'kind': 'NA' is taken for a name", "line 3, column 'label': 'None' is taken for a name"):
        assert told in caplog.text


def test_the_index_of_pandas_in_parquet_is_left_out(tmp_path: Path) -> None:
    pandas.DataFrame({"a": [5.0, 6.0], "label": [0, 1]}, index=["x", "y"]).to_parquet(path := tmp_path / "t.parquet")
    assert loader(str(path), label="label").load_data()[TRAIN].data.tolist() == [[5], [6]]
    frame = pandas.DataFrame({"a": [5.0, 6.0], "label": [0, 1]}, index=pandas.Index([7, 8], name="id"))
    frame.to_parquet(path)
    assert loader(str(path), label="label").load_data()[TRAIN].data.tolist() == [[5], [6]]
    assert loader(str(path), label="label", columns=["id", "a"]).load_data()[TRAIN].data.tolist() == [[7, 5], [8, 6]]


def test_a_number_is_a_name_where_there_is_one(written) -> None:
    made = loader(written("id,2019,2020\nx,5,0\ny,6,1\n"), header=True, label=2020, columns=[1])
    samples = made.load_data()[TRAIN]
    assert samples.data.tolist() == [[5], [6]]
    assert samples.labels.tolist() == [0, 1]
    samples = loader(written(",1,0\n0,5,0\n1,6,1\n"), label=0).load_data()[TRAIN]
    assert samples.data.tolist() == [[5], [6]]
    assert samples.labels.tolist() == [0, 1]


def test_other_tables_have_their_columns_by_name(written, caplog: pytest.LogCaptureFixture) -> None:
    train = written("a,b,label\n1,2,cat\n3,4,dog\n", "train.csv")
    for content in ("b,a,label\n6,5,dog\n", "label, b ,a\ndog,6,5\n", "b,id,label,a\n6,99,dog,5\n", ",a,b,label\n0,5,6,dog\n"):
        samples = loader(train, label=2, validation_file=written(content, "validation.csv")).load_data()[VALIDATION]
        assert samples.data.tolist() == [[5, 6]]
        assert samples.labels.tolist() == [1]
    assert "validation.csv' has columns that the first table has not; they are left out: 'id'" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,label\n1,cat\n", "loader.validation_file='.*' lacks 'b' of the columns of the training data$"),
        ("a,c,d,label\n1,2,3,cat\n", "lacks 'b' of the columns of the training data, and has 'c', 'd' besides"),
        ("a,b\n1,2\n", "lacks 'label'"),
        ("1,2,0\n3,4,0\n", "lacks 'a', 'b', 'label' .*, and has '0', '1', '2' besides"),
        (
            "a,b,label\n1,2,perhaps\n",
            "line 2, column 'label': the label 'perhaps' is not in the training set; known: 'cat', 'dog'",
        ),
        ("a,b,label\n1,2,1\n", "line 2, column 'label': the label '1' is not in the training set; known: 'cat', 'dog'"),
        ("a,b,label\n1,2,Cat\n", "the label 'Cat' is not in the training set"),
        ("a,b,label\n", "has no rows"),
    ],
)
def test_a_validation_file_must_be_like_the_other(content: str, message: str, written) -> None:
    train = written("a,b,label\n1,2,cat\n3,4,dog\n", "train.csv")
    with pytest.raises(ConfigError, match=message):
        loader(train, label="label", validation_file=written(content, "validation.csv")).load_data()


def test_labels_are_text_or_numbers_in_all_tables_alike(written) -> None:
    train = written("a,label\n1,3\n2,1\n3,x\n", "train.csv")
    samples = loader(train, label="label", validation_file=written("a,label\n1,1\n2,3\n", "v.csv")).load_data()
    assert samples[TRAIN].labels.tolist() == [1, 0, 2]
    assert samples[VALIDATION].labels.tolist() == [0, 1]
    train = written("a,label\n1,3\n2,1\n", "train.csv")
    with pytest.raises(ConfigError, match="the label 'x' is not in the training set; its labels are whole numbers"):
        loader(train, label="label", validation_file=written("a,label\n1,x\n", "v.csv")).load_data()


def test_labels_keep_their_numbers_when_the_data_change(written, caplog: pytest.LogCaptureFixture) -> None:
    path = written("a,label\n1,cat\n2,dog\n")
    made = loader(path, label="label", validation_ratio=0)
    made.initialize()
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    restored.allow_changed_data_ = True
    written("a,label\n1,cat\n2,ant\n3,zebra\n")
    restored.initialize()
    assert restored.label_names == ["cat", "dog", "ant", "zebra"]
    assert sorted(restored.labels_[TRAIN].tolist()) == [0, 2, 3]
    assert restored.label_count == 4
    assert "new labels, numbered after the others: 'ant', 'zebra'" in caplog.text


def test_columns_keep_their_places_when_the_data_change(written) -> None:
    made = loader(written("a,b,label\n1,2,0\n3,4,1\n"), label="label", validation_ratio=0)
    made.initialize()
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    written("label,b,a\n0,2,1\n1,4,3\n")
    restored.initialize()
    assert torch.equal(restored.data_[TRAIN], made.data_[TRAIN])


def test_columns_that_are_left_out_do_no_harm(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2, 3], "y": [0, 1, 0]})
    frame.assign(when=pandas.date_range("2020", periods=3)).to_parquet(train := tmp_path / "t.parquet")
    frame.assign(z=[None, 1, 2]).to_parquet(validation := tmp_path / "v.parquet")
    samples = loader(str(train), label="y", columns=["a"], validation_file=str(validation)).load_data()
    assert samples[TRAIN].data.tolist() == samples[VALIDATION].data.tolist() == [[1], [2], [3]]
    with pytest.raises(ConfigError, match="its column 'when' is of type timestamp"):
        loader(str(train), label="y").load_data()


def test_categories_are_one_feature_each(written) -> None:
    train = written("size,color,zip,label\n10,red,01,0\n20,blue,02,1\n60,red,1,1\n", "train.csv")
    validation = written("color,zip,size,label\nblue,1,30,0\n", "validation.csv")
    made = loader(train, label="label", categories=["color", 2], validation_file=validation)
    assert made.load_data()[VALIDATION].data.tolist() == [[30, 1, 0, 0, 0, 1]]
    assert made.category_names == {"color": ["blue", "red"], "zip": ["01", "02", "1"]}
    made.initialize()
    assert made.data_[TRAIN][:, 1:].tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]
    torch.testing.assert_close(made.data_[TRAIN][:, 0].std(correction=0), torch.tensor(1.0))
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    restored.initialize()
    assert torch.equal(restored.data_[VALIDATION], made.data_[VALIDATION])


@pytest.mark.parametrize(
    ("normalization", "sizes"),
    [
        ("linear", [-1, -0.6, 1]),
        ("range", [0, 0.2, 1]),
        ("pointwise", [-1, -0.6, 1]),
        ("internal_mean", [-20, -10, 30]),
        ("none", [10, 20, 60]),
    ],
)
def test_categories_are_not_normalized_and_count_for_no_range(normalization: str, sizes: list[float], written) -> None:
    train = written("color,size,label\nred,10,0\nblue,20,1\nred,60,1\n", "train.csv")
    made = loader(train, label="label", categories=["color"], normalization=normalization, validation_ratio=0)
    made.initialize()
    assert made.data_[TRAIN][:, :2].tolist() == [[0, 1], [1, 0], [0, 1]]
    torch.testing.assert_close(made.data_[TRAIN][:, 2], torch.tensor(sizes, dtype=torch.float32))


def test_categories_alone_are_not_normalized(written) -> None:
    train = written("color,label\nred,0\nblue,1\nred,1\n", "train.csv")
    made = loader(train, label="label", categories=["color"], normalization="linear", validation_ratio=0)
    made.initialize()
    assert made.data_[TRAIN].tolist() == [[0, 1], [1, 0], [0, 1]]


def test_samples_with_categories_have_no_range_of_their_own(written) -> None:
    train = written("color,size,label\nred,10,0\nblue,20,1\n", "train.csv")
    made = loader(train, label="label", categories=["color"], normalization="samplewise", validation_ratio=0)
    with pytest.raises(ConfigError, match=r"loader\.normalization='samplewise' is not for tables with loader.categories"):
        made.initialize()


def test_other_tables_have_a_header_if_they_have_the_names_of_the_first(written) -> None:
    train = written("2019,kind,label\n1,x,no\n2,y,yes\n3,z,no\n", "train.csv")
    validation = written("2019,label,kind\n1,no,x\n", "validation.csv")
    made = loader(train, label="label", categories=["kind"], validation_file=validation)
    assert made.load_data()[VALIDATION].data.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("green", "line 2, column 'color': 'green' is not a category of the training set; known: 'blue', 'red'"),
        ("", "the cell is empty"),
    ],
)
def test_unknown_categories_are_refused(cell: str, message: str, written) -> None:
    train = written("color,label\nred,0\nblue,1\n", "train.csv")
    validation = written(f"color,label\n{cell},0\n", "validation.csv")
    with pytest.raises(ConfigError, match=message):
        loader(train, label="label", categories=["color"], validation_file=validation).load_data()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_table_learns_without_further_settings(precision: str, written) -> None:
    draw = random.Random(1)
    rows = ["time,size,weight,label"]
    for number in range(200):
        kind = number % 3
        cells = (1_700_000_000 + draw.gauss(60 * kind, 9), draw.gauss(1e-6 * (kind == 1), 1e-7), draw.gauss(5e8, 1e8))
        rows.append(",".join([*map(repr, cells), ("ant", "bee", "cat")[kind]]))
    workflow = trained(
        loader_name="table",
        loader_config={"data_file": written("\n".join(rows)), "label": "label", "validation_ratio": 0.2},
        layers={"fc": {"type": "all2all_tanh", "output_sample_shape": 10}, "out": {"type": "softmax"}},
        precision=precision,
        decision_config={"max_epochs": 40},
    )
    assert workflow.decision.history[-1]["validation"] < 5


def test_a_steady_clock_is_learned(written) -> None:
    rows = "".join(f"{1_700_000_000 + t},{int(t >= 100)}\n" for t in range(200))
    workflow = trained(
        loader_name="table",
        loader_config={"data_file": written("t,label\n" + rows), "label": "label", "validation_ratio": 0, "minibatch_size": 10},
        layers={"out": {"type": "softmax", "learning_rate": 0.5}},
        decision_config={"max_epochs": 30},
    )
    assert workflow.decision.history[-1]["train"] < 3


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("x,y\n1,1700000000\n2,1700000001\n", {"targets": ["y"]}, "in column 'y', which float32 cannot tell apart"),
        ("x,a,y\n1,0,5e8\n2,1,500000001\n", {"targets": ["a", "y"]}, "in column 'y', which float32 cannot tell apart"),
        ("x,z,label\n1,1e9,0\n2,1000000001,1\n", {"label": "label", "normalization": "none"}, "in column 'z', which float32"),
        (
            "x,label\n9007199254740992,0\n9007199254740993,1\n",
            {"label": 1},
            "line 3.*'x'.* hold 9007199254740993",
        ),
        (
            "x,z,label\n 4611686018427387905,1,0\n9,1e30,1\n",
            {"label": "label"},
            "line 2, column 'x': float64 .* 4611686018427387905",
        ),
        (
            "x,y\n1,-4611686018427387905\n1,-4611686018427387904\n",
            {"targets": [1]},
            "line 2, column 'y': float64 cannot hold -4611",
        ),
    ],
)
def test_values_that_would_become_one_are_refused(content: str, settings: dict, message: str, written) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(written(content), **settings).initialize()


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("x,y\n1,1700000000\n2,1700086400\n3,1731536000\n", {"targets": ["y"]}),  # days of a year, a minute apart at worst
        ("x,y\n1,0.1\n2,0.10000000001\n3,0.2\n", {"targets": ["y"]}),
        ("x,label\n1700000000,0\n1700000001,1\n", {"label": 1}),  # scaled before it is rounded
        ("x,label\n9007199254740994,0\n1e30,1\n", {"label": 1}),
        ("x,label\n9007199254740993,0\n0.5,1\n", {"label": 1}),  # a measure
        ("id,x,label\n9007199254740993,1,0\n5,2,1\n", {"label": "label", "columns": ["x"]}),  # it is not used
        ("x,label\n5,0\n5,1\n", {"label": 1}),
    ],
)
def test_values_that_stay_apart_are_taken(content: str, settings: dict, written) -> None:
    loader(written(content), **settings).initialize()


@pytest.mark.parametrize("kind", [pyarrow.int64(), pyarrow.decimal128(38, 0), pyarrow.decimal256(40, 0)])
@pytest.mark.parametrize("number", [2**53 + 1, -(2**60) + 1])
def test_whole_numbers_of_a_parquet_file_that_float64_cannot_hold(number: int, kind: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    numbers = pyarrow.array([1, number]).cast(kind)
    parquet.write_table(pyarrow.table({"x": numbers, "z": [0, 1], "label": [0, 1]}), path)
    with pytest.raises(ConfigError, match=rf"row 1 .* column 'x': float64 cannot hold {number};"):
        loader(path, label="label").load_data()


def test_decimals_that_float64_holds_are_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    large = pyarrow.array([Decimal(2**60), Decimal(-(2**70))], pyarrow.decimal128(38, 0))
    measured = pyarrow.array([Decimal("12345678901234567.5"), Decimal("0.1")], pyarrow.decimal128(38, 1))
    parquet.write_table(pyarrow.table({"x": large, "y": measured, "label": [0, 1]}), path)
    data = loader(path, label="label").load_data()[TRAIN].data
    assert data.tolist() == [[2.0**60, 12345678901234568.0], [-(2.0**70), 0.1]]


@pytest.mark.parametrize("header", ["", "Unnamed: 0", ",Unnamed: 0", "Unnamed: 0.1,Unnamed: 0", ",Unnamed: 0.1,Unnamed: 0"])
def test_all_indices_that_pandas_has_written_are_left_out(header: str, written) -> None:
    count = header.count(",") + 1
    made = loader(written(f"{header},x,label\n" + "".join(f"{'7,' * count}1.5,{row % 2}\n" for row in range(4))), label="label")
    made.initialize()
    assert made.feature_names == ["x"]


def test_labels_that_look_the_same_are_refused(written) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    with pytest.raises(ConfigError, match=r"column 'label'.* look the same"):
        loader(written(f"a,label\n1,{composed}\n2,{decomposed}\n"), label="label").initialize()
    with pytest.raises(ConfigError, match=r"column 'kind'.* look the same"):
        loader(written(f"kind,label\n{composed},x\n{decomposed},y\n"), label="label", categories=["kind"]).initialize()
    train, other = (written(f"a,label\n1,{text}\n2,x\n", name) for text, name in ((composed, "1.csv"), (decomposed, "2.csv")))
    with pytest.raises(ConfigError, match=r"validation_file=.*look the same"):
        loader(train, label="label", validation_file=other).initialize()


def test_labels_that_differ_in_case_alone_are_told(written, caplog: pytest.LogCaptureFixture) -> None:
    made = loader(written("a,label\n1,Cat\n2,cat\n3,dog\n4,True\n5,true\n"), label="label")
    made.initialize()
    assert made.labels_[TRAIN].tolist() == [0, 2, 3, 1, 4]
    (told,) = [record.message for record in caplog.records if "case alone" in record.message]
    assert told.endswith("'Cat', 'True', 'cat', 'true'")


def test_labels_that_are_the_same_number_are_told(written, caplog: pytest.LogCaptureFixture) -> None:
    made = loader(written("a,label\n1,0\n2,01\n3,1\n4,1\n"), label="label")
    made.initialize()
    assert made.labels_[TRAIN].tolist() == [0, 1, 1, 1]
    assert [record.args[1:3] for record in caplog.records if "same number" in record.message] == [("01", "1")]
    caplog.clear()
    loader(written("a,label\n1,0\n2,1.0\n3,1\n"), label="label").initialize()
    assert not [record for record in caplog.records if "same number" in record.message]
