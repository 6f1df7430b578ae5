"""Tables: data, labels and targets are columns."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from runner.datasets import tables
from runner.datasets.cell_numbers import is_number, parsed
from runner.datasets.files import some
from runner.datasets.tables import Reference, Table
from runner.datasets.texts import Texts, check_apart
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.loading.labels import LARGEST, known_names
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.normalizers import UNCHANGED, Factor, Normalizer
from runner.nn.loading.samples import TRAIN, VALIDATION, Array, Samples, first_not_finite

log = logging.getLogger(__name__)

INDEX = re.compile(r"|Unnamed: 0(\.\d+)?")
"""Names under which pandas writes the index of a table as a column of a CSV file: one more each time that it reads its own."""

MISSING = frozenset({"NA", "N/A", "n/a", "<NA>", "#N/A", "NULL", "null", "None", "?"})
"""Names that other programs write, or read, for values that are missing."""

BEYOND_EXACT = "whole numbers are exact up to 2^53: leave the column out (loader.columns), or subtract a number from it"

BLOCK_ROWS = 4096

_MISSING = frozenset({"n/a", "na", "nan", "null", "none", "missing", "unknown", "-", "?", "."})
"""What people write where they have no number."""


class TableLoader(FullBatchLoader):
    """Loads columns of tables. The first table says which columns there are; others have them by name, in any order.

    Labels that are text are numbered in alphabetical order of those in the training set.

    Attributes:
        feature_names, target_names, label_name: the columns in use.
        category_names: for each column of categories the texts that it has, in the order of their outputs.

    Args:
        workflow: the workflow.
        data_file, validation_file: the tables.
        header: whether the first line of a CSV file has names. Default: recognized.
        label: the column of the labels.
        targets: the columns of the target values.
        columns: the columns of the data. Default: all others. A single one keeps its shape, several are joined.
        categories: columns of the data whose values are names: each becomes a feature per name, 1 where it is, and 0 elsewhere.
        settings: as in `FullBatchLoader`.
    """

    adjustable = frozenset({"data_file", "validation_file"})
    scorable = FullBatchLoader.scorable | {"header"}
    read_once = True

    data_file: str
    validation_file: str | None
    header: bool | None
    label: Reference | None
    targets: list[Reference]
    columns: list[Reference]
    categories: list[Reference]
    feature_names: list[str]
    target_names: list[str]
    label_name: str | None
    category_names: dict[str, list[str]]

    def __init__(
        self,
        workflow: Workflow,
        *,
        data_file: str,
        validation_file: str | None = None,
        header: bool | None = None,
        label: Reference | None = None,
        targets: Sequence[Reference] | None = None,
        columns: Sequence[Reference] | None = None,
        categories: Sequence[Reference] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, **settings)
        self.data_file = data_file
        self.validation_file = validation_file
        self.header = header
        self.label = label
        self.targets = list(targets or ())
        self.columns = list(columns or ())
        self.categories = list(categories or ())
        self.feature_names = []
        self.target_names = []
        self.label_name = None
        self.category_names = {}

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.begins_: dict[str, int] = {}
        self.target_begins_: dict[str, int] = {}

    @property
    def is_of_one_array(self) -> bool:
        """Whether a sample is a row of a single column, which has several values in each."""
        return len(self.feature_names) == 1 and not self.category_names and self.sample_shape != (1,)

    def default_normalization(self, train: Array) -> str:
        # Columns have units of their own. A range would let one outlier flatten all other values of its column.
        return "standardize" if train.ndim == 2 else super().default_normalization(train)

    def fitted(self, train: Array) -> Normalizer:
        """Returns the normalizer of the columns of numbers; the features of categories stay 0 and 1, and count for no range."""
        if not self.category_names:
            return super().fitted(train)
        numbers = np.ones(train.shape[1], bool)
        for name, texts in self.category_names.items():
            numbers[self.begins_[name] : self.begins_[name] + len(texts)] = False
        factors = super().fitted(train[:, numbers]) if numbers.any() else UNCHANGED
        if not factors:
            raise ConfigError(
                f"loader.normalization={self.normalization!r} is not for tables with loader.categories, which are not numbers"
            )
        scale, centre = (_spread(factor, numbers, neutral) for factor, neutral in zip(factors, UNCHANGED, strict=True))
        return scale, centre

    def load_data(self) -> dict[int, Samples]:
        files = [file for file in (self.data_file, self.validation_file) if file is not None]
        if self.header is not None and not any(file.lower().endswith(tables.CSV_ENDINGS) for file in files):
            raise ConfigError(
                f"loader.header is of {', '.join(tables.CSV_ENDINGS)}, and loader.data_file={self.data_file!r} is none"
            )
        samples = {TRAIN: self._samples("data_file", self.data_file)} if self.needs_training_set else {}
        if self.validation_file is not None:
            samples[VALIDATION] = self._samples("validation_file", self.validation_file)
        return samples

    def _samples(self, key: str, file: str) -> Samples:
        names: list[Reference] = [*self.category_names, *([] if self.label_name is None else [self.label_name])]
        texts = names or [*self.categories, *([] if self.label is None else [self.label])]
        known = [*self.feature_names, *self.answer_names()] or [
            name for name in (self.label, *self.targets, *self.columns, *self.categories) if isinstance(name, str)
        ]
        table = tables.load(f"loader.{key}", file, texts, header=self.header, expected=self.expected(known))
        if not self.feature_names:
            self._choose(table)
        self.check_columns(table.origin, table.names, index=table.index)
        return self.read(table, first=key == "data_file")

    def read(self, table: Table, *, first: bool = False, labeled: bool = True) -> Samples:
        """Returns the samples in a table that has the columns of the first one, or some of its rows.

        Args:
            table: the table.
            first: whether it is the training set, which says what labels there are.
            labeled: whether labels and targets are read, too.

        Raises:
            ConfigError: a cell is not what its column has.
        """
        for name in self.category_names:
            self._check_categories(table, name)
        labels = self._labels(table, self.label_name, first=first) if labeled and self.label_name is not None else None
        targets = None
        if labeled and self.target_names:
            targets, self.target_begins_ = self._joined(table, self.target_names)
        data, self.begins_ = self._joined(table, self.feature_names)
        return Samples(data, labels, targets)

    def _choose(self, table: Table) -> None:
        """Takes the columns from the first table."""
        label = None if self.label is None else table.name("loader.label", self.label)
        targets = [table.name("loader.targets", column) for column in self.targets]
        features = [table.name("loader.columns", column) for column in self.columns]
        if not features:
            features = [name for name in table.names if name != label and name not in targets]
            leading = takewhile(INDEX.fullmatch, table.names)
            index = [*leading, *(name for name in table.names if name in table.index)]
            for name in [name for name in index if name in features]:
                log.warning("%s: the column %r is an index, so it is left out (loader.columns can name it)", table.origin, name)
                features.remove(name)
        if not features:
            raise ConfigError(f"{table.origin} has no columns for the data besides label and targets")
        answers = [] if set(targets) == set(features) else [(target, "a target") for target in targets]  # else an autoencoder
        for answer, what in ((label, "the label"), *answers):
            if answer in features:
                raise ConfigError(f"loader.columns has {answer!r}, which is {what}: the answer cannot be part of the data")
        categories = [table.name("loader.categories", column) for column in self.categories]
        for key, names in (("columns", features), ("targets", targets), ("categories", categories)):
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                raise ConfigError(f"loader.{key} has {repeated[0]!r} twice")
        if others := [name for name in categories if name not in features]:
            raise ConfigError(f"loader.categories: {others[0]!r} is not one of the columns of the data: {some(features)}")
        self.label_name, self.target_names, self.feature_names = label, targets, features
        self.category_names = {name: sorted(table.texts(name).names) for name in categories}
        for name, texts in self.category_names.items():
            check_apart(f"{table.origin}, column {name!r}", (), texts)

    def expected(self, names: list[str]) -> list[str]:
        """Returns the names by which the first line of a CSV file is known to be a header: none where columns have numbers."""
        known = [*names, *self.feature_names, *self.answer_names()]
        return [] if all(name.isdigit() for name in known) else names

    def answer_names(self) -> list[str]:
        """Returns the names of the columns that have what the output should be."""
        return [*self.target_names, *([] if self.label_name is None else [self.label_name])]

    def check_columns(
        self, origin: str, columns: Iterable[str], *, index: frozenset[str] = frozenset(), labeled: bool = True
    ) -> None:
        """Raises a ConfigError if a table lacks columns that the first one had; tells of those that it has besides.

        Args:
            origin: the table, for messages.
            columns: the names of its columns.
            index: those that number or name its rows.
            labeled: whether it has to have those of labels and targets.
        """
        names, answers = list(columns), self.answer_names()
        needed = dict.fromkeys([*self.feature_names, *(answers if labeled else ())])
        missing = [name for name in needed if name not in names]
        extra = [name for name in names if name not in {*needed, *answers} | index and not INDEX.fullmatch(name)]
        besides = f", and has {some(extra)} besides" if extra else ""
        if missing:
            raise ConfigError(f"{origin} lacks {some(missing)} of the columns of the training data{besides}")
        if extra and not self.columns:
            log.warning("%s has columns that the first table has not; they are left out: %s", origin, some(extra))

    def _check_categories(self, table: Table, name: str) -> None:
        texts = table.texts(name)
        _refuse_empty(table, name, texts)
        if unknown := [text for text in texts.names if text not in self.category_names[name]]:
            raise ConfigError(
                f"{table.cell(texts.row_of(unknown[0]), name)}: {unknown[0]!r} is not a category of the training set; known:"
                f" {some(self.category_names[name])}"
            )

    def _labels(self, table: Table, name: str, *, first: bool) -> npt.NDArray[Any]:
        """Returns the labels as numbers: those that they are, or those of their names.

        The training set decides which of both, and which names there are; on resume, the snapshot does.
        """
        column = table.column(name)
        if not self.label_names and not isinstance(column, Texts):
            return _whole_numbers(table, name, column)
        texts = table.texts(name)
        _refuse_empty(table, name, texts)
        if not self.label_names and (numbers := parsed(texts.names)) is not None:
            if first:
                _tell_equal(table, name, texts.names, numbers)
            return _whole_numbers(table, name, numbers[texts.codes])
        fresh = self.fingerprint is None
        if first and (self.label_names or fresh):
            self.label_names = known_names(f"{table.origin}, column {name!r}", self.label_names, texts.names)
        if unknown := [text for text in texts.names if text not in self.label_names]:
            check_apart(f"{table.origin}, column {name!r}", self.label_names, unknown)
            what = f"known: {some(self.label_names)}" if self.label_names else "its labels are whole numbers"
            raise ConfigError(
                f"{table.cell(texts.row_of(unknown[0]), name)}: the label {unknown[0]!r} is not in the training set; {what}"
            )
        return texts.renumbered(self.label_names)

    def _joined(self, table: Table, names: list[str]) -> tuple[Array, dict[str, int]]:
        """Returns columns side by side, and where each begins."""
        parts = {name: self._features(table, name) for name in names}
        widths = [part[0].size for part in parts.values()]
        begins = dict(zip(parts, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
        if len(names) == 1:
            (joined,) = parts.values()
            joined = joined.reshape(len(joined), 1) if joined.ndim == 1 else joined
        else:
            joined = np.empty((len(next(iter(parts.values()))), sum(widths)))
            for begin in range(0, len(joined), BLOCK_ROWS):  # some rows at a time, which stay in the cache
                rows = slice(begin, begin + BLOCK_ROWS)
                for (name, part), width in zip(parts.items(), widths, strict=True):
                    joined[rows, begins[name] : begins[name] + width] = part[rows].reshape(-1, width)
        if (index := first_not_finite(joined)) is not None:
            raise ConfigError(f"{table.cell(index[0], _column_at(begins, index[1]))}: {joined[index]} is not finite")
        return joined, begins

    def _value_name(self, place: tuple[int, ...], targets: bool) -> str:
        return f" in column {_column_at(self.target_begins_ if targets else self.begins_, place[0])!r}"

    def _features(self, table: Table, name: str) -> Array:
        column = table.column(name)
        if name in self.category_names:
            codes = table.texts(name).renumbered(self.category_names[name])
            features = np.zeros((len(codes), len(self.category_names[name])))
            features[np.arange(len(codes)), codes] = 1
            return features
        if isinstance(column, Texts):
            return _numbers(table, name, column, fixed=self.fingerprint is not None)
        if (found := table.first_inexact(name)) is not None:
            row, number = found
            raise ConfigError(f"{table.cell(row, name)}: float64 cannot hold {number}; {BEYOND_EXACT}")
        return column


def _column_at(begins: Mapping[str, int], place: int) -> str:
    """Returns the name of the column that a place in a joined row comes from; of a single one that keeps its shape, its own."""
    return list(begins)[-1] if len(begins) == 1 else max((begin, name) for name, begin in begins.items() if begin <= place)[1]


def _spread(factor: Factor, where: npt.NDArray[np.bool_], neutral: Factor) -> Factor:
    """Returns a factor of some features as one of all: neutral of the others."""
    if not isinstance(factor, torch.Tensor) and factor == neutral:
        return factor
    found = torch.full(where.shape, float(neutral), dtype=torch.float64)
    found[torch.from_numpy(where)] = torch.as_tensor(factor, dtype=torch.float64)
    return found


def _numbers(table: Table, name: str, column: Texts, *, fixed: bool) -> Array:
    """Returns a column of text as numbers.

    Args:
        table: where it is.
        name: the column's.
        column: its texts.
        fixed: whether a network has been trained with the columns, so that nothing of them can change.

    Raises:
        ConfigError: a text is not a number.
    """
    text = column.first_text()
    if text is None and (numbers := parsed(column.names)) is not None:
        return numbers[column.codes]
    assert text is not None
    where = table.cell(column.row_of(text), name)
    fill = f"fill it, or leave out its row{'' if fixed else ' or its column'}"
    if not text:
        raise ConfigError(f"{where}: the cell is empty: {fill}")
    hint = "it was one in the training set" if fixed else "leave the column out, or name it in loader.categories"
    if text.casefold() in _MISSING:
        hint = fill
    if "," in text and is_number(text.replace(",", "")):
        hint = "write numbers with a decimal point, and thousands without a separator"
    raise ConfigError(f"{where}: {text!r} is not a number: {hint}")


def _refuse_empty(table: Table, name: str, column: Texts) -> None:
    """Raises a ConfigError if a cell of names is empty; tells of names that may mean the same."""
    for text in column.names:
        if not text or text.lower() == "nan":
            raise ConfigError(f"{table.cell(column.row_of(text), name)}: the cell is {text or 'empty'}")
        if text in MISSING:
            log.warning("%s: %r is taken for a name, and not for a missing value", table.cell(column.row_of(text), name), text)


def _whole_numbers(table: Table, name: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if labels.ndim != 1:
        raise ConfigError(f"{table.origin}: the column {name!r} has the shape {labels.shape}, and a label is one number")
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.int64)
    if (wrong := numbers != labels).any():
        row = int(wrong.argmax())
        raise ConfigError(
            f"{table.cell(row, name)}: the label {labels[row]} is not a whole number: a label is one, or a name; values to be"
            " predicted are loader.targets"
        )
    if (wrong := (numbers < 0) | (numbers > LARGEST)).any():
        row = int(wrong.argmax())
        raise ConfigError(f"{table.cell(row, name)}: the label {numbers[row]} is not a whole number from 0 to {LARGEST}")
    return numbers


def _tell_equal(table: Table, name: str, texts: list[str], numbers: npt.NDArray[Any]) -> None:
    """Says which labels are written differently and yet the same number: `01` may mean something else than `1`."""
    seen: dict[Any, str] = {}
    for text, number in zip(texts, numbers.tolist(), strict=True):
        other = seen.setdefault(number, text)
        if other != text and (text + other).isdigit():  # `1` and `1.0` are no ids
            log.warning("%s: the labels %r and %r of the column %r are the same number", table.origin, other, text, name)
            return
