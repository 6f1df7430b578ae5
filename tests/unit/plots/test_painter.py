"""Pictures, as they are in the files."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.plots.painter import paint
from runner.plots.pictures import Curves, Matrix, Picture, Points, Tiles


def colours(picture: Picture, folder: Path) -> np.ndarray:
    """Draws a picture and returns its pixels, of shape (height, width, 3)."""
    path = folder / "picture.png"
    paint(picture, path)
    assert [entry.name for entry in folder.iterdir()] == ["picture.png"]
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def share(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Returns the share of pixels that are near a colour."""
    return float((np.abs(pixels - colour).max(2) < 40).mean())


BLUE, ORANGE, WHITE = (31, 119, 180), (255, 127, 14), (255, 255, 255)
"""The first two colours of curves, and that of the paper."""


def test_curves_have_a_colour_each(tmp_path: Path) -> None:
    one = colours(Curves(series={"train": [3, 2, 1]}), tmp_path)
    assert share(one, BLUE) > 0.001 > share(one, ORANGE)
    two = colours(Curves(series={"train": [3, 2, 1], "validation": [4, 3, 3]}, y="error", marked=2), tmp_path)
    assert min(share(two, BLUE), share(two, ORANGE)) > 0.001
    below = Curves(series={"": [1e-1, 1e-2, 1e-3]}, y="learning rate")
    assert colours(Curves(series={"train": [3, 2, 1]}, below=[below, below]), tmp_path).shape[0] > 1.5 * one.shape[0]


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [math.nan, math.nan], [math.nan, 2.0], [math.inf, 1.0], [0.0, 0.0], [1e-9, 1e9], [-1.0, 1.0]],
    ids=str,
)
def test_curves_of_odd_numbers_are_drawn(values: list[float], tmp_path: Path) -> None:
    colours(Curves(series={"x": values}, marked=1), tmp_path)


def test_points_have_a_colour_each_and_a_panel_for_each_comparison(tmp_path: Path) -> None:
    one = colours(Points(names=["gz", "$x^"], positions=[1, 2], panels={"pause": [3, 4]}), tmp_path)
    assert min(share(one, BLUE), share(one, ORANGE)) > 0.0003
    two = Points(names=["gz", "xz"], positions=[1, 1], panels={"pause": [math.nan, 4], "restore": [1, 1e6]}, x="size", y="ms")
    pixels = colours(two, tmp_path)
    assert pixels.shape[1] > 1.5 * one.shape[1]
    assert share(pixels, BLUE) > 0
    colours(Points(names=["x"] * 99, positions=range(99), panels={"pause": [math.nan] * 99}), tmp_path)


@pytest.mark.parametrize("size", [1, 2, 10, 300])
def test_the_diagonal_of_a_confusion_matrix_is_dark(size: int, tmp_path: Path) -> None:
    pixels = colours(Matrix(values=np.eye(size) * 7, title="validation set", x="answer", y="right class"), tmp_path)
    dark = (8, 48, 107)
    if size <= 10:
        assert share(pixels, dark) == pytest.approx(1 / size, rel=0.6)
    reversed_rows = colours(Matrix(values=np.eye(size)[::-1] * 7), tmp_path)
    assert size == 1 or not np.array_equal(pixels, reversed_rows)


def test_an_empty_matrix_has_no_dark_cell(tmp_path: Path) -> None:
    assert share(colours(Matrix(values=np.zeros((3, 5))), tmp_path), (8, 48, 107)) < 0.01


@pytest.mark.parametrize("number", [1, 2, 5, 100])
def test_tiles_are_red_above_zero_and_blue_below_each_on_its_own_scale(number: int, tmp_path: Path) -> None:
    red, blue = (103, 0, 31), (5, 48, 97)
    images = np.full((number, 4, 4), 1e-6)
    images[:, :2] = -1e-6
    pixels = colours(Tiles(images=images, title="weights"), tmp_path)
    assert share(pixels, red) == pytest.approx(share(pixels, blue), rel=0.2)
    assert share(pixels, red) > 0.1
    one_is_large = colours(Tiles(images=images * np.arange(1, number + 1)[:, None, None]), tmp_path)
    assert share(one_is_large, red) > 0.1


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 2000), (1, 2000, 3), (3, 1, 50), (7, 50, 1)])
def test_tiles_of_every_shape_have_a_sensible_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    height, width, _ = colours(Tiles(images=np.zeros(shape)), tmp_path).shape
    assert max(height, width) <= 1000
    assert min(height, width) >= 100


def test_a_picture_that_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unpack"):
        paint(Tiles(images=np.zeros((2, 2))), tmp_path / "pictures" / "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_the_process_that_draws_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from runner.plots import painter, pictures\n"
        f"painter.paint(pictures.Curves(series={{'x': [1, 2]}}), Path({str(tmp_path / 'x.png')!r}))\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "x.png").exists()


def test_classes_have_their_names(tmp_path: Path) -> None:
    """Names take room beside the cells; what looks like markup, mathematics or an escape is a name like any other."""
    eye = np.eye(3)
    numbered = colours(Matrix(values=eye), tmp_path)
    named = colours(Matrix(values=eye, names=["ant", r"$\frac{", "a long name\x1b[2J"]), tmp_path)
    assert named.shape[0] > numbered.shape[0]
    assert named.shape[1] > numbered.shape[1]
    assert np.array_equal(numbered, colours(Matrix(values=eye, names=["too", "few"]), tmp_path))
    assert np.array_equal(numbered, colours(Matrix(values=eye, title=""), tmp_path))
    titled = colours(Matrix(values=eye, title=r"$\frac{: validation set"), tmp_path)
    assert not np.array_equal(numbered, titled)
