"""The data set of a loader: read, cut into its splits, compared with that of the run so far, and normalized."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from runner.checks import at_least, choices, known
from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Workflow, random_state
from runner.nn.core import parts
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.core.parts import Part
from runner.nn.loading.given import checked
from runner.nn.loading.labels import whole
from runner.nn.loading.normalizers import NORMALIZERS, UNCHANGED, Normalizer
from runner.nn.loading.oddities import tell_oddities
from runner.nn.loading.precision import in_precision
from runner.nn.loading.samples import SPLIT_NAMES, TEST, TRAIN, VALIDATION, Array, Samples, fingerprint, split
from runner.parallel.machine_memory import read_by_first
from runner.parallel.processes import ALONE

log = logging.getLogger(__name__)

OTHER_DATA = frozenset({"validation", "validation_dir", "validation_file"})
"""Attributes of loaders that name a validation set."""
DRAWN = frozenset({"split_seed", "validation_ratio"})
"""Those that say how one is drawn from the training data."""


class InMemoryData(NetworkUnit):
    """Holds a data set in memory.

    The data are not part of a snapshot: they are loaded again, and compared with a fingerprint.

    Attributes for others:
        data_: the samples of each split that has some, on the device.
        labels_: their labels, where they have any.
        targets_: what the outputs for them shall be; the samples themselves, if the data set has no targets.
        split_lengths: samples in each split.
        label_names: the name of each label, where labels have names. A name keeps its number for ever.
        label_count: the number of classes: the largest label + 1.
        sample_shape, target_shape: the shape of one sample, and of one target.
        sample_dtype: the type of the numbers in a sample: `dtype`, or int64 where integers stay integers.
        data_dtype: the type of the training data's numbers as they are loaded, such as `uint8`; None if nobody knows.
        parts: those of a sample that is a row of several, as a module takes them; empty if a sample is one tensor.
        feature_names: the names of a sample's values, or of the columns that they come from; empty where they have none.
        keeps_integers: whether the units after the loader take integers that are not normalised as they are.
        allow_changed_data_: whether a restored run accepts other data than it had so far.
        only_scored_: whether the data only serve to score the network, so that they need not be those of the run.

    Args:
        workflow: the workflow.
        seed: the seed of the run.
        normalization: a name from `NORMALIZERS`. Default: `default_normalization()`.
        train_size, validation_size: use only the first N samples. Default: all.
        validation_ratio: take this share of the training set for validation.
        split_seed: seed of that choice.

    Raises:
        ConfigError: a size is out of range, or the normalisation unknown; at `initialize()`, a size is larger than the data,
            or a value or a label is not one.
    """

    of_training_set: ClassVar[frozenset[str]] = frozenset({"data_file", "data_dir", "train", "train_size"})
    """Keys of the training set alone."""
    scorable: ClassVar[frozenset[str]] = frozenset({"train_size", "validation_size", "validation_ratio", "split_seed"})
    """The attributes that may change, besides `adjustable`, where the data only serve to score the network."""
    read_once: ClassVar[bool] = False
    """Whether one process of each machine reads the data for all that share a run there. Each class says it for itself:
    `load_data` does nothing then but return samples and set attributes of the loader to plain values or tensors."""

    normalization: str | None
    train_size: int | None
    validation_size: int | None
    validation_ratio: float | None
    split_seed: int
    data_seed: int
    fingerprint: str | None
    normalizer: Normalizer | None
    split_lengths: list[int]
    label_names: list[str]
    label_count: int
    sample_shape: tuple[int, ...]
    sample_dtype: torch.dtype
    target_shape: tuple[int, ...]
    data_dtype: str | None = None
    feature_names: list[str] = []
    parts: Sequence[Part] = ()
    keeps_integers: bool

    def __init__(
        self,
        workflow: Workflow,
        name: str | None = None,
        *,
        seed: int,
        normalization: str | None = None,
        train_size: int | None = None,
        validation_size: int | None = None,
        validation_ratio: float | None = None,
        split_seed: int = 0,
    ) -> None:
        super().__init__(workflow, name or "loader")
        if normalization is not None and normalization not in NORMALIZERS:
            raise ConfigError(f"loader.normalization={normalization!r} is unknown; {choices(normalization, NORMALIZERS)}")
        self.normalization = normalization
        self.train_size = train_size
        self.validation_size = validation_size
        self.validation_ratio = validation_ratio
        self.split_seed = split_seed
        self.data_seed = seed
        self.fingerprint = None
        self.normalizer = None
        self.split_lengths = [0, 0, 0]
        self.label_names = []
        self.label_count = 0
        self.sample_shape = ()
        self.sample_dtype = self.dtype
        self.target_shape = ()
        self.keeps_integers = False

    def _check_sizes(self) -> None:
        """Raises a ConfigError for a number that the configuration, or the snapshot, should not have."""
        at_least("loader.train_size", self.train_size, 1, "samples")
        at_least("loader.validation_size", self.validation_size, 0, "samples; 0 is no validation set")
        at_least("loader.split_seed", self.split_seed, 0, "seed of the split")
        ratio = self.validation_ratio
        if ratio is not None and not 0 <= ratio < 1:
            raise ConfigError(f"loader.validation_ratio={ratio} must be at least 0 and below 1")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.allow_changed_data_ = False
        self.only_scored_ = False

    def load_data(self) -> dict[int, Samples]:
        """Returns the samples of each split; there must be some of TRAIN, unless `needs_training_set` says otherwise.

        The global random generators are seeded before it, in a fresh and in a restored run alike, so a data set that is
        made at random is the same in both.
        """
        raise NotImplementedError

    def default_normalization(self, train: Array) -> str:
        """Returns the normalisation that is used if none is named."""
        return "linear"

    def fitted(self, train: Array) -> Normalizer:
        """Returns the normaliser for a training set."""
        return NORMALIZERS[self._normalization(train)](train)

    def _normalization(self, train: Array) -> str:
        return self.normalization or self.default_normalization(train)

    def score_with(self, **changes: Any) -> None:
        """Changes which samples are served, or how: they only serve to score the network.

        What the run has learned of its own data stays: the normalization, the columns, the numbers of the labels.

        Raises:
            ConfigError: a setting that cannot change, or a wrong value.
        """
        for name, value in changes.items():
            if name not in self.adjustable | self.scorable:
                can = known(self.adjustable | self.scorable)
                raise ConfigError(
                    f"loader.{name} is what the network was trained with, so mode=evaluate keeps it (can change: {can})"
                )
            setattr(self, name, value)
        if changes.keys() & OTHER_DATA and "validation_ratio" not in changes:
            self.validation_ratio = None  # they take the place of a share of the training data
        if self.validation_ratio and changes.keys() & DRAWN and not changes.keys() & self.of_training_set:
            log.warning(
                "The validation set is drawn anew (%s): the network was trained on samples that are in it now",
                known(f"loader.{name}" for name in changes if name in DRAWN),
            )
        self._check_sizes()
        self.only_scored_ = True

    @property
    def needs_training_set(self) -> bool:
        """Whether the training set has to be loaded: not where a network is only scored, on other data than its own."""
        return not self.only_scored_ or bool(self.validation_ratio) or not self.has_validation_set

    @property
    def within_epoch(self) -> bool:
        """Whether some of the samples of this epoch have been served."""
        raise NotImplementedError

    @property
    def has_validation_set(self) -> bool:
        """Whether the loader knows of a validation set that can be loaded by itself."""
        return any(getattr(self, name, None) is not None for name in OTHER_DATA)

    def initialize(self) -> None:
        self._check_sizes()
        launcher = None if self.workflow is None else self.workflow.launcher
        processes = ALONE if launcher is None else launcher.processes
        if processes.size > 1 and vars(type(self)).get("read_once", False):
            for name, value in read_by_first(processes, self._found, self.device).items():
                setattr(self, name, value)
        else:
            self._read()

    def _found(self) -> dict[str, Any]:
        """Reads the data, and returns what attributes it has set."""
        before = dict(vars(self))
        self._read()
        return {name: value for name, value in vars(self).items() if name not in before or value is not before[name]}

    def _read(self) -> None:
        """Sets all attributes that come of the data."""
        samples = self._chosen()
        self._check_fingerprint(samples)
        device = self.device
        if TRAIN in samples:
            train = samples[TRAIN].data
            if self.normalizer is None:
                self.normalizer = self.fitted(train)
            integers = self.keeps_integers and train.dtype.kind in "iu" and self._normalization(train) == "none"
            self.sample_dtype = torch.int64 if integers else self.dtype
            self.data_dtype = train.dtype.name
        assert self.normalizer is not None
        self.data_ = {key: self._mapped(key, value.data, self.normalizer).to(device) for key, value in samples.items()}
        self.labels_ = {
            key: torch.from_numpy(whole(SPLIT_NAMES[key], value.labels, len(value.data))).to(device)
            for key, value in samples.items()
            if value.labels is not None
        }
        self.targets_ = {
            key: self._mapped(key, value.targets, UNCHANGED, self.dtype, targets=True).to(device)
            for key, value in samples.items()
            if value.targets is not None
        } or self.data_
        self.split_lengths = _lengths(samples)
        if TRAIN in samples:
            tell_oddities(self.labels_, self.label_names, samples)
            largest = max((int(labels.max()) for labels in self.labels_.values()), default=-1)
            self.label_count = max(largest + 1, len(self.label_names))
            self.sample_shape = tuple(self.data_[TRAIN].shape[1:])
            self.target_shape = tuple(self.targets_[max(self.targets_)].shape[1:])

    def check_answers(self, *, labels: bool) -> None:
        """Raises a ConfigError if a set lacks labels, or targets, that another has, or has targets of another shape."""
        what, answers = ("labels", self.labels_) if labels else ("targets", self.targets_)
        first = max(answers, default=None)  # the training set, as a rule
        for key, data in self.data_.items():
            if first is None or not len(data):
                continue
            if key not in answers:
                raise ConfigError(f"{self!r}: the {SPLIT_NAMES[key]} set has no {what}, and the {SPLIT_NAMES[first]} set has")
            shapes = [tuple(answers[one].shape[1:]) for one in (key, first)]
            if shapes[0] != shapes[1]:
                raise ConfigError(
                    f"{self!r}: the {SPLIT_NAMES[key]} set has {what} of shape {shapes[0]}, and the {SPLIT_NAMES[first]} set of"
                    f" shape {shapes[1]}"
                )

    def _mapped(
        self, key: int, data: Array, normalizer: Normalizer, dtype: torch.dtype | None = None, *, targets: bool = False
    ) -> Tensor:
        """Returns normalised data in the precision of the run."""
        split, names = SPLIT_NAMES[key], partial(self._value_name, targets=targets)
        return in_precision(data, normalizer, dtype or self.sample_dtype, self.dtype, split, names, targets=targets)

    def _value_name(self, place: tuple[int, ...], targets: bool) -> str:
        """Returns which value of a sample, or of a target, is meant, for messages."""
        if self.parts and not targets:
            return f" in {parts.place(self.parts, place[0])}"
        return f" at {list(place)}" if place else ""

    def _loaded(self) -> dict[int, Samples]:
        """Returns the data set; the global random generators are seeded for it, and put back."""
        states = random_state.get_states()
        random_state.seed_all(self.data_seed)
        try:
            return checked(f"{type(self).__name__}.load_data()", self.load_data())
        finally:
            random_state.set_states(states)

    def _chosen(self) -> dict[int, Samples]:
        """Returns what the run takes of the data set."""
        samples = self._loaded()
        if TRAIN not in samples and self.needs_training_set:
            raise ConfigError(f"{self!r} has no training samples")
        shape = samples[TRAIN].data.shape[1:] if TRAIN in samples else self.sample_shape
        for key, value in samples.items():
            if (other := value.data.shape[1:]) != shape:
                raise ConfigError(f"the {SPLIT_NAMES[key]} samples have shape {other}, and the training samples {shape}")
            value.check(SPLIT_NAMES[key])
        if self.validation_ratio:
            if VALIDATION in samples:
                raise ConfigError(f"loader.validation_ratio={self.validation_ratio}: the data have a validation set already")
            samples[TRAIN], samples[VALIDATION] = split(samples[TRAIN], self.validation_ratio, self.split_seed)
        elif TRAIN in samples and VALIDATION not in samples and self.validation_ratio is None and self.validation_size is None:
            log.warning(
                "There is no validation set, so the training error decides (loader.validation_ratio=0.2 takes a share of the"
                " training samples; loader.validation_ratio=0 says that it is meant so)"
            )
        elif TRAIN in samples and VALIDATION not in samples and self.validation_size:
            raise ConfigError(
                f"loader.validation_size={self.validation_size}: there is no validation set to take them from"
                " (loader.validation_ratio=0.2 takes a share of the training samples)"
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
        if not self.allow_changed_data_ and not self.only_scored_:
            raise SnapshotMismatchError(
                f"the data that {self!r} loads are not those of the snapshot ({self._changes(samples)}): resuming needs the"
                " same data set (restore.allow_changed_data=true goes on with these)"
            )
        shape = next(iter(samples.values())).data.shape[1:] if samples else self.sample_shape
        if shape != self.sample_shape:
            raise SnapshotMismatchError(f"the data have samples of shape {shape}, those of the snapshot {self.sample_shape}")
        if self.only_scored_:
            return
        if self.within_epoch and _lengths(samples) != self.split_lengths:
            raise SnapshotMismatchError(
                "the data have another number of samples, and the snapshot is from within an epoch: only one from the end of"
                " an epoch can go on with them"
            )
        log.warning("The data are not those of the snapshot (restore.allow_changed_data=true): the run goes on with them")

    def _changes(self, samples: dict[int, Samples]) -> str:
        """Says in what the data differ from those of the run so far, as far as the run knows."""
        pairs = zip(SPLIT_NAMES, _lengths(samples), self.split_lengths, strict=True)
        lengths = [f"{name} {now} samples instead of {was}" for name, now, was in pairs if now != was]
        return ", ".join(lengths) or "as many samples, of other values or in another order"


def _lengths(samples: dict[int, Samples]) -> list[int]:
    return [len(samples[key].data) if key in samples else 0 for key in (TEST, VALIDATION, TRAIN)]
