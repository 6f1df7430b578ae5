import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.datasets import image_files
from runner.errors import ConfigError
from tests import data

KEY, CLASSES = "loader.data_dir", ["cat", "dog"]

RANDOM = data.numbers()
BYTES = RANDOM.integers(256, size=(6, 5, 4)).astype(np.uint8)
DEEP = RANDOM.integers(65_536, size=(6, 5)).astype(np.uint16)
FLOATS = RANDOM.normal(size=(6, 5)).astype(np.float32)


def rgb(array: np.ndarray) -> np.ndarray:
    """Returns shades of grey as three planes."""
    return np.broadcast_to(array, (3, *array.shape))


def planes(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 0, 1)


def on_white(array: np.ndarray) -> np.ndarray:
    """Returns colours with alpha on a white background, in shares of 255."""
    colours, alpha = array[..., :-1].astype(float), array[..., -1:] / 255.0
    return colours * alpha + 255 * (1 - alpha)


def palette() -> Image.Image:
    image = Image.fromarray(BYTES[..., 0] % 4, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    return image


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)[BYTES[..., 0] % 4]
MASK = BYTES[..., 0] > 127
ORIENTED = {
    1: lambda array: array,
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.transpose(1, 0, 2),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].transpose(1, 0, 2),
    8: lambda array: np.rot90(array),
}
"""For each orientation of EXIF what brings the stored pixels upright."""


def oriented(orientation: int) -> tuple[Image.Image, dict[str, object]]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(BYTES[..., :3]), {"exif": exif}


KINDS: dict[str, tuple[str, Callable[[], Image.Image], dict[str, object], np.ndarray, float]] = {
    "RGB": (".png", lambda: Image.fromarray(BYTES[..., :3]), {}, planes(BYTES[..., :3]), 0),
    "BMP": (".bmp", lambda: Image.fromarray(BYTES[..., :3]), {}, planes(BYTES[..., :3]), 0),
    "PPM": (".ppm", lambda: Image.fromarray(BYTES[..., :3]), {}, planes(BYTES[..., :3]), 0),
    "WebP": (".webp", lambda: Image.fromarray(BYTES[..., :3]), {"lossless": True}, planes(BYTES[..., :3]), 0),
    "TIFF": (".TIF", lambda: Image.fromarray(BYTES[..., :3]), {}, planes(BYTES[..., :3]), 0),
    "compressed TIFF": (
        ".tiff",
        lambda: Image.fromarray(BYTES[..., :3]),
        {"compression": "tiff_lzw"},
        planes(BYTES[..., :3]),
        0,
    ),
    "grey": (".png", lambda: Image.fromarray(BYTES[..., 0]), {}, rgb(BYTES[..., 0]), 0),
    "PGM": (".pgm", lambda: Image.fromarray(BYTES[..., 0]), {}, rgb(BYTES[..., 0]), 0),
    "1 bit": (".png", lambda: Image.fromarray(MASK), {}, rgb(MASK * np.uint8(255)), 0),
    "1 bit TIFF": (".tif", lambda: Image.fromarray(MASK), {}, rgb(MASK * np.uint8(255)), 0),
    "palette": (".png", palette, {}, planes(PALETTE), 0),
    "GIF": (".gif", palette, {}, planes(PALETTE), 0),
    "palette with a transparent colour": (
        ".png",
        palette,
        {"transparency": 1},
        planes(np.where(BYTES[..., :1] % 4 == 1, np.uint8(255), PALETTE)),
        0,
    ),
    "alpha": (".png", lambda: Image.fromarray(BYTES), {}, planes(on_white(BYTES)), 1),
    "opaque": (
        ".png",
        lambda: Image.fromarray(BYTES | np.array([0, 0, 0, 255], np.uint8)),
        {},
        planes(BYTES[..., :3]),
        0,
    ),
    "grey with alpha": (
        ".png",
        lambda: Image.fromarray(np.ascontiguousarray(BYTES[..., :2])),
        {},
        rgb(on_white(BYTES[..., :2])[..., 0]),
        1,
    ),
    "drawn in alpha alone": (
        ".png",
        lambda: Image.fromarray(BYTES * np.array([0, 0, 0, 1], np.uint8)),
        {},
        rgb(255 - BYTES[..., 3]),
        1,
    ),
    "16 bits": (".png", lambda: Image.fromarray(DEEP), {}, rgb(DEEP), 0),
    "16-bit TIFF": (".tif", lambda: Image.fromarray(DEEP), {}, rgb(DEEP), 0),
    "16-bit PGM": (".pgm", lambda: Image.fromarray(DEEP), {}, rgb(DEEP), 0),
    "32 bits": (".tif", lambda: Image.fromarray(DEEP.astype(np.int32) * 9), {}, rgb(DEEP.astype(np.int32) * 9), 0),
    "floats": (".tif", lambda: Image.fromarray(FLOATS), {}, rgb(FLOATS), 0),
    "CMYK": (
        ".tif",
        lambda: Image.fromarray(BYTES, "CMYK"),
        {},
        planes((255 - BYTES[..., :3].astype(float)) * (255 - BYTES[..., 3:].astype(float)) / 255),
        1,
    ),
    **{
        f"orientation {number}": (
            ".png",
            lambda: Image.fromarray(BYTES[..., :3]),
            oriented(number)[1],
            planes(turn(BYTES[..., :3])),
            0,
        )
        for number, turn in ORIENTED.items()
    },
}
"""For each kind its ending, the image, how it is saved, and its pixels as (3, height, width) to within so much."""


def load(folder: str, classes: list[str], **settings: object) -> tuple[np.ndarray, np.ndarray]:
    return image_files.load(image_files.find(KEY, folder), classes, **settings)


def folder_of(path: Path, image: Image.Image, ending: str, **settings: object) -> str:
    (path / "cat").mkdir()
    image.save(path / "cat" / f"1{ending}", **settings)
    return str(path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_read_as_by_numpy(kind: str, tmp_path: Path) -> None:
    ending, make, settings, expected, tolerance = KINDS[kind]
    pixels, labels = load(folder_of(tmp_path, make(), ending, **settings), ["cat"])
    assert labels.tolist() == [0]
    assert pixels.dtype.kind == ("f" if kind == "floats" else "i" if "bits" in kind or "16" in kind else "u")
    np.testing.assert_allclose(pixels[0].astype(float), expected, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_shades_of_grey_are_those_of_pillow(kind: str, tmp_path: Path) -> None:
    ending, make, settings, expected, tolerance = KINDS[kind]
    pixels, _ = load(folder_of(tmp_path, make(), ending, **settings), ["cat"], grayscale=True)
    grey = expected[0]
    if not np.array_equal(expected[0], expected[1]):
        grey = np.asarray(Image.fromarray(expected.round().astype(np.uint8).transpose(1, 2, 0)).convert("L"))
    np.testing.assert_allclose(pixels[0].astype(float), grey, rtol=0, atol=tolerance + 1)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_resized_as_by_pillow(kind: str, tmp_path: Path) -> None:
    ending, make, settings, expected, tolerance = KINDS[kind]
    pixels, _ = load(folder_of(tmp_path, make(), ending, **settings), ["cat"], size=(3, 4))
    for plane, wanted in zip(pixels[0], expected, strict=True):
        plain = wanted.round().astype(np.uint8) if pixels.dtype == np.uint8 else wanted.astype(np.float32)
        resized = np.asarray(Image.fromarray(plain).resize((4, 3), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(
            plane.astype(float), resized.astype(float), rtol=1e-5, atol=2 * tolerance + (kind != "floats")
        )


WRONG: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no image": ("cannot be read as an image", lambda path: path.write_bytes(b"no image")),
    "empty": ("cannot be read as an image", lambda path: path.write_bytes(b"")),
    "cut off": (
        "cannot be read as an image: .*truncated",
        lambda path: path.write_bytes(data_of(Image.fromarray(np.tile(BYTES[..., :3], (20, 20, 1))))[:-300]),
    ),
    "white on transparent": (
        "it is white on a transparent background",
        lambda path: Image.fromarray(BYTES | np.array([255, 255, 255, 0], np.uint8)).save(path),
    ),
    "another size": ("has 7 x 8 pixels, and .* 6 x 5: loader.image_size=", lambda path: Image.new("RGB", (8, 7)).save(path)),
    "another depth": ("has values of int32, and .* of uint8", lambda path: Image.fromarray(DEEP).save(path)),
    "not finite": (
        "it has values that are not finite",
        lambda path: Image.fromarray(np.where(MASK, np.nan, FLOATS)).save(path, "TIFF"),
    ),
}


def data_of(image: Image.Image) -> bytes:
    import io

    image.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_images_are_named(kind: str, tmp_path: Path) -> None:
    message, write = WRONG[kind]
    folder = folder_of(tmp_path, Image.fromarray(BYTES[..., :3]), ".png")
    write(tmp_path / "cat" / "2.png")
    with pytest.raises(ConfigError, match=f"2.png' .*{message}") as caught:
        load(folder, ["cat"])
    assert "\n" not in str(caught.value)


def test_each_sub_folder_is_a_class(tmp_path: Path) -> None:
    folder = str(data.write_images(tmp_path))
    assert list(image_files.find(KEY, folder)) == CLASSES
    pixels, labels = load(folder, CLASSES)
    assert pixels.shape == (16, 3, 6, 5)
    assert labels.tolist() == [0] * 8 + [1] * 8
    second = data.numbers()
    second.integers(256, size=(6, 5, 3))
    assert np.array_equal(pixels[0], second.integers(256, size=(6, 5, 3)).transpose(2, 0, 1))  # 0.png is in more/


def test_shades_of_grey_and_sizes(tmp_path: Path) -> None:
    folder = str(data.write_images(tmp_path))
    assert load(folder, CLASSES, grayscale=True)[0].shape == (16, 6, 5)
    assert load(folder, CLASSES, size=(3, 4))[0].shape == (16, 3, 3, 4)


def test_hidden_files_and_clutter_are_no_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data.write_images(tmp_path, size=2)
    expected = load(str(folder), CLASSES)
    for clutter in (".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1.png", "__MACOSX/cat/1.png", "cat/._1.png"):
        (folder / clutter).parent.mkdir(parents=True, exist_ok=True)
        (folder / clutter).write_bytes((folder / "cat" / "1.png").read_bytes())
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / "cat" / name).write_bytes(b"clutter")
        (folder / name).write_bytes(b"clutter")
    assert list(image_files.find(KEY, str(folder))) == CLASSES
    found = load(str(folder), CLASSES)
    assert all(map(np.array_equal, found, expected))
    assert not caplog.records


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data.write_images(tmp_path, size=2)
    (folder / "cat" / "a.heic").touch()
    (folder / "cat" / "b.heic").touch()
    (folder / "empty").mkdir()
    (folder / "stray.png").touch()
    frames = [Image.fromarray(BYTES[..., :3]), Image.fromarray(BYTES[..., 1:])]
    frames[0].save(folder / "cat" / "many.tif", save_all=True, append_images=frames[1:])
    pixels, _ = load(str(folder), CLASSES)
    assert np.array_equal(pixels[1], planes(BYTES[..., :3]))
    for told in (
        "left out: 2 .heic",
        "folders without images are not classes: 'empty'",
        "left out: 'stray.png'",
        "many.tif' has several frames",
    ):
        assert told in caplog.text


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with pytest.raises(ConfigError, match="has no sub-folders: each class has one of its own"):
        image_files.find(KEY, folder)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ConfigError, match="has no images in its sub-folders"):
        image_files.find(KEY, folder)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(data.write_images(tmp_path, size=1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"loader.name='images' needs the package pillow: pip install pillow"):
        load(folder, CLASSES)
