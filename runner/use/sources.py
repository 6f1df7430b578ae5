"""New data in the form of the training data, some samples at a time, whatever they are in."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runner.datasets import array_files, image_files
from runner.datasets.files import seen_from
from runner.datasets.table_blocks import TableBlock, TableBlocks
from runner.datasets.tables import CSV_ENDINGS, Table
from runner.datasets.texts import check_apart
from runner.errors import ConfigError
from runner.nn.core.parts import told as parts_told
from runner.nn.loading.image_loader import ImagesLoader
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import Array, Samples
from runner.nn.loading.table_loader import TableLoader
from runner.text import shown

STANDARD = "-"
"""What standard input and output are called."""
BLOCK_BYTES = 64 << 20
"""Bytes of samples that are in memory at once, about."""
MOST_SAMPLES = 8192
UNKNOWN = -1
"""The number of a class which the training set has not."""
TABLES = (*CSV_ENDINGS, ".parquet")
LABEL = "label"
"""A column that is left out beside those of a sample's values."""


@dataclass(frozen=True)
class Block:
    """Some of the data.

    Attributes:
        samples: those that could be read.
        places: where each of them stands among all.
        count: how many there are, those that could not be read included.
        names: a name for each, if they have names.
        wrong: what is wrong with those that could not be read.
        done: the share of the data that has been read, about.
    """

    samples: Samples
    places: Array
    count: int
    names: Sequence[str] | None = None
    wrong: list[str] = field(default_factory=list)
    done: float = 1.0


@dataclass(frozen=True)
class Source:
    """Data, ready to be read.

    Attributes:
        origin: the key and what it names, for messages.
        named: whether samples have names, such as those of files.
        blocks: begins to read; the iterator raises a ConfigError where it cannot go on.
    """

    origin: str
    named: bool
    blocks: Callable[[], Iterator[Block]]


@contextmanager
def opened(data: str, loader: FullBatchLoader, *, labeled: bool = False) -> Iterator[Source]:
    """Yields data as a source.

    Args:
        data: a file or a folder, or `-` for CSV on standard input.
        loader: what the training data were loaded with; it need not be initialized.
        labeled: whether labels or targets are needed, too.

    Raises:
        ConfigError: the data are not there, or are nothing that this network takes.
    """
    origin, path = f"data={data!r}", Path(data)
    if data == STANDARD:
        # What a CSV file is like is found out before it is read, so it has to be seen twice.
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
            yield _source(origin, Path(file.name), loader, labeled)
        return
    if not path.exists():
        raise ConfigError(f"{origin} is neither a file nor a folder{seen_from(path)}")
    yield _source(origin, path, loader, labeled)


def _source(origin: str, path: Path, loader: FullBatchLoader, labeled: bool) -> Source:
    if isinstance(loader, TableLoader) and not _is_of_values(path, loader):
        return _table(origin, path, loader, labeled)
    if (path.is_dir() and not array_files.idx_files(path)) or path.suffix.lower() in image_files.ENDINGS:
        return _images(origin, path, loader, labeled)
    if path.name.lower().endswith(TABLES):
        if labeled:
            raise ConfigError(f"{origin} is a table, and the network was not trained on one: its labels are not known by name")
        return _values(origin, path, loader)
    if loader.parts and path.suffix.lower() == ".npz":
        return _parts(origin, path, loader, labeled)
    return _arrays(origin, loader, *array_files.load(origin, path, labeled))


def _is_of_values(path: Path, loader: TableLoader) -> bool:
    """Whether a file has the values of samples without the columns of the table that the network was trained on."""
    if array_files.sample_arrays(path) - {*loader.feature_names}:
        return True
    return loader.is_of_one_array and (path.name.lower().endswith(TABLES) or array_files.is_plain(path))


def _table(origin: str, path: Path, loader: TableLoader, labeled: bool) -> Source:
    blocks = TableBlocks(origin, path, loader.header, loader.expected(loader.feature_names))
    answers = loader.answer_names() if labeled else []
    given = _by_position(blocks, loader.feature_names, answers)
    loader.check_columns(origin, given.values(), labeled=labeled)
    wanted = {*loader.feature_names, *answers}
    texts = [name for name, meant in given.items() if meant in {*loader.category_names, loader.label_name}]

    def read(table: Table) -> Samples:
        columns = {given[name]: column for name, column in table.columns.items()}
        return loader.read(Table(table.origin, columns, table.row_name), labeled=labeled)

    def found() -> Iterator[Block]:
        for block in blocks.read([name for name, meant in given.items() if meant in wanted], texts):
            yield _good_rows(block, read, loader.sample_shape)

    return Source(origin, False, found)


def _by_position(blocks: TableBlocks, features: list[str], answers: list[str]) -> dict[str, str]:
    """Returns for each column of a table which one of the training data it is: of one without names, by its place."""
    if blocks.headless and len(blocks.names) == len(features) and not answers:
        return dict(zip(blocks.names, features, strict=True))
    return {name: name for name in blocks.names}


def _values(origin: str, path: Path, loader: FullBatchLoader) -> Source:
    """Returns a table of which each row has the values of a sample, one after the other."""
    blocks, size = TableBlocks(origin, path), int(np.prod(loader.sample_shape))
    named = bool(loader.feature_names) and set(loader.feature_names) <= set(blocks.names)
    names = loader.feature_names if named else blocks.names
    names = [name for name in names if name != LABEL]
    if len(names) != size:
        raise ConfigError(f"{origin} has {len(names)} columns, and a sample has {size} values: {loader.sample_shape}")

    def read(table: Table) -> Samples:
        return Samples(_as_in_training(_numbers(table, names), loader.data_dtype).reshape(-1, *loader.sample_shape))

    def found() -> Iterator[Block]:
        for block in blocks.read(names, ()):
            yield _good_rows(block, read, loader.sample_shape)

    return Source(origin, False, found)


def _as_in_training(values: Array, dtype: str | None) -> Array:
    """Returns numbers in the type of the training data if that changes none of them: bytes are normalized in another way."""
    if dtype not in ("uint8", "int8", "int16", "int32", "int64"):
        return values
    with np.errstate(invalid="ignore"):
        whole = values.astype(dtype)
    return whole if np.array_equal(whole, values) else values


def _numbers(table: Table, names: list[str]) -> Array:
    """Returns columns of numbers side by side."""
    for name in names:
        column = table.columns[name]
        wrong = ~np.isfinite(column) if isinstance(column, np.ndarray) else np.ones(table.rows, bool)
        if wrong.any():
            row = int(wrong.argmax())
            text = column[row] if isinstance(column, np.ndarray) else column.names[column.codes[row]]
            raise ConfigError(f"{table.cell(row, name)}: {str(text)!r} is not a finite number")
    return np.column_stack([np.asarray(table.columns[name], np.float64) for name in names])


def _good_rows(block: TableBlock, read: Callable[[Table], Samples], shape: tuple[int, ...]) -> Block:
    """Returns the samples in a block; rows that cannot be read are told of, one by one."""
    wrong = {at: f"{block.table.origin}, {text}" for at, text in block.damaged.items()}
    readable = np.setdiff1d(np.arange(block.rows), list(wrong))
    parts: list[tuple[int, Samples]] = []
    pending = [(0, block.table.rows)]
    while pending:
        begin, end = pending.pop()
        if begin == end:
            continue
        try:
            samples = read(block.table.taken(begin, end))
        except ConfigError as error:
            if end - begin == 1:
                wrong[int(readable[begin])] = str(error)
            else:  # the halves, of which the first one comes first
                pending += [((begin + end) // 2, end), (begin, (begin + end) // 2)]
            continue
        if samples.data.shape[1:] != shape:
            raise ConfigError(
                f"{block.table.origin} has samples of shape {samples.data.shape[1:]}, and the network takes {shape}"
            )
        parts.append((begin, samples))
    kept = [np.arange(begin, begin + len(samples.data)) for begin, samples in parts]
    places = readable[np.concatenate(kept)] if kept else readable[:0]
    return Block(
        _joined([part for _, part in parts], shape), places, block.rows, None, [wrong[at] for at in sorted(wrong)], block.done
    )


def _joined(parts: list[Samples], shape: tuple[int, ...]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Samples(np.empty((0, *shape)))
    data, labels, targets = ([getattr(part, name) for part in parts] for name in Samples._fields)
    return Samples(
        np.concatenate(data),
        None if labels[0] is None else np.concatenate(labels),
        None if targets[0] is None else np.concatenate(targets),
    )


def _images(origin: str, path: Path, loader: FullBatchLoader, labeled: bool) -> Source:
    shape = loader.sample_shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ConfigError(f"{origin} is for images, and the network takes samples of shape {shape}")
    if loader.data_dtype not in (None, "uint8") and not isinstance(loader, ImagesLoader):
        raise ConfigError(
            f"{origin} has pixels from 0 to 255, and the network was trained on {loader.data_dtype}: give an array"
        )
    grayscale = len(shape) == 2 or shape[0] == 1
    size = loader.image_size if isinstance(loader, ImagesLoader) else None
    files, labels = _labeled_images(origin, path, loader) if labeled else (image_files.below(origin, path), None)
    step = _samples_at_once(shape, 1)
    top = path if path.is_dir() else path.parent

    def found() -> Iterator[Block]:
        read = image_files.reader(grayscale, size)
        for begin in range(0, len(files), step):
            paths = files[begin : begin + step]
            good, places, wrong = [], [], []
            for place, file in enumerate(paths):
                if labels is not None and labels[begin + place] == UNKNOWN:
                    wrong.append(f"{file!r} is of a class which the training set has not")
                    continue
                try:
                    good.append(_fitting(file, read(file), shape, loader.data_dtype))
                    places.append(place)
                except ConfigError as error:
                    wrong.append(str(error))
            data = np.stack(good) if good else np.empty((0, *shape), np.uint8)
            at = np.array(places, np.int64)
            samples = Samples(data, None if labels is None else labels[begin : begin + step][at])
            names = [shown(Path(file).relative_to(top)) for file in paths]
            yield Block(samples, at, len(paths), names, wrong, (begin + len(paths)) / len(files))

    return Source(origin, True, found)


def _labeled_images(origin: str, path: Path, loader: FullBatchLoader) -> tuple[list[str], Array]:
    """Returns the images below the folders of classes, and the number of the class of each, UNKNOWN of others."""
    if not path.is_dir():
        raise ConfigError(f"{origin} is a file: images with labels are in a folder for each class")
    by_class = image_files.find("data", str(path))
    known = loader.label_names or [str(number) for number in range(loader.label_count)]
    check_apart(origin, known, sorted(set(by_class) - set(known)))
    labels = {name: number for number, name in enumerate(known)}
    names = sorted(by_class, key=lambda name: labels.get(name, len(known)))
    files = [file for name in names for file in by_class[name]]
    return files, np.repeat([labels.get(name, UNKNOWN) for name in names], [len(by_class[name]) for name in names])


def _fitting(file: str, pixels: Array, shape: tuple[int, ...], dtype: str | None) -> Array:
    if pixels.dtype.name != dtype and dtype is not None:
        raise ConfigError(f"{file!r} has values of {pixels.dtype}, and the images of the training set {dtype}: convert it")
    if pixels.shape[-2:] != shape[-2:]:
        (height, width), (wanted_height, wanted_width) = pixels.shape[-2:], shape[-2:]
        raise ConfigError(f"{file!r} has {height} x {width} pixels, and the network takes {wanted_height} x {wanted_width}")
    return pixels.reshape(shape)


def _parts(origin: str, path: Path, loader: FullBatchLoader, labeled: bool) -> Source:
    """Returns samples of several parts, each in an array of its own: named as in the dict, or as `savez` numbers them."""
    names = [name if isinstance(name, str) else f"arr_{name}" for name, _, _ in loader.parts]
    arrays, labels = array_files.load_parts(origin, path, names, labeled)
    for (name, shape, _), array in zip(loader.parts, arrays, strict=True):
        if array.shape[1:] != shape or len(array) != len(arrays[0]):
            raise ConfigError(
                f"{origin}: the part {name} is of shape {array.shape}, and {(len(arrays[0]), *shape)} is needed; the network"
                f" takes {parts_told(loader.parts)}"
            )
    return _arrays(origin, loader, np.concatenate([array.reshape(len(array), -1) for array in arrays], 1), labels)


def _arrays(origin: str, loader: FullBatchLoader, data: Array, labels: Array | None) -> Source:
    shape = loader.sample_shape
    if data.shape[1:] != shape:
        if data[:0].size or int(np.prod(data.shape[1:])) != int(np.prod(shape)) or data.ndim != 2:
            raise ConfigError(f"{origin} has samples of shape {data.shape[1:]}, and the network takes {shape}")
        data = data.reshape(-1, *shape)
    if labels is not None and len(labels) != len(data):
        raise ConfigError(f"{origin} has {len(data)} samples, and {len(labels)} labels for them")
    step = _samples_at_once(shape, data.itemsize)

    def found() -> Iterator[Block]:
        for begin in range(0, len(data), step):
            part = np.asarray(data[begin : begin + step])
            finite = np.isfinite(part.reshape(len(part), -1)).all(1) if part.dtype.kind == "f" else np.ones(len(part), bool)
            at = np.flatnonzero(finite)
            wrong = [
                f"{origin}, sample {begin + index} (counted from 0) has a value that is not finite"
                for index in np.flatnonzero(~finite)
            ]
            own = None if labels is None else np.asarray(labels[begin : begin + step])[at]
            yield Block(Samples(part[at], own), at, len(part), None, wrong, (begin + len(part)) / len(data))

    return Source(origin, False, found)


def _samples_at_once(shape: tuple[int, ...], itemsize: int) -> int:
    return max(1, min(MOST_SAMPLES, BLOCK_BYTES // max(1, int(np.prod(shape)) * max(4, itemsize))))
