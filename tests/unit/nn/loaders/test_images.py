import pickle
import shutil
import unicodedata
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.nn.loading.image_loader import ImagesLoader
from runner.nn.loading.samples import TRAIN, VALIDATION
from tests import data
from tests.units import LoggedWorkflow


def test_classes_keep_their_numbers_when_the_data_change(tmp_path: Path) -> None:
    folder, validation = (data.write_images(tmp_path / name, size=2) for name in ("train", "validation"))
    made = ImagesLoader(LoggedWorkflow(), seed=1, data_dir=str(folder), validation_dir=str(validation))
    made.initialize()
    assert made.label_names == ["cat", "dog"]
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    restored.allow_changed_data_ = True
    shutil.copytree(folder / "cat", folder / "ant")
    restored.initialize()
    assert restored.label_names == ["cat", "dog", "ant"]
    assert restored.labels_[TRAIN].tolist() == [0, 0, 1, 1, 2, 2]
    assert restored.labels_[VALIDATION].tolist() == [0, 0, 1, 1]
    shutil.rmtree(folder / "cat")
    restored.initialize()
    assert restored.labels_[TRAIN].tolist() == [1, 1, 2, 2]


def test_a_class_that_the_training_set_has_not_is_named(tmp_path: Path) -> None:
    folder, validation = (data.write_images(tmp_path / name, size=2) for name in ("train", "validation"))
    (validation / "dog").rename(validation / "wolf")
    made = ImagesLoader(LoggedWorkflow(), seed=1, data_dir=str(folder), validation_dir=str(validation))
    with pytest.raises(ConfigError, match=r"loader.validation_dir='.*validation' has a class 'wolf'"):
        made.initialize()


def test_names_that_look_the_same_are_one_class_or_refused(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    for number, other in enumerate((decomposed, f"{composed} ", f"{composed}\u200b")):
        folder, validation = (data.write_images(tmp_path / f"{name}{number}", size=2) for name in ("train", "validation"))
        (folder / "cat").rename(folder / composed)
        (validation / "cat").rename(validation / other)
        settings = {"seed": 1, "data_dir": str(folder)}
        with pytest.raises(ConfigError, match=r"loader.validation_dir=.* look the same"):
            ImagesLoader(LoggedWorkflow(), validation_dir=str(validation), **settings).initialize()

        made = ImagesLoader(LoggedWorkflow(), **settings)
        made.initialize()
        assert made.label_names == ["dog", composed]
        shutil.copytree(folder / composed, folder / other)
        with pytest.raises(ConfigError, match=r"loader.data_dir=.*'\\xe9'.* look the same"):
            ImagesLoader(LoggedWorkflow(), **settings).initialize()
        made.label_names.append(other)  # a run of a time when they were two goes on
        restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
        restored.allow_changed_data_ = True
        restored.initialize()
        assert restored.label_names == ["dog", composed, other]
