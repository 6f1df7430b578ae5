"""Any map-style data set of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset

from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Workflow
from runner.nn.core import parts
from runner.nn.core.parts import NUMBERS, Part
from runner.nn.loading.dataset_items import Items, items
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.normalizers import NORMALIZERS, Normalizer
from runner.nn.loading.samples import TRAIN, VALIDATION, Array, Samples
from runner.targets import TARGET, locate


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


TORCH: dict[str, type] = {_full_name(cls): cls for cls in (ConcatDataset, StackDataset, Subset, TensorDataset)}
"""Classes that a snapshot may name without a declaration."""


class DatasetLoader(FullBatchLoader):
    """Loads all items (sample, label) of map-style data sets into memory; an item without a label is a sample.

    The state has the names of the classes, and never the classes: a snapshot does not decide what is imported. Whoever
    restores a loader asks `missing_classes()` and gives those that its configuration names, or that are declared as
    trusted, by `provide()`. `initialize()` refuses names that are still missing.

    Integers are not scaled, unless they are pixels: tokens and categories mean nothing in between.

    A sample that is a dict, or a tuple of tensors or arrays, becomes a row with the values of all its parts. Numbers are
    normalized, each part by itself.

    Attributes:
        datasets: for `train` and `validation` the full name of the class.
        arguments: for each the arguments of its constructor.
        dataset_classes_: the classes by full name.

    Args:
        workflow: the workflow.
        train, validation: `_target_`, the class's full name, and the arguments of its constructor.
        settings: as in `FullBatchLoader`.
    """

    scorable = FullBatchLoader.scorable | {"train", "validation"}
    read_once = True

    datasets: dict[str, str]
    arguments: dict[str, dict[str, Any]]
    dataset_classes_: dict[str, type]

    def __init__(
        self,
        workflow: Workflow,
        *,
        train: Mapping[str, Any],
        validation: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, **settings)
        self.datasets = {}
        self.arguments = {}
        self._take("train", train)
        if validation:
            self._take("validation", validation)

    def _take(self, key: str, value: Mapping[str, Any]) -> None:
        cls = locate(f"loader.{key}.{TARGET}", _target_of(key, value), Dataset)
        # Where the class is defined: packages offer classes under shorter names.
        self.datasets[key] = _full_name(cls)
        self.arguments[key] = {str(name): argument for name, argument in value.items() if name != TARGET}
        self.provide(self.datasets[key], cls)

    def score_with(self, **changes: Any) -> None:
        for key in changes.keys() & {"train", "validation"}:
            self._take(key, changes.pop(key))
        super().score_with(**changes)

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.dataset_classes_ = dict(TORCH)

    def missing_classes(self) -> list[str]:
        """Returns the full names of the classes that the loader needs and has not got."""
        return sorted(set(self.datasets.values()) - self.dataset_classes_.keys())

    def provide(self, name: str, cls: type) -> None:
        """Gives the loader a class that its state names.

        Args:
            name: the full name, as in `datasets`.
            cls: the class.

        Raises:
            ConfigError: it is not a map-style data set.
        """
        if not isinstance(cls, type) or not issubclass(cls, Dataset) or not hasattr(cls, "__len__"):
            raise ConfigError(f"{name} is not a map-style torch.utils.data.Dataset")
        self.dataset_classes_[name] = cls

    def default_normalization(self, train: Array) -> str:
        if self.parts:
            return "linear" if any(kind == NUMBERS for _, _, kind in self.parts) else "none"
        pixels = train.dtype == np.uint8 and train.ndim > 2
        return "none" if train.dtype.kind in "iub" and not pixels else super().default_normalization(train)

    def fitted(self, train: Array) -> Normalizer:
        return _fitted(self.parts, train, self._normalization(train)) if self.parts else super().fitted(train)

    @property
    def has_validation_set(self) -> bool:
        return "validation" in self.datasets

    def load_data(self) -> dict[int, Samples]:
        needed = {key: name for key, name in self.datasets.items() if key != "train" or self.needs_training_set}
        for key, name in needed.items():
            if name in self.missing_classes():
                raise ConfigError(
                    f"the snapshot names the class {name} of its data set, and this call does not: name it in the conf file"
                    f" (loader.{key}.{TARGET}={name}), or declare its module with restore.trusted=[{name.rpartition('.')[0]}]"
                )
        found = {key: items(f"loader.{key}", self.dataset_classes_[name], self.arguments[key]) for key, name in needed.items()}
        for key, own in found.items():
            known = self.parts if self.fingerprint or own is not next(iter(found.values())) else own.parts
            self._check_parts(f"loader.{key}", known, own)
            if own.parts:
                self.parts = own.parts
        return {TRAIN if key == "train" else VALIDATION: own.samples for key, own in found.items()}

    def _check_parts(self, where: str, known: Sequence[Part], found: Items) -> None:
        """Checks the parts of a sample.

        Raises:
            ConfigError: the two sets have others, or the precision of the run cannot hold a whole number.
            SnapshotMismatchError: those of the run so far are others.
        """
        if list(found.parts) != list(known):
            error = SnapshotMismatchError if self.fingerprint else ConfigError
            raise error(
                f"{where} has samples of {parts.told(found.parts) or 'one part'}, and the network is for"
                f" {parts.told(known) or 'one part'}"
            )
        if found.parts and not self.keeps_integers:
            raise ConfigError(
                f"{where} has samples of several parts ({parts.told(found.parts)}), which only a module takes:"
                " model._target_=my_module.Net, or a first layer with a _target_"
            )
        if self.normalization in (None, "none") and all(kind != NUMBERS for _, _, kind in found.parts):
            return  # whole numbers alone are never others
        precision = torch.finfo(self.dtype)
        for part, which in parts.columns(found.parts):
            values = found.samples.data[:, which]
            largest = max(float(values.max()), -float(values.min()))
            if part[2] != NUMBERS and largest > 1 / precision.eps:
                raise ConfigError(
                    f"{where}: the part {part[0]} has the whole number {largest:.0f}, and {precision.dtype} is not exact from"
                    f" {1 / precision.eps:.0f} on: set precision=float64"
                )


def _fitted(kinds: Sequence[Part], train: Array, name: str) -> Normalizer:
    """Returns the normalizer of rows of which each part of numbers has its own."""
    factors = []
    for part, which in parts.columns(kinds):
        own = NORMALIZERS[name if part[2] == NUMBERS else "none"](train[:, which].reshape(-1, *part[1]))
        if not own:
            raise ConfigError(f"loader.normalization={name!r} is not for samples of several parts: {parts.told(kinds)}")
        factors.append([torch.as_tensor(factor, dtype=torch.float64).expand(part[1]).reshape(-1) for factor in own])
    scale, centre = (torch.cat(values) for values in zip(*factors, strict=True))
    return scale, centre


def _target_of(key: str, value: Any) -> str:
    name = value.get(TARGET) if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"loader.{key}={value!r} needs {TARGET}: the full name of a class of data sets")
    return name
