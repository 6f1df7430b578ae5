"""What a loader's snapshot holds: every attribute has a type that can be checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.graph import Unit, random_state
from runner.graph.state_types import declared
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.loader_types import LOADERS
from tests import data
from tests.networks import BlobsLoader
from tests.units import LoggedWorkflow

MAKE: dict[str, Any] = {
    "mnist": lambda folder: {"data_dir": str(data.write_idx(folder))},
    "cifar10": lambda folder: {"data_dir": str(data.write_cifar10(folder))},
    "images": lambda folder: {"data_dir": str(data.write_images(folder)), "image_size": [3, 4]},
    "table": lambda folder: {
        "data_file": str(data.write_table(folder / "t.csv")),
        "targets": ["y"],
        "columns": ["b", "kind"],
        "categories": ["kind"],
    },
    "dataset": lambda folder: {"train": {"_target_": "tests.data.Augmented", "size": 4}},
    "wine": lambda folder: {},
    "digits": lambda folder: {},
}


@pytest.fixture(params=MAKE)
def loader(request: pytest.FixtureRequest, tmp_path: Path) -> FullBatchLoader:
    return LOADERS[request.param](LoggedWorkflow(), seed=1, **MAKE[request.param](tmp_path))


def test_every_attribute_of_the_state_is_of_its_declared_type(loader: FullBatchLoader) -> None:
    types = declared(type(loader))
    loader.initialize()
    loader.run()
    state = {name: value for name, value in vars(loader).items() if not name.endswith("_")}
    own = state.keys() - vars(Unit(LoggedWorkflow(), "unit")).keys()
    assert own >= {"stream", "normalizer", "label_names"}
    assert own - types.keys() == set()
    assert [name for name in own if not types[name].fits(state[name])] == []


def test_no_class_and_no_function_is_in_the_state(loader: FullBatchLoader) -> None:
    def callables(value: object) -> list[object]:
        if isinstance(value, dict | list | tuple):
            return [found for part in (value.values() if isinstance(value, dict) else value) for found in callables(part)]
        return [value] if isinstance(value, type) or callable(value) else []

    assert callables({name: value for name, value in vars(loader).items() if not name.endswith("_")}) == []


def test_reading_the_data_leaves_the_random_generators_alone() -> None:
    made = LOADERS["dataset"](LoggedWorkflow(), seed=1, train={"_target_": "tests.data.Augmented", "size": 4})
    random_state.seed_all(5)
    before = random_state.get_states()
    made.initialize()
    after = random_state.get_states()
    assert after["python"] == before["python"]
    assert all(map(np.array_equal, after["numpy"], before["numpy"]))
    assert after["torch"].equal(before["torch"])


def test_data_that_are_drawn_depend_on_the_seed_alone() -> None:
    first, again, other = (
        LOADERS["dataset"](LoggedWorkflow(), seed=seed, train={"_target_": "tests.data.Augmented", "size": 4})
        for seed in (1, 1, 2)
    )
    for number, made in enumerate((first, again, other)):
        random_state.seed_all(number)
        made.initialize()
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_generators_are_put_back_when_loading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: BlobsLoader) -> None:
        np.random.normal()
        raise RuntimeError("as asked for")

    monkeypatch.setattr(BlobsLoader, "load_data", fail)
    before = np.random.get_state()
    with pytest.raises(RuntimeError, match="as asked for"):
        BlobsLoader(LoggedWorkflow(), seed=1).initialize()
    assert all(map(np.array_equal, np.random.get_state(), before))
