import pickle
import shutil
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
