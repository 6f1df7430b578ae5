import gzip
import io
import os
import struct
import sys
import zlib
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


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, depth: int, color: int, row: bytes, more: bytes = b"", height: int = 1, interlace: int = 0) -> bytes:
    """Returns a PNG file of one row, as it is stored: with so many bits for each of its numbers."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    data_chunk = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + data_chunk + chunk(b"IEND", b"")


def tiff(row: list[float], dtype: str, photometric: int = 1) -> bytes:
    """Returns a TIFF file of one row of numbers of any type."""
    array = np.array([row]).astype(dtype)
    order = ">" if dtype[0] == ">" else "<"
    tags = {256: len(row), 257: 1, 258: 8 * array.itemsize, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: array.nbytes}
    tags[339] = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"MM\0*" if order == ">" else b"II*\0"
    place = struct.pack(f"{order}I", 8 + array.nbytes)
    return mark + place + array.tobytes() + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def saved(image: Image.Image, format: str, **settings: object) -> bytes:
    image.save(buffer := io.BytesIO(), format, **settings)
    return buffer.getvalue()


COLORS = Image.fromarray(BYTES[..., :3])
FRAMES = {"save_all": True, "append_images": [Image.fromarray(BYTES[::-1, :, :3])]}
SIX = chunk(b"PLTE", bytes(range(6)))
FILES: dict[str, tuple[str, bytes, list[list[int]] | np.ndarray]] = {
    "PNG of 1 bit": ("a.png", png(6, 1, 0, b"\xa8"), [[255, 0, 255, 0, 255, 0]]),
    "PNG of 2 bits": ("a.png", png(4, 2, 0, b"\x1b"), [[0, 85, 170, 255]]),
    "PNG of 4 bits": ("a.png", png(4, 4, 0, b"\x0f\x5a"), [[0, 255, 85, 170]]),
    "PNG of 8 bits, interlaced": ("a.png", png(1, 8, 0, b"\x07", interlace=1), [[7]]),
    "PNG with a transparent shade": ("a.png", png(3, 8, 0, b"\1\2\3", chunk(b"tRNS", b"\0\2")), [[1, 255, 3]]),
    "PNG with a transparent colour": (
        "a.png",
        png(2, 8, 2, b"\1\2\3\4\5\6", chunk(b"tRNS", b"\0\1\0\2\0\3")),
        np.array([[[255, 4]], [[255, 5]], [[255, 6]]]),
    ),
    "PNG of 16 bits in colour": ("a.png", png(1, 16, 2, b"\x01\x02\xff\xfe\x80\x00"), np.array([[[1]], [[255]], [[128]]])),
    "PNG with a palette of 4 bits": ("a.png", png(2, 4, 3, b"\x01", SIX), np.array([[[0, 3]], [[1, 4]], [[2, 5]]])),
    "PNG with half a transparent palette": (
        "a.png",
        png(2, 4, 3, b"\x01", SIX + chunk(b"tRNS", b"\xff\x00")),
        np.array([[[0, 255]], [[1, 255]], [[2, 255]]]),
    ),
    "PNG with a gamma": ("a.png", png(2, 8, 0, b"\1\2", chunk(b"gAMA", struct.pack(">I", 100_000))), [[1, 2]]),
    "PNG of one pixel": ("a.png", saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), np.array([[[1]], [[2]], [[3]]])),
    "TIFF where 0 is white": ("a.tif", tiff([1, 2, 250], "u1", 0), [[254, 253, 5]]),
    "TIFF of big-endian numbers": ("a.tif", tiff([1, 2, 50_000], ">u2"), [[1, 2, 50_000]]),
    "TIFF of signed numbers": ("a.tif", tiff([-1, 2, -30_000], "i2"), [[-1, 2, -30_000]]),
    "TIFF of long signed numbers": ("a.tif", tiff([-1, 2, -(2**31)], "i4"), [[-1, 2, -(2**31)]]),
    "TIFF of floats, big-endian": ("a.tif", tiff([-0.5, 1e30, 5e-324], ">f4"), [[-0.5, np.float32(1e30), 0]]),
    "PPM in letters": ("a.ppm", b"P3\n# c\n2 1\n255\n1 2 3 4 5 6\n", np.array([[[1, 4]], [[2, 5]], [[3, 6]]])),
    "PGM of 4 bits": ("a.pgm", b"P2\n2 1\n15\n0 15\n", [[0, 255]]),
    "PBM named PGM": ("a.pgm", b"P1\n2 1\n0 1\n", [[255, 0]]),
    "BMP of 1 bit": ("a.bmp", saved(Image.fromarray(MASK), "BMP"), MASK * 255),
    "JPEG in grey": ("a.jpg", saved(Image.new("L", (4, 4), 77), "JPEG"), np.full((4, 4), 77)),
    "JPEG in CMYK": (
        "a.jpg",
        saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100),
        np.array([255, 0, 0])[:, None, None] * np.ones((3, 8, 8)),
    ),
    "PNG named JPEG": ("a.jpg", saved(COLORS, "PNG"), planes(BYTES[..., :3])),
    "junk after the end": ("a.png", saved(COLORS, "PNG") + b"junk", planes(BYTES[..., :3])),
    "GIF of two frames": ("a.gif", saved(palette(), "GIF", save_all=True, append_images=[COLORS]), planes(PALETTE)),
    "WebP of two frames": ("a.webp", saved(COLORS, "WEBP", lossless=True, **FRAMES), planes(BYTES[..., :3])),
    "PNG of two frames": ("a.png", saved(COLORS, "PNG", **FRAMES), planes(BYTES[..., :3])),
    "TIFF of two pages": ("a.tif", saved(COLORS, "TIFF", **FRAMES), planes(BYTES[..., :3])),
    **{
        f"{format} of orientation {number}": (
            f"a.{format}",
            saved(COLORS, format, exif=oriented(number)[1]["exif"], **settings),
            planes(ORIENTED[number](BYTES[..., :3])),
        )
        for format, settings in (("tiff", {}), ("webp", {"lossless": True}))
        for number in (3, 6)
    },
    "orientation of no meaning": ("a.png", saved(COLORS, "PNG", exif=oriented(9)[1]["exif"]), planes(BYTES[..., :3])),
    "EXIF of no meaning": ("a.png", saved(COLORS, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), planes(BYTES[..., :3])),
}
"""For each kind of file its name, its bytes, and its pixels, worked out by hand: one plane where all three are the same."""


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


@pytest.mark.parametrize("kind", FILES)
def test_odd_files_are_read_as_they_are_stored(kind: str, tmp_path: Path) -> None:
    name, content, expected = FILES[kind]
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / name).write_bytes(content)
    pixels, _ = load(str(tmp_path), ["cat"])
    array = np.asarray(expected)
    assert np.array_equal(pixels[0], array if array.ndim == 3 else rgb(array))


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
    "a pipe": ("it is not a regular file", os.mkfifo),
    "empty": ("cannot be read as an image: it is empty", lambda path: path.write_bytes(b"")),
    "a pointer": ("git lfs pull", lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 1\n")),
    "a web page": ("it is a web page", lambda path: path.write_bytes(b"\n<html><body>404</body></html>")),
    "compressed": ("it is compressed by gzip", lambda path: path.write_bytes(gzip.compress(saved(COLORS, "PNG")))),
    "SVG": ("it is damaged, or none of BMP, ", lambda path: path.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
    "a program": ("it is damaged, or none of BMP, ", lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n")),
    "too many pixels": ("exceeds limit", lambda path: path.write_bytes(png(60_000, 8, 0, b"\1", height=60_000))),
    "no pixels": ("it is damaged, or", lambda path: path.write_bytes(png(0, 8, 0, b""))),
    "a JPEG cut off": (
        "truncated",
        lambda path: path.write_bytes(
            saved(Image.fromarray(RANDOM.integers(256, size=(64, 64)).astype(np.uint8)), "JPEG")[:-900]
        ),
    ),
    "a GIF cut off": ("", lambda path: path.write_bytes(saved(COLORS, "GIF", **FRAMES)[:60])),
    "a BMP cut off": ("truncated", lambda path: path.write_bytes(saved(COLORS, "BMP")[:-30])),
    "a TIFF cut off": ("", lambda path: path.write_bytes(saved(COLORS, "TIFF")[:-60])),
    "a WebP cut off": ("", lambda path: path.write_bytes(saved(COLORS, "WEBP")[:-20])),
    "a transparent shade of 16 bits": (
        "one of its 16-bit values is transparent",
        lambda path: path.write_bytes(png(1, 16, 0, b"\1\2", chunk(b"tRNS", b"\1\2"))),
    ),
    "signed bytes": ("it has signed bytes", lambda path: path.write_bytes(tiff([-1, 2], "i1"))),
    "numbers beyond 31 bits": ("it has numbers from 2.31 up", lambda path: path.write_bytes(tiff([1, 2**31], "u4"))),
    "16 bits where 0 is white": ("0 means white in it", lambda path: path.write_bytes(tiff([1, 2], "u2", 0))),
    "double precision": ("it is damaged, or none of", lambda path: path.write_bytes(tiff([1, 2], "f8"))),
    "cut off": (
        "cannot be read as an image: .*truncated",
        lambda path: path.write_bytes(saved(Image.fromarray(np.tile(BYTES[..., :3], (20, 20, 1))), "PNG")[:-300]),
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


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_images_are_named(kind: str, tmp_path: Path) -> None:
    message, write = WRONG[kind]
    folder = folder_of(tmp_path, Image.fromarray(BYTES[..., :3]), ".png")
    write(tmp_path / "cat" / "2.png")
    with pytest.raises(ConfigError, match=f"2.png' .*{message}") as caught:
        load(folder, ["cat"])
    assert "\n" not in str(caught.value)


def test_warnings_of_pillow_name_the_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    load(folder_of(tmp_path, COLORS, ".png", exif=exif), ["cat"])
    (line,) = caplog.messages
    assert line.startswith(f"'{tmp_path}/cat/1.png': Corrupt EXIF data")


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


def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    """As torchvision does; a folder that links to itself ends nothing."""
    for place in ("there/deep", "data/cat/own", "data/dog"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(BYTES[..., :3]).save(tmp_path / place / "1.png")
    (tmp_path / "data/cat/more").symlink_to(tmp_path / "there")
    (tmp_path / "data/cat/again").symlink_to(tmp_path / "data/cat/own")
    (tmp_path / "data/dog/loop").symlink_to(tmp_path / "data/dog")
    (tmp_path / "data/owl").symlink_to(tmp_path / "there")
    found = image_files.find(KEY, str(tmp_path / "data"))
    relative = {name: [path.removeprefix(f"{tmp_path}/data/") for path in paths] for name, paths in found.items()}
    assert relative == {
        "cat": ["cat/more/deep/1.png", "cat/own/1.png"],
        "dog": ["dog/1.png"],
        "owl": ["owl/deep/1.png"],
    }


@pytest.mark.parametrize("grayscale", [False, True])
def test_more_pixels_than_there_is_memory_for_are_refused_at_once(grayscale: bool, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, COLORS, ".png")
    with pytest.raises(ConfigError, match=r"1 images of 900000 x 900000 pixels take .* bytes, more than this machine has"):
        load(folder, ["cat"], grayscale=grayscale, size=(900_000, 900_000))


def test_hidden_files_and_clutter_are_no_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data.write_images(tmp_path, size=2)
    expected = load(str(folder), CLASSES)
    hidden = (".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1.png", "__MACOSX/cat/1.png", "cat/._1.png")
    storage = ("@eaDir/1.png", "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "#recycle/1.png", "$RECYCLE.BIN/1.png")
    for clutter in (*hidden, *storage, "lost+found/1.png", "System Volume Information/1.png"):
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
    with pytest.raises(ConfigError, match=r"loader.name='images' needs the package pillow: pip install 'veles-runner\[data\]'"):
        load(folder, CLASSES)
