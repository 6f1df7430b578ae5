import sys
from pathlib import Path

import numpy as np
import pytest

from runner.datasets import image_files
from runner.errors import ConfigError
from tests import data

KEY, CLASSES = "loader.data_dir", ["cat", "dog"]


def test_each_sub_folder_is_a_class(tmp_path: Path) -> None:
    folder = str(data.write_images(tmp_path))
    assert image_files.classes_of(KEY, folder) == CLASSES
    pixels, labels = image_files.load(KEY, folder, CLASSES)
    assert pixels.shape == (16, 3, 6, 5)
    assert labels.tolist() == [0] * 8 + [1] * 8
    second = data.numbers()
    second.integers(256, size=(6, 5, 3))
    assert np.array_equal(pixels[0], second.integers(256, size=(6, 5, 3)).transpose(2, 0, 1))  # 0.png is in more/


def test_shades_of_grey_and_sizes(tmp_path: Path) -> None:
    folder = str(data.write_images(tmp_path))
    assert image_files.load(KEY, folder, CLASSES, grayscale=True)[0].shape == (16, 6, 5)
    assert image_files.load(KEY, folder, CLASSES, size=(3, 4))[0].shape == (16, 3, 3, 4)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with pytest.raises(ConfigError, match="has no sub-folders: each class has one of its own"):
        image_files.classes_of(KEY, folder)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ConfigError, match="has no images in its sub-folders"):
        image_files.load(KEY, folder, ["cat"])
    data.write_images(tmp_path, size=2)
    with pytest.raises(ConfigError, match="has a class 'dog', which the training set has not"):
        image_files.load(KEY, folder, ["cat"])
    data.write_images(tmp_path / "other", size=1, shape=(7, 7))
    (tmp_path / "other" / "cat" / "more" / "0.png").rename(tmp_path / "dog" / "9.png")
    with pytest.raises(ConfigError, match=r"'.*dog/9.png' has 7 x 7 pixels, and '.*' 6 x 5: loader.image_size="):
        image_files.load(KEY, folder, ["cat", "dog", "other"])
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"'.*cat/1.png' cannot be read as an image"):
        image_files.load(KEY, folder, ["cat", "dog", "other"])


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(data.write_images(tmp_path, size=1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"loader.name='images' needs the package pillow: pip install pillow"):
        image_files.load(KEY, folder, CLASSES)
