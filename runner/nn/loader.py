"""The loader: serves a data set held in memory, minibatch by minibatch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from runner.errors import ConfigError, SnapshotMismatchError, known
from runner.graph import Bool, Unit, Workflow
from runner.nn.stream import Stream
from runner.snapshots.settings import at_least

TEST, VALIDATION, TRAIN = range(3)
CLASS_NAMES = ("test", "validation", "train")


class Samples(NamedTuple):
    """Samples of one class: data of shape (samples, ...) and integer labels of shape (samples,)."""

    data: npt.NDArray[np.generic]
    labels: npt.NDArray[np.generic]


@dataclass(frozen=True)
class Minibatch:
    """One step of an epoch.

    Attributes:
        sample_class: TRAIN, VALIDATION or TEST.
        begin, end: which samples of the class.
        last: whether it is the last one of its class.
        epoch_ends: whether it is the last one of the epoch.
    """

    sample_class: int
    begin: int
    end: int
    last: bool
    epoch_ends: bool


def _range_to(begin: float, end: float) -> Callable[[torch.Tensor], tuple[float, float]]:
    """Returns what maps the range of the training set to [begin, end]."""

    def fit(train: torch.Tensor) -> tuple[float, float]:
        low, high = float(train.min()), float(train.max())
        scale = (end - begin) / (high - low) if high > low else 1.0
        return scale, begin - low * scale

    return fit


NORMALIZERS: dict[str, Callable[[torch.Tensor], tuple[float, float]]] = {
    "none": lambda train: (1.0, 0.0),
    "linear": _range_to(-1.0, 1.0),
    "range": _range_to(0.0, 1.0),
}
"""For each normalisation a function that gives (scale, shift) from the training set."""


class FullBatchLoader(Unit):
    """Serves a data set in minibatches: each epoch the shuffled training set, then the validation and the test set.

    The data itself is in no snapshot: it is loaded again, and compared with a fingerprint.

    Attributes for others:
        minibatch_data_, minibatch_labels_: the samples of this minibatch, on the device.
        minibatch: what this minibatch is.
        evaluating: a Bool, true when the minibatch is not for training.
        epoch_ended: a Bool, true when the minibatch is the last of its epoch.
        epoch_number: epochs whose last minibatch has been served.
        sample_shape: the shape of one sample.

    Args:
        workflow: the workflow.
        seed: the seed of the run.
        minibatch_size: samples in a minibatch; the last one of a class may have fewer.
        normalization: a name from `NORMALIZERS`.
        train_size, validation_size: take only so many samples from the beginning; all unless given.
        dtype: of the data on the device.

    Raises:
        ConfigError: a size out of range, or an unknown normalisation; at `initialize()`, a size larger than the data.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str | None = None,
        *,
        seed: int,
        minibatch_size: int = 100,
        normalization: str = "linear",
        train_size: int | None = None,
        validation_size: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(workflow, name or "loader")
        if normalization not in NORMALIZERS:
            raise ConfigError(f"loader.normalization={normalization!r} is unknown; known: {known(NORMALIZERS)}")
        at_least("loader.minibatch_size", minibatch_size, 1, "samples")
        at_least("loader.train_size", train_size, 1, "samples")
        at_least("loader.validation_size", validation_size, 0, "samples; 0 is no validation set")
        self.minibatch_size = minibatch_size
        self.normalization = normalization
        self.train_size = train_size
        self.validation_size = validation_size
        self.dtype = dtype
        self.stream = Stream(seed, "loader")
        self.epoch_number = 0
        self.position = 0
        self.permutation: torch.Tensor | None = None
        self.fingerprint: str | None = None
        self.normalizer: tuple[float, float] | None = None
        self.class_lengths = [0, 0, 0]
        self.evaluating = Bool(False)
        self.epoch_ended = Bool(False)
        self.minibatch: Minibatch | None = None

    def load_data(self) -> dict[int, Samples]:
        """Returns the samples of each class that there is; TRAIN there must be."""
        raise NotImplementedError

    def initialize(self) -> None:
        samples = {key: self._cut(key, value) for key, value in self.load_data().items()}
        samples = {key: value for key, value in samples.items() if len(value.labels)}
        if TRAIN not in samples:
            raise ConfigError(f"{self!r} has no training samples")
        self._check_fingerprint(samples)
        device = getattr(self.workflow, "device_", "cpu")
        data = {key: torch.tensor(value.data) for key, value in samples.items()}
        if self.normalizer is None:
            self.normalizer = NORMALIZERS[self.normalization](data[TRAIN])
        scale, shift = self.normalizer
        self.data_ = {key: value.to(device, self.dtype).mul_(scale).add_(shift) for key, value in data.items()}
        self.labels_ = {key: torch.from_numpy(value.labels.astype(np.int64)).to(device) for key, value in samples.items()}
        self.class_lengths = [len(self.data_.get(key, ())) for key in (TEST, VALIDATION, TRAIN)]
        self.sample_shape = tuple(self.data_[TRAIN].shape[1:])
        self.epoch_ = self._epoch()

    def run(self) -> None:
        if self.position == 0:
            self.permutation = self.stream.permutation(self.class_lengths[TRAIN])
        step = self.epoch_[self.position]
        self.serve(step)
        self.position += 1
        if step.epoch_ends:
            self.position = 0
            self.epoch_number += 1

    def serve(self, step: Minibatch) -> None:
        """Makes one minibatch the current one."""
        data, labels = self.data_[step.sample_class], self.labels_[step.sample_class]
        if step.sample_class == TRAIN:
            assert self.permutation is not None
            chosen = self.permutation[step.begin : step.end].to(data.device)
            self.minibatch_data_ = data.index_select(0, chosen)
            self.minibatch_labels_ = labels.index_select(0, chosen)
        else:
            self.minibatch_data_ = data[step.begin : step.end]
            self.minibatch_labels_ = labels[step.begin : step.end]
        self.minibatch = step
        self.evaluating <<= step.sample_class != TRAIN
        self.epoch_ended <<= step.epoch_ends

    def evaluation(self) -> list[Minibatch]:
        """Returns the minibatches of the validation and the test set."""
        return [step for step in self.epoch_ if step.sample_class != TRAIN]

    @property
    def steps(self) -> int:
        """The number of minibatches in an epoch."""
        return len(self.epoch_)

    def _epoch(self) -> list[Minibatch]:
        """Returns the minibatches of an epoch in their order."""
        order = [key for key in (TRAIN, VALIDATION, TEST) if self.class_lengths[key]]
        return [
            Minibatch(
                key,
                begin,
                min(begin + self.minibatch_size, length),
                last := begin + self.minibatch_size >= length,
                last and key == order[-1],
            )
            for key in order
            for length in [self.class_lengths[key]]
            for begin in range(0, length, self.minibatch_size)
        ]

    def _cut(self, key: int, samples: Samples) -> Samples:
        size = {TRAIN: self.train_size, VALIDATION: self.validation_size}.get(key)
        if size is not None and size > len(samples.labels):
            raise ConfigError(
                f"loader.{CLASS_NAMES[key]}_size={size} is more than the {len(samples.labels)} samples that there are"
            )
        return Samples(samples.data[:size], samples.labels[:size])

    def _check_fingerprint(self, samples: dict[int, Samples]) -> None:
        """Compares the data with those of the run so far.

        Raises:
            SnapshotMismatchError: the data set is another one.
        """
        digest = hashlib.sha256()
        for key in sorted(samples):
            for array in samples[key]:
                digest.update(f"{key} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        fingerprint = digest.hexdigest()
        if self.fingerprint not in (None, fingerprint):
            raise SnapshotMismatchError(
                f"the data that {self!r} loads are not those of the snapshot: resuming needs the same data set"
            )
        self.fingerprint = fingerprint
