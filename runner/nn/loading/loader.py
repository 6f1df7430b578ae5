"""The loader: serves a data set held in memory, minibatch by minibatch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from runner.checks import at_least
from runner.graph import Bool, Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.loading.in_memory_data import InMemoryData
from runner.nn.loading.minibatches import Minibatch, epoch
from runner.nn.loading.samples import TRAIN

ALL = slice(None)
"""All rows."""


class FullBatchLoader(InMemoryData):
    """Serves a data set in minibatches: each epoch the shuffled training set, then the validation and the test set.

    Attributes for others:
        minibatch_data_: the samples of this minibatch, on the device.
        minibatch_labels_: their labels, if they have any.
        minibatch_targets_: what the output for them shall be; the samples themselves, if the data set has no targets.
        minibatch: what this minibatch is.
        evaluating: a Bool, true when the minibatch is not for training.
        epoch_ended: a Bool, true when the minibatch is the last of its epoch.
        epoch_number: epochs whose last minibatch has been served.
        position: minibatches of the current epoch that have been served.
        serves_shards_: whether another unit calls `serve` for one shard of the minibatch after the other.

    Args:
        workflow: the workflow.
        seed: the seed of the run.
        minibatch_size: samples in a minibatch; the last one of a split may have fewer.
        shuffle_limit: shuffle the training set before each of the first N epochs, then keep the order. Default: every epoch.
        settings: those of `InMemoryData`.

    Raises:
        ConfigError: as `InMemoryData` does.
    """

    view_group = "loader"
    scorable: ClassVar[frozenset[str]] = InMemoryData.scorable | {"minibatch_size"}

    minibatch_size: int
    shuffle_limit: int | None
    stream: Stream
    epoch_number: int
    position: int
    permutation: Tensor | None
    evaluating: Bool
    epoch_ended: Bool
    minibatch: Minibatch | None

    def __init__(
        self,
        workflow: Workflow,
        name: str | None = None,
        *,
        seed: int,
        minibatch_size: int = 100,
        shuffle_limit: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, name, seed=seed, **settings)
        self.minibatch_size = minibatch_size
        self.shuffle_limit = shuffle_limit
        self.stream = Stream(seed, "loader")
        self.epoch_number = 0
        self.position = 0
        self.permutation = None
        self.evaluating = Bool(False)
        self.epoch_ended = Bool(False)
        self.minibatch = None
        self._check_sizes()

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.serves_shards_ = False

    def _check_sizes(self) -> None:
        at_least("loader.minibatch_size", self.minibatch_size, 1, "samples")
        at_least("loader.shuffle_limit", self.shuffle_limit, 0, "epochs")
        super()._check_sizes()

    def initialize(self) -> None:
        super().initialize()
        self.epoch_ = epoch(self.split_lengths, self.minibatch_size)

    @property
    def within_epoch(self) -> bool:
        return self.position > 0

    def run(self) -> None:
        if self.position == 0:
            self._shuffle()
        step = self.epoch_[self.position]
        if self.serves_shards_:
            self.announce(step)
        else:
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

    def announce(self, step: Minibatch) -> None:
        """Makes one minibatch the current one, without its samples."""
        self.minibatch = step
        self.evaluating <<= step.split != TRAIN
        self.epoch_ended <<= step.epoch_ends

    def serve(self, step: Minibatch, rows: slice = ALL) -> None:
        """Makes one minibatch, or a shard of it, the current one.

        Args:
            step: the minibatch.
            rows: which of its samples.
        """
        self.announce(step)
        key = step.split
        which: slice | Tensor = slice(*(step.begin + row for row in rows.indices(step.samples)[:2]))
        if key == TRAIN:
            assert self.permutation is not None
            which = self.permutation[which].to(self.data_[key].device)
        self.minibatch_data_ = _taken(self.data_[key], which)
        if key in self.labels_:
            self.minibatch_labels_ = _taken(self.labels_[key], which)
        own = self.targets_ is not self.data_
        self.minibatch_targets_ = _taken(self.targets_[key], which) if own else self.minibatch_data_

    def evaluation(self) -> list[Minibatch]:
        """Returns the minibatches of the validation and the test set."""
        return [step for step in self.epoch_ if step.split != TRAIN]

    @property
    def steps(self) -> int:
        """The number of minibatches in an epoch."""
        return len(self.epoch_)


def _taken(values: Tensor, which: slice | Tensor) -> Tensor:
    """Returns samples, which are a copy: what the user's own code does to them in place must not reach the data."""
    return values[which].clone() if isinstance(which, slice) else values.index_select(0, which)
