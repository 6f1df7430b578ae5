"""Tells of labels, and of a validation set, from which nothing can be learned."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from runner.checks import known
from runner.nn.loading.samples import SPLIT_NAMES, TRAIN, VALIDATION, Samples

log = logging.getLogger(__name__)


def tell_oddities(labels: Mapping[int, Tensor], names: Sequence[str], samples: Mapping[int, Samples]) -> None:
    """Warns of what can hardly be meant.

    Args:
        labels: the numbers of the labels, for each split that has some.
        names: those of the labels, if they have names.
        samples: the data of each split; there is a training set.
    """

    def words(which: Iterable[int]) -> list[int | str]:
        return [names[label] if names else label for label in which]

    found = {key: set(values.bincount().nonzero().flatten().tolist()) for key, values in labels.items()}
    train = found.get(TRAIN, set())
    if len(train) == 1:
        log.warning("All training samples have the label %s: there is nothing to tell apart", *words(train))
    elif train and not names and min(train) > 0:
        log.warning("No training sample has a label below %d: labels are counted from 0", min(train))
    for key, others in found.items():
        if train and (unknown := sorted(others - train)):
            log.warning("The %s set has labels that no training sample has: %s", SPLIT_NAMES[key], known(words(unknown)))
    validation = samples.get(VALIDATION)
    if validation is not None and np.array_equal(validation.data, samples[TRAIN].data):
        log.warning("The validation set is the training set: its errors say nothing of other data")
