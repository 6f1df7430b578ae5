"""Where predictions are written: CSV, Parquet or numpy's .npz, row by row, and whole only at the end."""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from runner.checks import known
from runner.datasets.files import needs
from runner.errors import ConfigError, RunError
from runner.nn.inference.model import Signature
from runner.nn.loading.samples import Array
from runner.text import shown
from runner.use.sources import STANDARD
from runner.whole_file import whole_file


class Rows:
    """Predictions of some samples as columns.

    Args:
        signature: of the network.
        outputs: of shape (samples, ...); those that could not be made are NaN.
        names: of the samples, if they have names.
    """

    def __init__(self, signature: Signature, outputs: Array, names: Sequence[str] | None) -> None:
        self.names = names
        self.values = outputs.reshape(len(outputs), -1)
        self.made = ~np.isnan(self.values).any(1)
        self._classes = np.array([shown(name) for name in signature.class_names])
        self.best = np.where(self.made, np.nan_to_num(self.values, nan=-1.0).argmax(1), 0) if len(self._classes) else None

    @property
    def classes(self) -> Array | None:
        """The name of the most probable class of each sample, empty where there is none; None of a network without classes."""
        return None if self.best is None else np.where(self.made, self._classes[self.best], "")

    @property
    def probability(self) -> Array:
        """The probability of that class."""
        assert self.best is not None
        return np.take_along_axis(self.values, self.best[:, None], 1)[:, 0]


def value_names(signature: Signature) -> list[str]:
    """Returns the names of the columns with probabilities, `p(cat)`, or with values."""
    if signature.class_names:
        return [f"p({shown(name)})" for name in signature.class_names]
    names = signature.target_names or [f"value_{number}" for number in range(int(np.prod(signature.output_shape)))]
    return [shown(name) for name in names]


class Writer:
    """Takes predictions, some at a time."""

    def write(self, rows: Rows) -> None:
        """Writes some more."""
        raise NotImplementedError

    def close(self) -> None:
        """Writes what is left; no more follow."""
        raise NotImplementedError


class CsvWriter(Writer):
    """A CSV file: the name of a sample if it has one, the class and its probability, and all probabilities or values."""

    def __init__(self, file: IO[bytes], signature: Signature, named: bool) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        self._writer = csv.writer(self._text, lineterminator="\n")
        answer = ["class", "probability"] if signature.class_names else []
        self._writer.writerow([*(["file"] if named else []), *answer, *value_names(signature)])

    def write(self, rows: Rows) -> None:
        columns: list[Any] = [] if rows.names is None else [rows.names]
        if (classes := rows.classes) is not None:
            columns += [classes.tolist(), _texts(rows.probability)]
        columns += [_texts(column) for column in rows.values.T]
        self._writer.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


def _texts(values: Array) -> list[str]:
    """Returns numbers as the shortest texts that are read as the same numbers again; NaN is an empty cell."""
    return ["" if text == "nan" else text for text in values.astype(str).tolist()]


class ParquetWriter(Writer):
    """A Parquet file with the columns of `CsvWriter`."""

    def __init__(self, file: IO[bytes], signature: Signature, named: bool) -> None:
        with needs("pyarrow", "a .parquet file"):
            import pyarrow
            from pyarrow import parquet
        self._arrow = pyarrow
        number = pyarrow.float64() if signature.output_dtype.itemsize == 8 else pyarrow.float32()
        answer = [("class", pyarrow.string()), ("probability", number)] if signature.class_names else []
        columns = [*([("file", pyarrow.string())] if named else []), *answer]
        self._schema = pyarrow.schema([*columns, *((name, number) for name in value_names(signature))])
        self._writer = parquet.ParquetWriter(file, self._schema)

    def write(self, rows: Rows) -> None:
        columns: list[Any] = [] if rows.names is None else [list(rows.names)]
        if (classes := rows.classes) is not None:
            columns += [self._arrow.array(classes.tolist(), mask=~rows.made), self._number(rows.probability)]
        columns += [self._number(column) for column in rows.values.T]
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))

    def _number(self, values: Array) -> Any:
        return self._arrow.array(np.ascontiguousarray(values), from_pandas=True)

    def close(self) -> None:
        self._writer.close()


class NpzWriter(Writer):
    """A .npz file with the arrays `class` and `probabilities`, or `values`, and `file` if samples have names.

    An array begins with its length, so each is collected in a file of its own.
    """

    def __init__(self, file: IO[bytes], signature: Signature, named: bool) -> None:
        self._file = file
        self._signature = signature
        self._stack = ExitStack()
        self._parts: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, np.dtype[Any]] = {}
        self._count = 0
        self._named: list[str] | None = [] if named else None

    def write(self, rows: Rows) -> None:
        if (classes := rows.classes) is not None:
            width = max(len(shown(name)) for name in self._signature.class_names)
            self._put("class", classes.astype(f"<U{max(1, width)}"))
        self._put("probabilities" if self._signature.class_names else "values", rows.values)
        self._count += len(rows.values)
        if self._named is not None:
            self._named += rows.names or []

    def _put(self, name: str, values: Array) -> None:
        if name not in self._parts:
            self._parts[name] = self._stack.enter_context(TemporaryFile())  # noqa: SIM115 the stack closes it
            self._kinds[name] = values.dtype
        self._parts[name].write(np.ascontiguousarray(values).tobytes())

    def close(self) -> None:
        with self._stack, zipfile.ZipFile(self._file, "w", allowZip64=True) as archive:
            for name, part in self._parts.items():
                tail = self._signature.output_shape if name != "class" else ()
                header = {
                    "descr": np.lib.format.dtype_to_descr(self._kinds[name]),
                    "fortran_order": False,
                    "shape": (self._count, *tail),
                }
                part.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    shutil.copyfileobj(part, member, 1 << 20)
            if self._named is not None:
                with archive.open("file.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(self._named, dtype=np.str_))


WRITERS: dict[str, Any] = {".csv": CsvWriter, ".parquet": ParquetWriter, ".npz": NpzWriter}
"""By the ending of a file's name what writes it."""


def check_output(output: str, endings: Sequence[str] = tuple(WRITERS), option: str = "output=") -> str:
    """Returns the ending of the name of an output; standard output has the first one.

    Args:
        output: the file, or `-`.
        endings: those that are known.
        option: what was typed before it, for messages.

    Raises:
        ConfigError: it is none that can be written, or its folder is not there.
    """
    if output == STANDARD:
        return endings[0]
    path = Path(output)
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{option}{output!r} is of no known format; known: {known(endings)}, or {STANDARD}")
    if path.is_dir():
        raise ConfigError(f"{option}{output!r} is a folder: name a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{option}{output!r} cannot be written: there is no folder {str(path.parent)!r}")
    return path.suffix.lower()


@contextmanager
def written(output: str) -> Iterator[IO[bytes]]:
    """Yields a file to write an output into; it gets its name at the end of the block, in the place of one that had it.

    Raises:
        RunError: it cannot be written.
    """
    if output == STANDARD:
        with os.fdopen(os.dup(1), "wb") as file, _told("standard output"):
            yield file
            file.flush()
        return
    with _told(repr(output)), whole_file(Path(output)) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(f"{name} cannot be written: {error.strerror or error}") from None


@contextmanager
def writer(output: str, signature: Signature, named: bool) -> Iterator[Writer]:
    """Yields what writes predictions.

    Args:
        output: a file, or `-` for CSV on standard output.
        signature: of the network.
        named: whether samples have names.
    """
    make = WRITERS[check_output(output)]
    with written(output) as file:
        made: Writer = make(file, signature, named)
        yield made
        made.close()
