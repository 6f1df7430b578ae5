"""Any map-style data set of torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from runner.checks import first_line
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.loading.loader import FullBatchLoader, log
from runner.nn.loading.samples import TRAIN, VALIDATION, Array, Samples
from runner.targets import locate

SLOW = 10.0
"""Seconds from which loading is worth a line in the log."""


class DatasetLoader(FullBatchLoader):
    """Loads all items (sample, label) of map-style data sets into memory; an item without a label is a sample.

    A snapshot names the classes, so a restore takes only those of torch and of modules that it trusts.

    Args:
        workflow: the workflow.
        train, validation: `_target_`, the class's full name, and the arguments of its constructor.
        settings: as in `FullBatchLoader`.
    """

    def __init__(
        self,
        workflow: Workflow,
        *,
        train: Mapping[str, Any],
        validation: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, **settings)
        given = {"train": train} | ({"validation": validation} if validation else {})
        self.datasets = {key: (_class_of(key, value), _arguments(value)) for key, value in given.items()}

    def load_data(self) -> dict[int, Samples]:
        return {
            TRAIN if key == "train" else VALIDATION: _items(f"loader.{key}", cls, arguments)
            for key, (cls, arguments) in self.datasets.items()
        }


def _class_of(key: str, value: Any) -> type:
    name = value.get("_target_") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"loader.{key}={value!r} needs _target_: the full name of a class of data sets")
    return _checked(f"loader.{key}", locate(f"loader.{key}._target_", name, Dataset))


def _checked(key: str, cls: type) -> type:
    if not issubclass(cls, Dataset) or not hasattr(cls, "__len__"):
        raise ConfigError(f"{key}: {cls.__module__}.{cls.__qualname__} is no map-style torch.utils.data.Dataset")
    return cls


def _arguments(value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): argument for name, argument in value.items() if name != "_target_"}


def _items(key: str, cls: type, arguments: dict[str, Any]) -> Samples:
    began = time.monotonic()
    try:
        dataset = _checked(key, cls)(**arguments)
        items = [dataset[index] for index in range(len(dataset))]
    except ConfigError:
        raise
    except Exception as error:  # a class of the user's own may fail in any way
        raise ConfigError(f"{key}: {cls.__qualname__} fails: {type(error).__name__}: {first_line(error)}") from error
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in items]
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


def _stacked(key: str, what: str, parts: tuple[Any, ...]) -> Array:
    try:
        array = np.stack([np.asarray(part) for part in parts])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{key}: the {what}s cannot be put together: {first_line(error)}") from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{key}: a {what} is {type(parts[0]).__name__}, which is no number, array or tensor")
    return array
