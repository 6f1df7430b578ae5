"""Labels: numbers of classes, and the names that they may have."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from runner.datasets.files import some
from runner.datasets.texts import check_apart
from runner.errors import ConfigError
from runner.nn.loading.samples import Array

log = logging.getLogger(__name__)

LABELS_FROM = (
    "loader.label=COLUMN of a table, a folder for each class of images, pairs (sample, whole number) of a Dataset, the"
    " number alone and not in an array of shape (1,); values to be predicted are loader.targets with loss_function=mse"
)
"""Where labels come from, for messages."""
LARGEST = 10_000_000
"""The largest label: there is an output for each one up to it."""


def class_names(names: Sequence[str], count: int) -> list[str]:
    """Returns what so many classes are called: the names of their labels, and numbers where there are none."""
    return [*names[:count], *map(str, range(len(names), count))]


def known_names(where: str, names: list[str], found: Iterable[str]) -> list[str]:
    """Returns the names of labels, each in the place of its number: those known so far, then new ones in alphabetical order.

    Args:
        where: what has the names, for messages.
        names: those known so far.
        found: those in the training set.

    Raises:
        ConfigError: a new one looks like another.
    """
    new = sorted(set(found) - set(names))
    check_apart(where, names, new)
    counts = Counter(map(str.casefold, (*names, *new)))
    if new and (alike := [name for name in (*names, *new) if counts[name.casefold()] > 1]):
        log.warning("%s: labels that differ in upper and lower case alone are different ones: %s", where, some(alike))
    if names and new:
        log.warning("The data have new labels, numbered after the others: %s", some(new))
    return names + new


def whole(what: str, labels: Array, samples: int) -> npt.NDArray[np.int64]:
    """Returns labels as whole numbers.

    Args:
        what: the set of samples, for messages.
        labels: the labels.
        samples: how many samples there are.

    Raises:
        ConfigError: there is not one for each sample, or one is not the number of a class.
    """
    if labels.shape != (samples,):
        raise ConfigError(
            f"the {what} set has {samples} samples, and labels of shape {labels.shape}: one label each, ({samples},)"
        )
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.int64)
    wrong = (numbers != labels) | (numbers < 0) | (numbers > LARGEST)
    if wrong.any():
        index = int(wrong.argmax())
        raise ConfigError(
            f"the {what} sample {index} (counted from 0) has the label {labels[index]}: a label is a whole number from 0 to"
            f" {LARGEST}"
        )
    return numbers
