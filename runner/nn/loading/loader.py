"""The loader: serves a data set held in memory, minibatch by minibatch."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from runner.checks import at_least, known
from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Bool, Unit, Workflow
from runner.nn.loading.minibatches import Minibatch, epoch
from runner.nn.loading.normalizers import NORMALIZERS, Normalizer, normalized
from runner.nn.loading.samples import SPLIT_NAMES, TEST, TRAIN, VALIDATION, Array, Samples, fingerprint, split
from runner.nn.random_stream import Stream

log = logging.getLogger(__name__)


class FullBatchLoader(Unit):
    """Serves a data set in minibatches: each epoch the shuffled training set, then the validation and the test set.

    The data itself is in no snapshot: it is loaded again, and compared with a fingerprint.

    Attributes for others:
        minibatch_data_: the samples of this minibatch, on the device.
        minibatch_labels_: their labels, if they have any.
        minibatch_targets_: what the output for them shall be; the samples themselves, if the data set has no targets.
        minibatch: what this minibatch is.
        evaluating: a Bool, true when the minibatch is not for training.
        epoch_ended: a Bool, true when the minibatch is the last of its epoch.
        epoch_number: epochs whose last minibatch has been served.
        label_count: how many labels there are, the largest one and those below it.
        sample_shape, target_shape: the shape of one sample, and of one target.
        allow_changed_data_: whether, after a restore, another data set than that of the run so far is taken.

    Args:
        workflow: the workflow.
        seed: the seed of the run.
        minibatch_size: samples in a minibatch; the last one of a class may have fewer.
        normalization: a name from `NORMALIZERS`.
        train_size, validation_size: take only so many samples from the beginning; all unless given.
        validation_ratio: take such a share of the training set for validation.
        split_seed: seed of that choice.
        shuffle_limit: shuffle the training set before so many epochs, and keep the order from then on; before each if None.
        dtype: of the data on the device.

    Raises:
        ConfigError: a size out of range, or an unknown normalisation; at `initialize()`, a size larger than the data.
    """

    view_group = "loader"

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
        validation_ratio: float | None = None,
        split_seed: int = 0,
        shuffle_limit: int | None = None,
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
        self.validation_ratio = validation_ratio
        self.split_seed = split_seed
        self.shuffle_limit = shuffle_limit
        self.dtype = dtype
        self.stream = Stream(seed, "loader")
        self.epoch_number = 0
        self.position = 0
        self.permutation: Tensor | None = None
        self.fingerprint: str | None = None
        self.normalizer: Normalizer | None = None
        self.split_lengths = [0, 0, 0]
        self.label_count = 0
        self.sample_shape: tuple[int, ...] = ()
        self.target_shape: tuple[int, ...] = ()
        self.evaluating = Bool(False)
        self.epoch_ended = Bool(False)
        self.minibatch: Minibatch | None = None

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.allow_changed_data_ = False

    def load_data(self) -> dict[int, Samples]:
        """Returns the samples of each class that there is; TRAIN there must be."""
        raise NotImplementedError

    def initialize(self) -> None:
        samples = self._chosen()
        self._check_fingerprint(samples)
        device = getattr(self.workflow, "device_", "cpu")
        data = {key: _tensor(value.data) for key, value in samples.items()}
        if self.normalizer is None:
            self.normalizer = NORMALIZERS[self.normalization](data[TRAIN])
        self.data_ = {key: normalized(value.to(device, self.dtype), self.normalizer) for key, value in data.items()}
        self.labels_ = {
            key: torch.from_numpy(value.labels.astype(np.int64)).to(device)
            for key, value in samples.items()
            if value.labels is not None
        }
        self.targets_ = {
            key: _tensor(value.targets).to(device, self.dtype) for key, value in samples.items() if value.targets is not None
        } or self.data_
        self.split_lengths = _lengths(samples)
        self.label_count = 1 + max((int(labels.max()) for labels in self.labels_.values()), default=-1)
        self.sample_shape = tuple(self.data_[TRAIN].shape[1:])
        self.target_shape = tuple(self.targets_[TRAIN].shape[1:])
        self.epoch_ = epoch(self.split_lengths, self.minibatch_size)

    def run(self) -> None:
        if self.position == 0:
            self._shuffle()
        step = self.epoch_[self.position]
        self.serve(step)
        self.position += 1
        if step.epoch_ends:
            self.position = 0
            self.epoch_number += 1

    def _shuffle(self) -> None:
        size, limit = self.split_lengths[TRAIN], self.shuffle_limit
        if limit is None or self.epoch_number < limit:
            self.permutation = self.stream.permutation(size)
        elif self.permutation is None or len(self.permutation) != size:
            self.permutation = torch.arange(size, dtype=torch.int32)

    def serve(self, step: Minibatch) -> None:
        """Makes one minibatch the current one."""
        key = step.split
        which: slice | Tensor = slice(step.begin, step.end)
        if key == TRAIN:
            assert self.permutation is not None
            which = self.permutation[which].to(self.data_[key].device)
        self.minibatch_data_ = _taken(self.data_[key], which)
        if key in self.labels_:
            self.minibatch_labels_ = _taken(self.labels_[key], which)
        own = self.targets_ is not self.data_
        self.minibatch_targets_ = _taken(self.targets_[key], which) if own else self.minibatch_data_
        self.minibatch = step
        self.evaluating <<= key != TRAIN
        self.epoch_ended <<= step.epoch_ends

    def evaluation(self) -> list[Minibatch]:
        """Returns the minibatches of the validation and the test set."""
        return [step for step in self.epoch_ if step.split != TRAIN]

    @property
    def steps(self) -> int:
        """The number of minibatches in an epoch."""
        return len(self.epoch_)

    def _chosen(self) -> dict[int, Samples]:
        """Returns what the run takes of the data set."""
        samples = {key: value for key, value in self.load_data().items() if len(value.data)}
        if TRAIN not in samples:
            raise ConfigError(f"{self!r} has no training samples")
        shape = samples[TRAIN].data.shape[1:]
        for key, value in samples.items():
            if (other := value.data.shape[1:]) != shape:
                raise ConfigError(f"the {SPLIT_NAMES[key]} samples have shape {other}, and the training samples {shape}")
        if self.validation_ratio:
            if VALIDATION in samples:
                raise ConfigError(f"loader.validation_ratio={self.validation_ratio}: the data have a validation set already")
            samples[TRAIN], samples[VALIDATION] = split(samples[TRAIN], self.validation_ratio, self.split_seed)
        elif VALIDATION not in samples and self.validation_ratio is None and self.validation_size is None:
            log.warning(
                "There is no validation set, so the training error decides (loader.validation_ratio=0.2 takes a share of the"
                " training samples; loader.validation_ratio=0 says that it is meant so)"
            )
        samples = {key: self._cut(key, value) for key, value in samples.items()}
        return {key: value for key, value in samples.items() if len(value.data)}

    def _cut(self, key: int, samples: Samples) -> Samples:
        size = {TRAIN: self.train_size, VALIDATION: self.validation_size}.get(key)
        if size is not None and size > len(samples.data):
            raise ConfigError(
                f"loader.{SPLIT_NAMES[key]}_size={size} is more than the {len(samples.data)} samples that there are"
            )
        return samples.taken(slice(size))

    def _check_fingerprint(self, samples: dict[int, Samples]) -> None:
        """Compares the data with those of the run so far.

        Raises:
            SnapshotMismatchError: the data set is another one, and that is not allowed, or the run cannot go on with it.
        """
        before, self.fingerprint = self.fingerprint, fingerprint(samples)
        if before in (None, self.fingerprint):
            return
        if not self.allow_changed_data_:
            raise SnapshotMismatchError(
                f"the data that {self!r} loads are not those of the snapshot: resuming needs the same data set"
                " (restore.allow_changed_data=true goes on with these)"
            )
        shape = samples[TRAIN].data.shape[1:]
        if shape != self.sample_shape:
            raise SnapshotMismatchError(f"the data have samples of shape {shape}, those of the snapshot {self.sample_shape}")
        if self.position and _lengths(samples) != self.split_lengths:
            raise SnapshotMismatchError(
                "the data have another number of samples, and the snapshot is from within an epoch: only one from the end of"
                " an epoch can go on with them"
            )
        log.warning("The data are not those of the snapshot (restore.allow_changed_data=true): the run goes on with them")


def _lengths(samples: dict[int, Samples]) -> list[int]:
    return [len(samples[key].data) if key in samples else 0 for key in (TEST, VALIDATION, TRAIN)]


def _tensor(array: Array) -> Tensor:
    """Returns a tensor that shares nothing with the array; torch has no arithmetic for large unsigned numbers."""
    native = (
        array.astype(np.int64)
        if array.dtype.kind == "u" and array.itemsize > 1
        else array.astype(array.dtype.newbyteorder("="))
    )
    return torch.from_numpy(np.ascontiguousarray(native))


def _taken(values: Tensor, which: slice | Tensor) -> Tensor:
    return values[which] if isinstance(which, slice) else values.index_select(0, which)
