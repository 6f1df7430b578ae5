import pickle

import pytest
import torch

from runner.errors import ConfigError
from runner.nn.loading.dataset_loader import DatasetLoader
from runner.nn.loading.samples import TRAIN, VALIDATION
from tests import data
from tests.units import LoggedWorkflow


def loader(name: str = "tests.data.Points", size: int = 9, **arguments: object) -> DatasetLoader:
    return DatasetLoader(LoggedWorkflow(), seed=1, train={"_target_": name, "size": size, **arguments})


def test_items_are_put_together() -> None:
    points = data.Points(9)
    samples = loader().load_data()[TRAIN]
    assert torch.equal(torch.from_numpy(samples.data), points.points)
    assert samples.labels.tolist() == [points[index][1] for index in range(9)]
    assert samples.targets is None


def test_what_is_no_whole_number_is_a_target() -> None:
    samples = loader(value=True).load_data()[TRAIN]
    assert samples.labels is None
    assert samples.targets.shape == (9, 1)


def test_a_second_data_set_is_for_validation_and_classes_survive_pickling() -> None:
    train, validation = ({"_target_": "tests.data.Points", "size": size} for size in (9, 4))
    made = DatasetLoader(LoggedWorkflow(), seed=1, train=train, validation=validation)
    restored = pickle.loads(pickle.dumps(made.workflow))["loader"]
    restored.initialize()
    assert restored.split_lengths == [0, 4, 9]
    assert VALIDATION in restored.data_


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests.data.Nothing", "loader.train._target_='tests.data.Nothing': the module 'tests.data' has no 'Nothing'"),
        (
            "nothing.at.all",
            r"loader.train._target_='nothing.at.all': the module 'nothing.at' cannot be imported"
            r" \(ModuleNotFoundError: .*'nothing'",
        ),
        ("os.system", "loader.train._target_='os.system' is no subclass of torch.utils.data.dataset.Dataset"),
        ("subprocess.Popen", "loader.train._target_='subprocess.Popen' is no subclass of torch.utils.data.dataset.Dataset"),
        ("torch.utils.data.IterableDataset", "IterableDataset is no map-style"),
        ("torch.utils.data.TensorDataset", "loader.train: TensorDataset fails: TypeError: .*'size'"),
        ("tests.data.Broken", "loader.train: Broken fails: RuntimeError: as asked for"),
        ("tests.data.Ragged", "loader.train: the samples cannot be put together: all input arrays must have the same shape"),
        ("tests.data.Triples", r"loader.train: Triples must have items \(sample, label\), or samples alone"),
    ],
)
def test_what_is_no_data_set_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(name).load_data()


@pytest.mark.parametrize("train", [{"size": 3}, "tests.data.Points", {"_target_": 3}])
def test_a_target_is_needed(train: object) -> None:
    with pytest.raises(ConfigError, match=r"loader.train=.* needs _target_: the full name of a class"):
        DatasetLoader(LoggedWorkflow(), seed=1, train=train)


def test_a_state_that_names_another_class_is_refused() -> None:
    made = loader()
    made.datasets = {"train": (dict, {"size": 3})}
    with pytest.raises(ConfigError, match=r"loader.train: builtins.dict is no map-style"):
        made.initialize()


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="Points must have items"):
        loader(size=0).load_data()
