import collections
import decimal
import pickle
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from runner.errors import ConfigError
from runner.nn.loading import dataset_loader
from runner.nn.loading.dataset_loader import DatasetLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from tests import data
from tests.units import LoggedWorkflow

Pair = collections.namedtuple("Pair", "sample label")
POINTS = np.arange(6.0).reshape(3, 2)
TOKENS = np.arange(6).reshape(3, 2)
ITEMS = {
    **{
        dtype: ([(row.astype(dtype), 1) for row in TOKENS], TOKENS.astype(dtype), np.array([1, 1, 1]), None)
        for dtype in ("u1", "i2", "i8", "u4", "f2", "f4", "f8", "?", ">i4")
    },
    "tensors": ([(torch.tensor(row), torch.tensor(2)) for row in POINTS], POINTS, np.array([2, 2, 2]), None),
    "tensors of integers": ([(torch.tensor(row), 0) for row in TOKENS], TOKENS, np.array([0, 0, 0]), None),
    "lists": ([[row.tolist(), 1] for row in POINTS], POINTS, np.array([1, 1, 1]), None),
    "samples alone": (list(POINTS), POINTS, None, None),
    "single samples": ([(row,) for row in POINTS], POINTS, None, None),
    "numbers": ([(1.5, 0), (2.5, 1), (3.5, 0)], np.array([[1.5], [2.5], [3.5]]), np.array([0, 1, 0]), None),
    "numpy labels": ([(row, np.uint8(3)) for row in POINTS], POINTS, np.full(3, 3, np.uint8), None),
    "targets": ([(row, 0.5) for row in POINTS], POINTS, None, np.full(3, 0.5)),
    "arrays of targets": ([(row, row * 2) for row in POINTS], POINTS, None, POINTS * 2),
    "arrays of whole targets": ([(row, row) for row in TOKENS], TOKENS, None, TOKENS),
    "mixed": ([(1, 0), (2.5, 0), (3, 0)], np.array([[1.0], [2.5], [3.0]]), np.array([0, 0, 0]), None),
    "views": ([(torch.tensor(POINTS).t()[0][:2], 0), (torch.arange(8.0)[::4], 1)], [[0.0, 2.0], [0.0, 4.0]], [0, 1], None),
    "negated": ([(torch.tensor([1 + 2j]).conj().imag, 0)] * 2, np.full((2, 1), -2, "f4"), [0, 0], None),
    "expanded": ([(torch.ones(1).expand(3), 0)] * 2, np.ones((2, 3), "f4"), [0, 0], None),
    "transposed": ([(torch.tensor(POINTS).t(), 0)] * 2, [POINTS.T] * 2, [0, 0], None),
    "backwards": ([(row[::-1], 0) for row in POINTS], POINTS[:, ::-1], [0, 0, 0], None),
    "tensors of no dimension": ([(torch.tensor(1.5), 0), (torch.tensor(2.5), 1)], np.array([[1.5], [2.5]], "f4"), [0, 1], None),
    "numpy scalars": ([(np.float32(1.5), np.int8(1))] * 2, np.full((2, 1), 1.5, "f4"), np.full(2, 1, "i1"), None),
    "labels of no dimension": ([(row, np.array(1)) for row in POINTS], POINTS, [1, 1, 1], None),
    "labels of an enumeration": ([(row, signal.SIGINT) for row in POINTS], POINTS, [2, 2, 2], None),
    "labels in an array": ([(row, np.array([1])) for row in POINTS], POINTS, None, [[1]] * 3),
    "one-hot labels": ([(row, np.eye(3)[1]) for row in POINTS], POINTS, None, [[0.0, 1.0, 0.0]] * 3),
    "truth values": ([(row, True) for row in POINTS], POINTS, None, [True] * 3),
    "named tuples": ([Pair(row, 1) for row in POINTS], POINTS, [1, 1, 1], None),
    "tuples in a tuple": ([((1, 2), (3, 4))] * 2, [[1, 2]] * 2, None, [[3, 4]] * 2),
    "tensors in a list": ([([torch.ones(2), torch.zeros(2)], 0)] * 2, np.array([[[1, 1], [0, 0]]] * 2, "f4"), [0, 0], None),
    "ranges": ([(range(3), 0)] * 2, [[0, 1, 2]] * 2, [0, 0], None),
    "large integers": ([(2**53 + 1, 0), (-(2**63), 0)], [[2**53 + 1], [-(2**63)]], [0, 0], None),
    "unsigned integers": ([(2**64 - 1, 0), (2**63, 0)], np.array([[2**64 - 1], [2**63]], "u8"), [0, 0], None),
    "extreme numbers": (
        [(5e-324, 0), (1.7976931348623157e308, 0), (-0.0, 0)],
        [[5e-324], [1.7976931348623157e308], [-0.0]],
        [0] * 3,
        None,
    ),
    "long doubles": ([(np.longdouble(row) / 3, 0) for row in POINTS], POINTS / 3, [0, 0, 0], None),
    "nothing masked": ([(np.ma.masked_array(row), 0) for row in POINTS], POINTS, [0, 0, 0], None),
    "torch.uint16": ([(torch.tensor([1, 65_535]).to(torch.uint16), 0)] * 2, np.array([[1, 65_535]] * 2, "u2"), [0, 0], None),
    "torch.float16": ([(torch.tensor([0.1, 65_504]).half(), 0)] * 2, np.array([[0.1, 65_504]] * 2, "f2"), [0, 0], None),
    "colour": ([(Image.new("RGB", (3, 2), (1, 2, 3)), 0)] * 2, np.full((2, 2, 3, 3), [1, 2, 3], "u1"), [0, 0], None),
    "colour with alpha": (
        [(Image.new("RGBA", (1, 1), (1, 2, 3, 0)), 0)] * 2,
        np.array([[[[1, 2, 3, 0]]]] * 2, "u1"),
        [0, 0],
        None,
    ),
    "16-bit images": ([(Image.new("I;16", (2, 1), 999), 0)] * 2, np.full((2, 1, 2), 999, "u2"), [0, 0], None),
    "float images": ([(Image.new("F", (2, 1), 0.5), 0)] * 2, np.full((2, 1, 2), 0.5, "f4"), [0, 0], None),
    "1-bit images": ([(Image.new("1", (2, 1), 1), 0)] * 2, np.full((2, 1, 2), True), [0, 0], None),
    "images": (
        [(Image.fromarray(np.full((2, 3), value, np.uint8)), 0) for value in range(3)],
        np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((2, 3), np.uint8),
        np.array([0, 0, 0]),
        None,
    ),
}
"""For each kind of items what they are, and the data, labels and targets that they make."""


def loader(name: str = "tests.data.Points", size: int = 9, **arguments: object) -> DatasetLoader:
    sized = {} if name.endswith("Listed") else {"size": size}
    return DatasetLoader(LoggedWorkflow(), seed=1, train={"_target_": name, **sized, **arguments})


def test_items_are_put_together() -> None:
    points = data.Points(9)
    samples = loader().load_data()[TRAIN]
    assert torch.equal(torch.from_numpy(samples.data), points.points)
    assert samples.labels.tolist() == [points[index][1] for index in range(9)]
    assert samples.targets is None


def test_what_is_no_whole_number_is_a_target() -> None:
    samples = loader(value=True).load_data()[TRAIN]
    assert samples.labels is None
    assert samples.targets.shape == (9, 1)


def test_a_second_data_set_is_for_validation_and_a_restored_loader_is_given_its_classes() -> None:
    train, validation = ({"_target_": "tests.data.Points", "size": size} for size in (9, 4))
    made = DatasetLoader(LoggedWorkflow(), seed=1, train=train, validation=validation)
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    assert restored.missing_classes() == ["tests.data.Points"]
    with pytest.raises(ConfigError, match=r"tests\.data\.Points.*restore\.trusted=\[tests\.data\]"):
        restored.initialize()
    restored.provide("tests.data.Points", data.Points)
    assert restored.missing_classes() == []
    restored.initialize()
    assert restored.split_lengths == [0, 4, 9]
    assert VALIDATION in restored.data_


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests.data.Nothing", "loader.train._target_='tests.data.Nothing': the module 'tests.data' has no 'Nothing'"),
        (
            "nothing.at.all",
            r"loader.train._target_='nothing.at.all': the module 'nothing.at' cannot be imported"
            r": ModuleNotFoundError: .*'nothing'",
        ),
        ("os.system", "loader.train._target_='os.system' is not a subclass of torch.utils.data.dataset.Dataset"),
        ("subprocess.Popen", "loader.train._target_='subprocess.Popen' is not a subclass of torch.utils.data.dataset.Dataset"),
        ("torch.utils.data.IterableDataset", "IterableDataset is not a map-style"),
        ("torch.utils.data.TensorDataset", "loader.train: TensorDataset fails: TypeError: .*'size'"),
        ("tests.data.Broken", "loader.train: Broken fails: RuntimeError: as asked for"),
        ("tests.data.Ragged", "loader.train: the samples cannot be put together: that of item 1 has the shape"),
        ("tests.data.Triples", r"loader.train: Triples must have items \(sample, label\), or samples alone"),
    ],
)
def test_what_is_no_data_set_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(name).load_data()


@pytest.mark.parametrize("items", [1 << 40, 1 << 60])
def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(items: int) -> None:
    made = DatasetLoader(
        LoggedWorkflow(), seed=1, train={"_target_": "torch.utils.data.Subset", "dataset": [POINTS[0]], "indices": [0]}
    )
    made.arguments["train"] = {"dataset": range(items), "indices": range(items)}
    with pytest.raises(ConfigError, match=f"loader.train has {items} items, which take .* GB of memory; .* GB are free"):
        made.load_data()


@pytest.mark.parametrize("train", [{"size": 3}, "tests.data.Points", {"_target_": 3}])
def test_a_target_is_needed(train: object) -> None:
    with pytest.raises(ConfigError, match=r"loader.train=.* needs _target_: the full name of a class"):
        DatasetLoader(LoggedWorkflow(), seed=1, train=train)


def test_a_state_holds_no_class_and_a_class_that_is_given_must_be_a_data_set() -> None:
    made = loader()
    assert made.datasets == {"train": "tests.data.Points"}
    assert made.arguments == {"train": {"size": 9}}
    for wrong in (dict, torch.utils.data.IterableDataset, data.Points(3)):
        with pytest.raises(ConfigError, match=r"tests.data.Points is not a map-style"):
            made.provide("tests.data.Points", wrong)


@pytest.mark.parametrize("name", dataset_loader.TORCH)
def test_classes_of_torch_need_no_declaration(name: str) -> None:
    made = loader()
    made.datasets = {"train": name}
    assert made.missing_classes() == []


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loader\.train: Points has no items: its length is 0"):
        loader(size=0).load_data()


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (None, r"must have items \(sample, label\), or samples alone, and item 2 .counted from 0. is None"),
        ((POINTS[0], 1, 2), "and item 2 .counted from 0. has 3 parts"),
        ((), "and item 2 .counted from 0. has 0 parts"),
        (POINTS[0], "item 0 has a label, and item 2 .counted from 0. has none"),
        ((POINTS[0],), "item 0 has a label, and item 2 .counted from 0. has none"),
        ((POINTS[0], None), "the label of item 2 is NoneType, and not a number"),
        ((POINTS[0], "a"), "the label of item 2 is str, and not a number"),
        ((POINTS[0], [1]), r"the labels cannot be put together: that of item 2 has the shape \(1,\), that of item 0 \(\)"),
        (({"a": POINTS[0]}, 1), "the sample of item 2 has parts, and that of item 0 has none"),
        (((torch.ones(2), torch.ones(2)), 1), "the sample of item 2 has parts, and that of item 0 has none"),
    ],
)
def test_one_odd_item_is_named(odd: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.Listed, "items", [(POINTS[0], 1), (POINTS[1], 0), odd])
    with pytest.raises(ConfigError, match=f"loader.train.*{message}"):
        loader("tests.data.Listed").load_data()


@pytest.mark.parametrize("odd", [(POINTS[0], 1), (torch.ones(2), 1)])
def test_one_item_without_the_parts_of_the_others_is_named(odd: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.Listed, "items", [({"a": POINTS[0]}, 1), ({"a": POINTS[1]}, 0), odd])
    with pytest.raises(ConfigError, match="the sample of item 2 has no parts, and that of item 0 has some"):
        loader("tests.data.Listed").load_data()


@pytest.mark.parametrize("kind", ITEMS)
def test_items_are_read_as_by_numpy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items, data_of, labels, targets = ITEMS[kind]
    monkeypatch.setattr(data.Listed, "items", items)
    samples = loader("tests.data.Listed").load_data()[TRAIN]
    for found, expected in ((samples.data, data_of), (samples.labels, labels), (samples.targets, targets)):
        assert (found is None) is (expected is None)
        if expected is not None:
            assert found.dtype == np.asarray(expected).dtype.newbyteorder("=")
            assert np.array_equal(found, expected)
            assert np.array_equal(np.signbit(found), np.signbit(expected))


class Reused(torch.utils.data.Dataset):
    """Rows in a buffer that each of them is written into."""

    def __init__(self, kind: str) -> None:
        self.buffer = {"array": np.zeros(2), "tensor": torch.zeros(2), "list": [0.0, 0.0]}[kind]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[object, int]:
        self.buffer[0], self.buffer[1] = index, 2 * index
        return self.buffer, index


@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
def test_a_buffer_may_be_used_again(kind: str) -> None:
    samples = DatasetLoader(LoggedWorkflow(), seed=1, train={"_target_": f"{__name__}.Reused", "kind": kind}).load_data()
    assert samples[TRAIN].data.tolist() == [[0, 0], [1, 2], [2, 4]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2**24, 2**24 + 1, 0], "16777216 and 16777217 at \\[0\\], which float32 cannot tell apart: set precision=float64"),
        ([1, 2**60 + 1, 0], "sample 1 .* has the value 1152921504606846977 at \\[0\\], which float64 cannot hold"),
    ],
)
def test_whole_numbers_that_would_become_one_are_refused(
    values: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.Listed, "items", [(np.array([value, 1]), 0) for value in values])
    with pytest.raises(ConfigError, match=message):
        loader("tests.data.Listed").initialize()


class Odd(torch.utils.data.Dataset):
    """Three points; one thing about it is wrong."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        self.reads = 0

    def __len__(self) -> int:
        if self.wrong == "length fails":
            raise OSError("no index.json")
        return {"length": -1, "too long": 5}.get(self.wrong, 3)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if self.wrong == "fails" and index == 2:
            raise KeyError("image_2")
        if self.wrong == "stops" and index == 1:
            raise StopIteration
        self.reads += 1
        return POINTS[index] + self.reads * (self.wrong == "changes"), 0


def made(wrong: str) -> Samples:
    train = {"_target_": f"{__name__}.Odd", "wrong": wrong}
    return DatasetLoader(LoggedWorkflow(), seed=1, train=train).load_data()[TRAIN]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("fails", r"Odd fails at item 2 .counted from 0.: KeyError: 'image_2' .*test_dataset.py:\d+"),
        ("stops", r"Odd fails at item 1 .counted from 0.: StopIteration"),
        ("too long", r"Odd fails at item 3 .counted from 0.: IndexError"),
        ("length fails", r"Odd fails: OSError: no index.json .*test_dataset.py:\d+"),
        ("length", r"Odd fails: ValueError: __len__.. should return >= 0"),
    ],
)
def test_what_fails_in_the_middle_is_named(wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"loader.train: {message}") as caught:
        made(wrong)
    assert "\n" not in str(caught.value)


def test_each_item_is_read_once() -> None:
    """What changes from one read to the next is taken as it was then."""
    assert made("changes").data.tolist() == (POINTS + np.array([[1], [2], [3]])).tolist()


@pytest.mark.parametrize("sample", [torch.ones(0), np.ones((2, 0)), []])
def test_samples_without_values_are_refused(sample: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.Listed, "items", [(sample, 0)] * 2)
    with pytest.raises(ConfigError, match=r"the train samples have shape .*0.*: there are no values in them"):
        loader("tests.data.Listed").initialize()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (lambda index: ("text", 1), "the sample of item 0 is str, and not a number"),
        (lambda index: (np.zeros(2), "cat"), "the label of item 0 is str, and not a number"),
        (lambda index: (np.zeros(2), None), "the label of item 0 is NoneType"),
        (lambda index: {1: np.zeros(2)}, r"the sample of item 0 has parts of the names \[1\]"),
        (lambda index: {}, r"the sample of item 0 has parts of the names \[\]"),
        (lambda index: (torch.zeros(index + 1), 0), "the samples cannot be put together"),
        (lambda index: (torch.zeros(2, requires_grad=True), 0), "the sample of item 0 is no array: .*grad"),
        (lambda index: (torch.zeros(2, dtype=torch.bfloat16), 0), "the sample of item 0 is no array: .*BFloat16"),
        (lambda index: (torch.zeros(2), 0) if index else torch.zeros(2), "item 0 has none, and item 1 .* has a label"),
        (lambda index: (Image.new("P", (2, 2)), 0), "the sample of item 0 is an image with a palette"),
        (lambda index: (np.zeros(2), None if index else 0), "the label of item 1 is NoneType"),
        (lambda index: (10 ** (15 * index), 0), "the sample of item 2 is int, and beyond 64 bits"),
        (lambda index: (np.zeros(2), "cat" if index == 2 else 0), "the label of item 2 is str"),
        (lambda index: (Image.new("LPL"[index], (2, 2)), 0), "the sample of item 1 is an image with a palette"),
        (lambda index: (Image.new("RGB", (3, 2 + index)), 0), "item 1 has the shape .3, 3, 3., that of item 0 .2, 3, 3."),
        (lambda index: (Image.new(["RGB", "L", "L"][index], (3, 2)), 0), "that of item 1 has the shape .2, 3., "),
        (lambda index: (torch.eye(2).to_sparse(), 0), "Listed fails at item 1 .*sparse"),
        (lambda index: (torch.empty(2, device="meta"), 0), "the sample of item 0 is no array: .*meta"),
        (lambda index: (torch.zeros(2, dtype=torch.float8_e5m2), 0), "the sample of item 0 is no array: .*Float8"),
        (
            lambda index: (np.ma.masked_array([1.0, 2.0], [index == 1, 0]), 0),
            "the sample of item 1 is an array of which .*mask",
        ),
        (lambda index: (np.array([1, 2], object), 0), "the sample of item 0 is ndarray, and not a number"),
        (lambda index: (np.array((1, 2.0), [("a", "i4"), ("b", "f4")]), 0), "the sample of item 0 is ndarray"),
        (lambda index: (np.datetime64("2024"), 0), "the sample of item 0 is datetime64"),
        (lambda index: (decimal.Decimal(1), 0), "the sample of item 0 is Decimal"),
        (lambda index: (1j, 0), "the sample of item 0 is complex"),
        (lambda index: (b"ab", 0), "the sample of item 0 is bytes"),
        (lambda index: ((part for part in "ab"), 0), "the sample of item 0 is generator"),
        (lambda index: ([[1, 2], [3]], 0), "the sample of item 0 is no array: .*inhomogeneous"),
        (lambda index: (np.ones((1, 2)) if index else np.ones(2), 0), "that of item 1 has the shape .1, 2., "),
        (lambda index: (), "must have items"),
        (lambda index: None, "and item 0 .counted from 0. is None"),
        (lambda index: (torch.zeros(2, dtype=torch.complex64), 0), "the sample of item 0 is Tensor, and not a number"),
    ],
)
def test_wrong_items_are_refused(item: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.Listed, "items", [item(index) for index in range(3)])
    with pytest.raises(ConfigError, match=rf"loader.train: .*{message}"):
        loader("tests.data.Listed").load_data()


@pytest.mark.parametrize(
    ("sample", "label", "message"),
    [
        ([0.0, np.nan], 0, r"the train sample 2 .counted from 0. has the value nan at \[1\]"),
        ([np.inf, 0.0], 0, r"the train sample 2 .* has the value inf at \[0\]"),
        ([0.0, 1.0], np.nan, r"the train sample 2 .* has the target value nan"),
        ([0.0, 1.0], -1, r"the train sample 2 .* has the label -1: a label is a whole number from 0 to"),
        ([0.0, 1.0], 10**12, r"the train sample 2 .* has the label 1000000000000"),
        (np.array([0.0, np.longdouble("1e400")]), 0, r"the train sample 2 .* has the value inf at \[1\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_wrong_values_are_found(sample: object, label: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (np.array([1.0, 2.0]), type(label)(1))
    monkeypatch.setattr(data.Listed, "items", [good, good, (np.array(sample), label)])
    with pytest.raises(ConfigError, match=message):
        loader("tests.data.Listed").initialize()


@pytest.mark.parametrize(
    ("samples", "scaled"),
    [
        (np.array([[3, 70_000], [5, 1]]), False),
        (np.array([[3, 7], [5, 1]], np.uint8), False),
        (np.array([[True, False], [True, True]]), False),
        (np.array([[[3, 7], [5, 1]]] * 2, np.uint8), True),
        (np.array([[3.0, 7.0], [5.0, 1.0]]), True),
    ],
)
def test_integers_are_not_scaled_unless_they_are_pixels(
    samples: np.ndarray, scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.Listed, "items", [(sample, 0) for sample in samples])
    made = loader("tests.data.Listed")
    made.initialize()
    assert made.data_[TRAIN].dtype == made.sample_dtype == torch.float32
    assert np.array_equal(made.data_[TRAIN].numpy(), samples) is not scaled


def test_integers_stay_integers_where_units_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.array([[3, 2**40], [5, 1]])
    monkeypatch.setattr(data.Listed, "items", [(sample, 0) for sample in tokens])
    made = loader("tests.data.Listed")
    made.keeps_integers = True
    made.initialize()
    assert made.data_[TRAIN].dtype == made.sample_dtype == torch.int64
    assert made.data_[TRAIN].tolist() == tokens.tolist()
