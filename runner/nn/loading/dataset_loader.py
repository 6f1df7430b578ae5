"""Any map-style data set of torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset

from runner import places
from runner.checks import first_line
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.memory import available
from runner.nn.loading.loader import FullBatchLoader, log
from runner.nn.loading.samples import TRAIN, VALIDATION, Array, Samples
from runner.targets import TARGET, locate

SLOW = 10.0
"""Seconds from which loading is worth a line in the log."""
ITEM = 100
"""Bytes that a small object takes at least, with its place in a list."""


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
        pixels = train.dtype == np.uint8 and train.ndim > 2
        return "none" if train.dtype.kind in "iub" and not pixels else super().default_normalization(train)

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
        return {
            TRAIN if key == "train" else VALIDATION: items(f"loader.{key}", self.dataset_classes_[name], self.arguments[key])
            for key, name in needed.items()
        }


def _target_of(key: str, value: Any) -> str:
    name = value.get(TARGET) if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"loader.{key}={value!r} needs {TARGET}: the full name of a class of data sets")
    return name


def items(key: str, cls: type, arguments: dict[str, Any]) -> Samples:
    """Returns all items of a data set.

    Args:
        key: what names the class, for messages.
        cls: the class.
        arguments: those of its constructor.

    Raises:
        ConfigError: the class fails, its items do not fit together, or there is no memory for them.
    """
    began = time.monotonic()
    found: list[Any] = []
    try:
        dataset = cls(**arguments)
        count = len(dataset)
        for index in range(count):
            found.append(_kept(dataset[index]))
            if index == 0:
                _check_memory(key, found, count)
    except ConfigError:
        raise
    except Exception as error:  # the user's own class may fail in any way
        where = f" at item {len(found)} (counted from 0)" if found else ""
        raise ConfigError(f"{key}: {cls.__qualname__} fails{where}: {places.told(error)}") from error
    pairs = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in found]
    if not pairs or any(len(pair) not in (1, 2) or len(pair) != len(pairs[0]) for pair in pairs):
        raise ConfigError(f"{key}: {cls.__qualname__} must have items (sample, label), or samples alone")
    data, *second = (
        _stacked(key, what, parts) for what, parts in zip(("sample", "label"), zip(*pairs, strict=True), strict=False)
    )
    if (seconds := time.monotonic() - began) > SLOW:
        log.info("%s: %d items (%.0f MB) loaded in %.0f s", key, len(data), data.nbytes / 1e6, seconds)
    data = data.reshape(len(data), -1) if data.ndim == 1 else data
    if not second:
        return Samples(data)
    # A whole number is a class, anything else is what the output shall be.
    return Samples(data, second[0]) if second[0].ndim == 1 and second[0].dtype.kind in "iu" else Samples(data, None, second[0])


def _kept(item: Any) -> Any:
    """Returns an item with arrays of its own: a data set may fill the same ones again for the next item."""
    if isinstance(item, tuple | list):
        return [*map(_kept, item)]
    if isinstance(item, torch.Tensor):
        return item.clone()
    return item.copy() if isinstance(item, np.ndarray) else item


def _check_memory(key: str, first: list[Any], count: int) -> None:
    """Checks that as many items as a data set says it has would fit into memory, before it is filled with them."""
    parts = [part for item in first for part in (item if isinstance(item, tuple | list) else (item,))]
    needed = count * sum(max(getattr(part, "nbytes", 0), ITEM) for part in parts)
    if needed > (free := available()):
        raise ConfigError(f"{key} has {count} items, which take {needed / 1e9:.0f} GB of memory; {free / 1e9:.0f} GB are free")


def _stacked(key: str, what: str, parts: tuple[Any, ...]) -> Array:
    arrays = [_array(f"{key}: the {what} of item {index}", part) for index, part in enumerate(parts)]
    shape = arrays[0].shape
    if (other := next((index for index, array in enumerate(arrays) if array.shape != shape), None)) is not None:
        raise ConfigError(
            f"{key}: the {what}s cannot be put together: that of item {other} has the shape {arrays[other].shape}, that of"
            f" item 0 {shape}"
        )
    array = np.stack(arrays)
    return array.astype(np.float64) if array.dtype.itemsize > 8 else array


def _array(where: str, part: Any) -> Array:
    """Returns a part of an item as an array of numbers."""
    if getattr(part, "mode", None) == "P":
        raise ConfigError(f"{where} is an image with a palette: convert it, as by convert('RGB')")
    if np.ma.is_masked(part):
        raise ConfigError(f"{where} is an array of which values are masked: fill them")
    try:
        array = np.asarray(part)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{where} is no array: {first_line(error)}") from error
    if array.dtype.kind not in "biuf":
        fault = "beyond 64 bits" if isinstance(part, int) else "not a number, nor an array or a tensor of numbers"
        raise ConfigError(f"{where} is {type(part).__name__}, and {fault}")
    return array
