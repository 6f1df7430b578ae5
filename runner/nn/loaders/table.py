"""Tables: data, labels and targets are columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.datasets import tables
from runner.datasets.tables import Column, Table
from runner.errors import ConfigError, known
from runner.graph import Workflow
from runner.nn.loader import FullBatchLoader
from runner.nn.samples import TRAIN, VALIDATION, Samples

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
        self.files = {"data_file": data_file} | ({"validation_file": validation_file} if validation_file else {})
        self.label = label
        self.targets = targets
        self.columns = columns

    def load_data(self) -> dict[int, Samples]:
        loaded = {key: tables.load(f"loader.{key}", file) for key, file in self.files.items()}
        names: dict[str, int] | None = None
        samples: dict[int, Samples] = {}
        for key, table in loaded.items():
            labels = None if self.label is None else table[self._name(table, "label", self.label)]
            if labels is not None and labels.dtype.kind in "US":
                if names is None:
                    names = {name: number for number, name in enumerate(np.unique(labels).tolist())}
                labels = self._numbered(labels, names, key)
            elif labels is not None:
                labels = self._whole(labels)
            samples[TRAIN if key == "data_file" else VALIDATION] = Samples(
                self._joined(table, self._data_columns(table)),
                labels,
                self._joined(table, [self._name(table, "targets", column) for column in self.targets])
                if self.targets
                else None,
            )
        if VALIDATION in samples:
            shapes = [samples[sample_class].data.shape[1:] for sample_class in (TRAIN, VALIDATION)]
            if shapes[0] != shapes[1]:
                raise ConfigError(f"loader.validation_file has samples of shape {shapes[1]}, and loader.data_file {shapes[0]}")
        return samples

    def _data_columns(self, table: Table) -> list[str]:
        if self.columns:
            return [self._name(table, "columns", column) for column in self.columns]
        others = [*(self.targets or ()), *(() if self.label is None else (self.label,))]
        taken = {self._name(table, "label or loader.targets", column) for column in others}
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

    @staticmethod
    def _numbered(labels: Column, names: dict[str, int], key: str) -> Column:
        if unknown := sorted(set(labels.tolist()) - names.keys()):
            raise ConfigError(
                f"loader.{key} has the label {unknown[0]!r}, which the training set has not; known: {known(names)}"
            )
        return np.array([names[label] for label in labels.tolist()])

    def _whole(self, labels: Column) -> Column:
        whole = labels.astype(np.int64)
        if labels.ndim != 1 or not np.array_equal(whole, labels):
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
