"""What is found in data before anything is trained: all that a first conf file for them depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Spread:
    """How target values are spread.

    Attributes:
        shape: of one target.
        mean: of all values.
        deviation: the standard deviation of all values; 1 if they are all the same.
    """

    shape: tuple[int, ...]
    mean: float
    deviation: float

    @classmethod
    def of(cls, targets: npt.NDArray[Any]) -> Spread:
        """Returns the spread of targets of shape (samples, ...)."""
        values = targets.astype(np.float64)
        deviation = float(values.std())
        return cls(targets.shape[1:], float(values.mean()), deviation if deviation > 0 else 1.0)

    @property
    def is_small(self) -> bool:
        """Whether a network reaches such values from where it begins, which is close to 0."""
        return 0.1 <= self.deviation <= 10 and abs(self.mean) <= 3 * self.deviation


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found.

    Attributes:
        what: the data in words, such as `150 rows of 'iris.csv'`.
        task: what a network can learn from them, in words.
        loader: the section `loader`, without what depends on how many samples there are.
        samples: how many there are to train on and to validate on.
        shape: of one sample, as the network gets it.
        classes: how many there are; None where the samples have no labels.
        targets: how target values are spread; None where the samples have none.
        has_validation: whether the data have a validation set.
        notes: what somebody should know about the data, a line each.
        predict: what `mode=predict data=...` can be tried with.
    """

    what: str
    task: str
    loader: dict[str, Any]
    samples: int
    shape: tuple[int, ...]
    classes: int | None = None
    targets: Spread | None = None
    has_validation: bool = False
    notes: list[str] = field(default_factory=list)
    predict: str | None = None

    @property
    def is_image(self) -> bool:
        """Whether samples have the shape (height, width) or (channels, height, width), and are worth a convolution."""
        channels = self.shape[0] if len(self.shape) == 3 else 1
        return len(self.shape) in (2, 3) and channels <= 4 and min(self.shape[-2:]) >= 8

    @property
    def values(self) -> int:
        """How many values a sample has."""
        return math.prod(self.shape)


def counted(number: int, word: str, plural: str = "") -> str:
    """Returns a number with its word: `1 row`, `1,797 images`."""
    return f"{number:,} {word if number == 1 else plural or f'{word}s'}"
