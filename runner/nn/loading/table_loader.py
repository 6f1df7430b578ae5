"""Tables: data, labels and targets are columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.checks import known
from runner.datasets import tables
from runner.datasets.tables import Column, Table
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples

Reference = str | int
"""A column, by its name or its number from 0."""


class TableLoader(FullBatchLoader):
    """Loads columns of tables.

    Labels that are text are numbered in alphabetical order of those in the training set.

    Args:
        workflow: the workflow.
        data_file, validation_file: the tables.
        label: the column of the labels.
        targets: the columns of the target values.
        columns: the columns of the data; all others unless given. A single one keeps its shape, several are joined.
        settings: as in `FullBatchLoader`.
    """

    adjustable = frozenset({"data_file", "validation_file"})

    def __init__(
        self,
        workflow: Workflow,
        *,
        data_file: str,
        validation_file: str | None = None,
        label: Reference | None = None,
        targets: Sequence[Reference] | None = None,
        columns: Sequence[Reference] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, **settings)
        self.data_file = data_file
        self.validation_file = validation_file
        self.label = label
        self.label_names: list[str] = []
        self.targets = targets
        self.columns = columns

    def load_data(self) -> dict[int, Samples]:
        samples = {TRAIN: self._samples("data_file", self.data_file)}
        if self.validation_file is not None:
            samples[VALIDATION] = self._samples("validation_file", self.validation_file)
        return samples

    def _samples(self, key: str, file: str) -> Samples:
        table = tables.load(f"loader.{key}", file)
        targets = [self._name(table, "targets", column) for column in self.targets or ()]
        return Samples(
            self._joined(table, self._data_columns(table)),
            None if self.label is None else self._labels(key, table[self._name(table, "label", self.label)]),
            self._joined(table, targets) if targets else None,
        )

    def _labels(self, key: str, labels: Column) -> Column:
        """Returns the labels as numbers; the training set, which comes first, says which names there are."""
        if labels.dtype.kind not in "US":
            return self._whole(labels)
        if key == "data_file":
            self.label_names = np.unique(labels).tolist()
        numbers = {name: number for number, name in enumerate(self.label_names)}
        if unknown := sorted(set(labels.tolist()) - numbers.keys()):
            raise ConfigError(
                f"loader.{key} has the label {unknown[0]!r}, which the training set has not; known: {known(numbers)}"
            )
        return np.array([numbers[name] for name in labels.tolist()])

    def _data_columns(self, table: Table) -> list[str]:
        if self.columns:
            return [self._name(table, "columns", column) for column in self.columns]
        taken = [self._name(table, "targets", column) for column in self.targets or ()]
        if self.label is not None:
            taken.append(self._name(table, "label", self.label))
        return [name for name in table if name not in taken]

    @staticmethod
    def _name(table: Table, key: str, column: Reference) -> str:
        names = list(table)
        if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(names):
            return names[column]
        if not isinstance(column, str) or column not in table:
            raise ConfigError(f"loader.{key}: {column!r} is not a column; known: {known(names)}, or 0 to {len(names) - 1}")
        return column

    @staticmethod
    def _joined(table: Table, names: list[str]) -> Column:
        for name in names:
            column = table[name]
            if column.dtype.kind not in "biuf":
                raise ConfigError(
                    f"the column {name!r} has {_first_text(column)!r}, which is no number: leave it out of the data"
                )
            if not np.isfinite(column).all():
                raise ConfigError(f"the column {name!r} has values that are not finite")
        if not names:
            raise ConfigError("the table has no columns for the data besides label and targets")
        if len(names) == 1 and table[names[0]].ndim > 1:
            return table[names[0]]
        return np.concatenate([table[name].reshape(len(table[name]), -1) for name in names], axis=1)

    def _whole(self, labels: Column) -> Column:
        numeric = labels.ndim == 1 and labels.dtype.kind in "biuf" and bool(np.isfinite(labels).all())
        if not numeric or not np.array_equal(whole := labels.astype(np.int64), labels):
            raise ConfigError(f"loader.label={self.label!r} is a column with other values than whole numbers or names")
        return whole


def _first_text(column: Column) -> str:
    """Returns the value that made a column one of text."""
    for value in column.ravel().tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            return str(value)
    return str(column.dtype)
