"""What a user's own `load_data` returns: arrays, lists and tensors alike; anything else is one line that says what is wrong."""

from typing import Any

import numpy as np
import pytest
import torch

from runner.errors import ConfigError
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from tests.units import LoggedWorkflow

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10) % 2


class Own(FullBatchLoader):
    """Returns what a test says."""

    given_: Any

    def load_data(self) -> Any:
        return self.given_


def loader(given: Any) -> Own:
    made = Own(LoggedWorkflow(), seed=1, normalization="none", validation_ratio=0.2)
    made.given_ = given
    return made


SAME: dict[str, Samples] = {
    "arrays": Samples(X, Y),
    "lists": Samples(X.tolist(), Y.tolist()),  # type: ignore[arg-type]
    "tensors": Samples(torch.tensor(X), torch.tensor(Y)),  # type: ignore[arg-type]
    "other bytes": Samples(X.astype(">f8"), Y.astype(">i2")),
    "long doubles": Samples(X.astype(np.longdouble), Y),
    "every other row": Samples(np.repeat(X, 2, 0)[::2], np.repeat(Y, 2)[::2]),
}


@pytest.mark.parametrize("kind", SAME)
def test_what_holds_the_same_numbers_is_the_same_data(kind: str) -> None:
    made = loader({TRAIN: SAME[kind], VALIDATION: Samples(np.zeros(0))})
    made.initialize()
    found = sorted(
        (*row, label)
        for split in (TRAIN, VALIDATION)
        for row, label in zip(made.data_[split].tolist(), made.labels_[split].tolist(), strict=True)
    )
    assert found == [(2.0 * row, 2.0 * row + 1, row % 2) for row in range(10)]
    assert made.split_lengths == [0, 2, 8]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"Own.load_data\(\) returns nothing: it must return {TRAIN: Samples\(data, labels\), VALIDATION: ...}"),
        ((X, Y), r"Own.load_data\(\) returns tuple: it must return"),
        ({"train": Samples(X, Y)}, r"returns something for 'train', which is none of TEST, VALIDATION and TRAIN"),
        ({True: Samples(X, Y)}, "returns something for True"),
        ({5: Samples(X, Y)}, "returns something for 5"),
        ({TRAIN: (X, Y)}, "returns tuple for the train set: it must return"),
        ({TRAIN: Samples(X, Y), VALIDATION: None}, "returns nothing for the validation set: it must return"),
        ({TRAIN: Samples(None, Y)}, "the data of the train set are None; they must have the shape .samples, ...."),
        ({TRAIN: Samples(X[:, 0], Y)}, r"the data of the train set are of shape \(10,\); they must have"),
        ({TRAIN: Samples(X, Y[:5])}, r"the train set has 10 samples, and labels of shape \(5,\)"),
        ({TRAIN: Samples(X, 3)}, r"the train set has 10 samples, and labels of shape \(\)"),
        ({TRAIN: Samples(X, None, X[:3])}, r"the train set has 10 samples, and targets of shape \(3, 2\)"),
        ({TRAIN: Samples(X, list("abababab"))}, "as labels of the train set is list, and not a number"),
        ({TRAIN: Samples([[1, 2], [3]], [0, 1])}, "as data of the train set is no array"),
        ({TRAIN: Samples(torch.tensor(X, requires_grad=True), Y)}, "as data of the train set is no array: .*requires grad"),
        ({TRAIN: Samples(X.astype(complex), Y)}, "as data of the train set is ndarray, and not"),
        ({TRAIN: Samples(X.astype(object), Y)}, "as data of the train set is ndarray, and not"),
        ({TRAIN: Samples(np.ma.masked_equal(X, 3), Y)}, "as data of the train set is an array of which values are masked"),
        ({}, "has no training samples"),
        ({VALIDATION: Samples(X, Y)}, "has no training samples"),
    ],
)
def test_what_is_no_data_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(given).initialize()
