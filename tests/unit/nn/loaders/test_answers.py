"""Sets whose labels or targets do not go together: what one of them lacks is told, and never made up."""

from typing import Any

import pytest

from runner.errors import ConfigError
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from tests.networks import BlobsLoader, network
from tests.unit.nn.evaluators.test_mse import REGRESSION, PlaneLoader

OWN_LOSS = {
    "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"},
    "optimizer_config": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "layers": {"out": {"type": "all2all", "output_sample_shape": 3}},
}
VALUES = {"loss_function": "mse", "layers": REGRESSION}


@pytest.mark.parametrize(
    ("base", "changed", "settings", "message"),
    [
        (BlobsLoader, {VALIDATION: {"labels": None}}, {}, "the validation set has no labels, and the train set has"),
        (BlobsLoader, {TRAIN: {"labels": None}}, {}, "the train set has no labels, and the validation set has"),
        (BlobsLoader, {VALIDATION: {"labels": None}}, OWN_LOSS, "the validation set has no labels, and the train set has"),
        (PlaneLoader, {VALIDATION: {"targets": None}}, VALUES, "the validation set has no targets, and the train set has"),
        (PlaneLoader, {TRAIN: {"targets": None}}, VALUES, "the train set has no targets, and the validation set has"),
        (
            PlaneLoader,
            {VALIDATION: {"targets": 1}},
            VALUES,
            r"validation set has targets of shape \(1,\), .* train set of shape",
        ),
    ],
)
def test_what_a_set_lacks_is_told(
    base: type[Any], changed: dict[int, dict[str, Any]], settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loader(base):
        def load_data(self) -> dict[int, Samples]:
            found = super().load_data()
            for key, changes in changed.items():
                targets = found[key].targets
                wanted = {name: targets[:, :value] if value else None for name, value in changes.items()}
                found[key] = found[key]._replace(**wanted)
            return found

    monkeypatch.setitem(LOADERS, "uneven", Loader)
    with pytest.raises(ConfigError, match=message):
        network(loader_name="uneven", **settings).initialize()


def test_labels_that_nothing_is_compared_with_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader(BlobsLoader):
        def load_data(self) -> dict[int, Samples]:
            found = super().load_data()
            return found | {VALIDATION: found[VALIDATION]._replace(labels=None)}

    monkeypatch.setitem(LOADERS, "uneven", Loader)
    layers = {"out": {"type": "all2all", "output_sample_shape": [2, 3], "learning_rate": 0.05}}
    network(loader_name="uneven", loss_function="mse", layers=layers).initialize()
