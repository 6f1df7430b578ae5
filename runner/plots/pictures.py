"""What a plotter can show. Pictures are plain data: the process that draws them knows nothing about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Array = Any


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Numbers over the iterations.

    Attributes:
        series: the values of each curve, from the first iteration on; NaN where there is none.
        title: above the picture.
        x, y: what the axes show.
        marked: an iteration that is marked in all curves, counted from 1.
        below: further curves over the same iterations, each with axes of its own.
    """

    series: Mapping[str, Sequence[float]]
    title: str = ""
    x: str = "epoch"
    y: str = ""
    marked: int | None = None
    below: Sequence[Curves] = ()


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A table of counts, colored by each cell's share of its row.

    Attributes:
        values: an array of shape (rows, columns).
        title: above the picture.
        x, y: what the columns and rows are.
        names: of the columns and of the rows, which are the same things. Default: their numbers, from 0.
    """

    values: Array
    names: Sequence[str] = ()
    title: str = ""
    x: str = ""
    y: str = ""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Small images side by side, such as the weights of neurons: blue below zero, red above, each on its own scale.

    Attributes:
        images: an array of shape (images, height, width).
        title: above the picture.
    """

    images: Array
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Things that are compared by numbers, each a point in several panels.

    Attributes:
        names: of the things.
        positions: where each is on the x axis.
        panels: for each panel, by its title, where each thing is on the y axis; NaN if that is not known.
        title: above the picture.
        x, y: what the axes show.
    """

    names: Sequence[str]
    positions: Sequence[float]
    panels: Mapping[str, Sequence[float]]
    title: str = ""
    x: str = ""
    y: str = ""


Picture = Curves | Matrix | Tiles | Points
