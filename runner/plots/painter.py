"""The drawing process: it reads pictures, and answers those that come together with a line: empty, or what went wrong.

They are drawn at once, each in a copy of the process: at the end of a run somebody waits for them.
"""

from __future__ import annotations

import gc
import math
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.plots.pictures import Curves, Matrix, Picture, Points, Tiles
from runner.text import as_name, shown
from runner.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NICENESS = 10
DPI = 110
EDGE = 0.15
"""Inches beside axes where there is no text."""
GAP = 0.25
"""Inches between axes one below the other, where a power of ten may stand."""
NAMED = 60
"""The most rows for which they have names."""
LONGEST = 20
"""The most characters of a name."""
READABLE = 20
"""The most rows or columns for which a matrix has numbers in its cells."""


def main() -> None:
    """Draws until the input ends: pictures come with their folder, by their names."""
    os.nice(NICENESS)
    pictures, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # anything else that is printed must not look like an answer
    _get_ready()
    while True:
        try:
            folder, found = pickle.load(pictures)
        except (EOFError, pickle.UnpicklingError):
            return  # the run has ended, or was killed
        print(_drawn(Path(folder), found), file=answers, flush=True)


def _drawn(folder: Path, pictures: Mapping[str, Picture]) -> str:
    """Draws pictures; returns what went wrong with one of them, or nothing."""
    *others, last = [(picture, folder / f"{as_name(name.replace(os.sep, '_'))}.png") for name, picture in pictures.items()]
    copies = [_begun(*other) for other in others]
    problem = _painted(*last)
    return next(filter(None, [_ended(*copy) for copy in copies]), problem)


def _begun(picture: Picture, path: Path) -> tuple[int, int]:
    """Draws a picture in a copy of this process; returns its id, and where it says what went wrong."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writing, _painted(picture, path).encode())
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def _ended(child: int, reading: int) -> str:
    """Waits for a copy; returns what went wrong."""
    with open(reading) as answer:
        problem = answer.read()
    _, status = os.waitpid(child, 0)
    return problem or (f"a process that draws has ended with status {status}" if status else "")


def _get_ready() -> None:
    """Imports matplotlib before there is a picture: this process may have been started ahead."""
    gc.disable()
    with suppress(Exception):  # which is told of the first picture
        from matplotlib.backends import backend_agg  # noqa: F401
        from matplotlib.figure import Figure  # noqa: F401
    gc.freeze()  # to look for garbage among what is imported takes a fifth of the time of a picture
    gc.enable()


def _painted(picture: Picture, path: Path) -> str:
    try:
        paint(picture, path)
    except Exception as error:
        return " ".join(f"{path.name}: {type(error).__name__}: {error}".split())
    return ""


def paint(picture: Picture, path: Path) -> None:
    """Draws a picture into a PNG file, which appears complete or not at all.

    Raises:
        OSError: the file cannot be written.
        ImportError: matplotlib is not installed, or broken.
    """
    from matplotlib.figure import Figure

    figure = Figure()
    PAINTERS[type(picture)](figure, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})  # a third of the time, a tenth larger


def _frame(figure: Figure, left: float, bottom: float, title: str, rows: int = 1) -> None:
    """Leaves so many inches for texts around the axes, and room for the title: to measure them takes as long as all else."""
    width, height = figure.get_size_inches()
    top, bottom, gap = 1 - (0.4 if title else GAP) / height, bottom / height, GAP / height
    apart = gap / ((top - bottom - (rows - 1) * gap) / rows)
    figure.subplots_adjust(left=left / width, right=1 - EDGE / width, bottom=bottom, top=top, hspace=apart)
    _entitle(figure, title, y=1 - 0.1 / height)


def _entitle(figure: Figure, title: str, **place: float) -> None:
    if title:
        figure.suptitle(shown(title), fontsize=11, parse_math=False, **place)


def _curves(figure: Figure, picture: Curves) -> None:
    parts = [picture, *picture.below]
    figure.set_size_inches(7, 4.2 + 2.4 * len(picture.below))
    _frame(figure, left=0.95, bottom=0.55, title=picture.title, rows=len(parts))
    heights = [2] + [1] * len(picture.below)
    rows = figure.subplots(len(parts), squeeze=False, height_ratios=heights, sharex=True).flat
    for axes, part in zip(rows, parts, strict=True):
        _draw_curves(axes, part)
    axes.set_xlabel(picture.x)


def _draw_curves(axes: Axes, picture: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, (name, values) in enumerate(picture.series.items()):
        iterations = range(1, len(values) + 1)
        style: dict[str, Any] = {"color": f"C{number}", "marker": "." if len(values) < READABLE else None}
        label = shown(name)
        if picture.marked is not None and picture.marked <= len(values):
            value = values[picture.marked - 1]
            axes.plot(picture.marked, value, "o", color=f"C{number}")
            label = f"{shown(name)}: {value:.4g} ({picture.x} {picture.marked})".removeprefix(": ")
        axes.plot(iterations, values, label=label, **style)
    axes.set_ylabel(picture.y)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _set_scale(axes, picture.series.values())
    axes.grid(alpha=0.3, which="both")
    if len(picture.series) > 1 or "" not in picture.series:
        axes.legend()


def _set_scale(axes: Axes, series: Any) -> None:
    """Makes the scale logarithmic if all numbers are positive and differ by more than a factor of 10."""
    from matplotlib.ticker import LogFormatter

    numbers = [value for values in series for value in values if math.isfinite(value)]
    if numbers and min(numbers) > 0 and max(numbers) > 10 * min(numbers):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(LogFormatter())


def _matrix(figure: Figure, picture: Matrix) -> None:
    values = np.asarray(picture.values)
    rows, columns = values.shape
    names = [_short(shown(name)) for name in picture.names] if len(picture.names) == rows == columns <= NAMED else []
    size = 9 if rows <= READABLE else 6
    room = size / 110 * max(map(len, names), default=4)
    is_long = len(names) > 0 and max(map(len, names)) > 3
    left, bottom = 0.5 + room, 0.5 + (room if is_long else 0.1)
    figure.set_size_inches(_inches(columns) + left + EDGE, _inches(rows) + bottom + 0.4)
    _frame(figure, left=left, bottom=bottom, title=picture.title)
    axes = figure.subplots()
    shares = values / np.maximum(values.sum(1, keepdims=True), 1)
    # The diagonal of a good confusion matrix holds nearly all: a root makes the rest visible.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel=picture.x, ylabel=picture.y)
    if names:
        axes.set_xticks(range(columns), names, rotation=90 if is_long else 0, fontsize=size, parse_math=False)
        axes.set_yticks(range(rows), names, fontsize=size, parse_math=False)
    elif max(rows, columns) <= READABLE:
        axes.set(xticks=range(columns), yticks=range(rows))
    if max(rows, columns) <= READABLE:
        for (row, column), value in np.ndenumerate(values):
            if value:
                color = "white" if shares[row, column] > 0.3 else "black"
                axes.text(column, row, f"{value:g}", ha="center", va="center", color=color, fontsize=8)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."


def _inches(cells: int) -> float:
    return min(max(0.45 * cells, 2.5), 9)


def _tiles(figure: Figure, picture: Tiles) -> None:
    images = np.asarray(picture.images, float)
    number, height, width = images.shape
    columns = min(number, math.ceil(math.sqrt(number * height / width)))
    rows = math.ceil(number / columns)
    # One image of all, each scaled by itself and with a gap around it: separate axes would take a hundred times as long.
    scales = np.abs(images).max((1, 2), keepdims=True)
    cells = np.full((rows * columns, height + 1, width + 1), np.nan)
    cells[:number, :height, :width] = images / np.where(scales > 0, scales, 1)
    mosaic = cells.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2).reshape(rows * (height + 1), -1)[:-1, :-1]
    inches = 6 / max(mosaic.shape)
    figure.set_size_inches(max(mosaic.shape[1] * inches, 2.5), max(mosaic.shape[0] * inches, 1) + 0.5)
    _frame(figure, left=EDGE, bottom=EDGE, title=picture.title)
    axes = figure.subplots()
    axes.imshow(mosaic, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _points(figure: Figure, picture: Points) -> None:
    figure.set_layout_engine("constrained")
    _entitle(figure, picture.title)
    figure.set_size_inches(max(3.6 * len(picture.panels), 4.5), 3.8)
    panels = figure.subplots(1, len(picture.panels), squeeze=False).flat
    for axes, (title, values) in zip(panels, picture.panels.items(), strict=True):
        axes.set_title(shown(title), fontsize=10, parse_math=False)
        axes.set(xlabel=picture.x, ylabel=picture.y)
        axes.margins(0.18)
        _draw_points(axes, picture, values)
        _set_scale(axes, [values])
        axes.grid(alpha=0.3, which="both")


def _draw_points(axes: Axes, picture: Points, values: Sequence[float]) -> None:
    """Draws each point, with its name above and below it in turn, so that neighbors do not cover each other."""
    for place, at in enumerate(sorted(range(len(values)), key=lambda at: picture.positions[at])):
        point, color = (picture.positions[at], values[at]), f"C{at % 10}"
        axes.plot(*point, "o", color=color)
        if len(values) <= READABLE and math.isfinite(values[at]):
            side, alignment = ((0, 7), "bottom") if place % 2 else ((0, -7), "top")
            text = axes.annotate(_short(shown(picture.names[at])), point, side, textcoords="offset points", color=color)
            text.set(ha="center", va=alignment, fontsize=8, parse_math=False)


PAINTERS: dict[type, Callable[[Any, Any], None]] = {Curves: _curves, Matrix: _matrix, Tiles: _tiles, Points: _points}
"""How each kind of picture is drawn into a figure of matplotlib."""
