"""The unit that sums the gradients of all shards, and updates the weights with the sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from runner.graph import Workflow
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.layers.base import Forward
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.held import Frozen, Held
from runner.parallel.pairwise import PairwiseSum
from runner.parallel.processes import ALONE, Processes

PART = 4 << 20
"""Bytes from which on a part of a row is sent by itself: smaller ones take as long, for each has to be begun and waited for."""


@dataclass(frozen=True)
class Place:
    """Where one tensor has its numbers in a row, in the order in which they lie in memory."""

    begin: int
    end: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, begin: int, tensor: Tensor) -> Place:
        """Returns the place of a tensor that begins there."""
        dense = tensor.detach().clone()  # which has no gaps
        return cls(begin, begin + dense.numel(), tuple(dense.shape), dense.stride())

    def view(self, row: Tensor) -> Tensor:
        """Returns the numbers in a row as a tensor."""
        return row.as_strided(self.shape, self.stride, row.storage_offset() + self.begin)


class Exchange(NetworkUnit):
    """Sums what the shards of a minibatch give, in the order of a tree, and updates the weights with the sum.

    One row of numbers holds all that a shard gives: the gradients, for each whether there was one, and what else training
    changes in layers, such as running statistics. Of the latter, the mean change counts.

    The gradients come in the order of the backward steps. In the last shard of a process, each part of the row is on its way as
    soon as it is complete, while the steps behind it are computed.

    Attributes:
        gradients: the units whose gradients are summed.
        forwards: the layers, and a loss that is a module.
    """

    view_group = "trainer"

    gradients: list[WeightedGradient]
    forwards: list[Forward | LossEvaluator]

    def __init__(
        self, workflow: Workflow, gradients: Sequence[WeightedGradient], forwards: Sequence[Forward | LossEvaluator]
    ) -> None:
        super().__init__(workflow, "exchange")
        self.gradients = list(gradients)
        self.forwards = list(forwards)

    def initialize(self) -> None:
        launcher = None if self.workflow is None else self.workflow.launcher
        self.processes_: Processes = ALONE if launcher is None else launcher.processes
        self._lay_out()
        for unit in self.gradients:
            unit.collect_ = partial(self._collect, unit)
        size = self.processes_.size
        length = -(-self.flags_.stop // size) * size
        self.sum_ = PairwiseSum(length, self.dtype, self.device)
        self._cut(length)

    def _lay_out(self) -> None:
        """Gives each parameter and each running statistic its place in a row."""
        begin, weights = 0, set()
        self.parameters_: dict[tuple[WeightedGradient, str], Place] = {}
        for unit in self.gradients:
            for name, parameter in unit.parameters().items():
                if not isinstance(unit.steps[name], Frozen):
                    self.parameters_[unit, name] = place = Place.of(begin, parameter)
                    begin = place.end
                    weights.add(parameter.data_ptr())  # it may have a second name, as where layers of a module share it
        self.statistics_: list[tuple[Tensor, Place]] = []
        for forward in self.forwards:
            for value in forward.tensors().values():
                if value.data_ptr() not in weights and value.dtype != torch.bool and not value.is_complex():
                    self.statistics_.append((value, place := Place.of(begin, value)))
                    begin = place.end
        self.flags_ = slice(begin, begin + len(self.parameters_))
        self.ones_ = torch.ones(len(self.parameters_), dtype=self.dtype, device=self.device)

    def _cut(self, length: int) -> None:
        """Cuts the row into parts: each is complete when a gradient unit has run, the last one when all have."""
        self.parts_: dict[NetworkUnit | None, slice] = {}
        begin, size = 0, self.processes_.size
        for unit in self.gradients:
            end = max((place.end for (owner, _), place in self.parameters_.items() if owner is unit), default=0)
            end -= end % size
            if end - begin >= PART // self.dtype.itemsize:
                self.parts_[unit] = slice(begin, end)
                begin = end
        self.parts_[None] = slice(begin, length)

    def begin_minibatch(self, shards: int) -> None:
        """Begins with the first shard of this process.

        Args:
            shards: how many of the minibatch's shards have samples.
        """
        self.shards_ = shards
        self.waits_: list[Callable[[], None]] = []
        self.before_ = [value.clone() for value, _ in self.statistics_]

    def begin_shard(self) -> None:
        """Begins with a shard: its gradients come next."""
        self.row_ = self.sum_.row()
        self.missing_ = set(self.parameters_)

    def put_back(self) -> None:
        """Puts back what a shard has changed beside the weights: each begins as the minibatch does."""
        for (value, _), before in zip(self.statistics_, self.before_, strict=True):
            value.copy_(before)

    def _collect(self, unit: WeightedGradient, name: str, gradient: Tensor) -> None:
        if (place := self.parameters_.get((unit, name))) is not None:
            place.view(self.row_).copy_(gradient)
            self.missing_.discard((unit, name))

    def end_shard(self, *, last: bool) -> None:
        """Adds what the shard has given; what is left of a last one is sent."""
        row, flags = self.row_, self.ones_
        self._fill(self.flags_.start)
        if self.missing_:
            flags = torch.tensor([float(key not in self.missing_) for key in self.parameters_]).to(self.ones_)
        row[self.flags_].copy_(flags)
        row[self.flags_.stop :] = 0
        for (value, place), before in zip(self.statistics_, self.before_, strict=True):
            # What has not changed may be infinite, as in a mask.
            place.view(row).copy_(torch.where(value == before, torch.zeros_like(value), value - before))
        self._add(last=last)

    def add_empty_shard(self, *, last: bool) -> None:
        """Adds a shard without samples."""
        self.row_ = self.sum_.row().zero_()
        if last:
            for unit in self.gradients:
                self._send(unit)
        self._add(last=last)

    def _add(self, *, last: bool) -> None:
        if last:
            self._send(None)
            self.total_ = self.sum_.take(self.row_)
        else:
            self.sum_.add(self.row_)

    def send(self, unit: NetworkUnit) -> None:
        """Begins to exchange what is complete when a gradient unit has run in the last shard of this process."""
        if unit in self.parts_:
            self._fill(self.parts_[unit].stop)
            self._send(unit)

    def _fill(self, end: int) -> None:
        """Writes zeros where a parameter whose unit has run has no gradient."""
        for place in map(self.parameters_.__getitem__, self.missing_):
            if place.begin < end:
                self.row_[place.begin : place.end] = 0

    def _send(self, unit: NetworkUnit | None) -> None:
        if (columns := self.parts_.get(unit)) is not None:
            self.waits_.append(self.processes_.total(self.sum_.last(self.row_, columns)))

    @torch.no_grad()
    def run(self) -> None:
        """Updates with the sum over all processes."""
        for wait in self.waits_:
            wait()
        total = self.total_
        given = total[self.flags_].tolist()
        parameters = {unit: unit.parameters() for unit in self.gradients}
        for ((unit, name), place), shards in zip(self.parameters_.items(), given, strict=True):
            if shards:
                gradient = place.view(total)
                kept = gradient.clone() if isinstance(unit.steps[name], Held) else gradient  # the row is used again
                unit.update(name, parameters[unit][name], kept)
        for (value, place), before in zip(self.statistics_, self.before_, strict=True):
            mean = place.view(total) / self.shards_
            value.copy_(before + (mean if value.is_floating_point() else mean.round().to(value.dtype)))
