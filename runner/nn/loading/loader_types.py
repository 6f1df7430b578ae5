"""The loaders, by their name in the configuration (`loader.name`)."""

from collections.abc import Mapping
from typing import Any

from runner.checks import choices
from runner.config.loading import COMMON
from runner.errors import ConfigError
from runner.nn.loading.cifar10_loader import Cifar10Loader
from runner.nn.loading.dataset_loader import DatasetLoader
from runner.nn.loading.image_loader import ImagesLoader
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.mnist_loader import MnistLoader
from runner.nn.loading.sklearn_loader import DigitsLoader, WineLoader
from runner.nn.loading.table_loader import TableLoader
from runner.targets import TARGET, check_arguments, locate

LOADERS: dict[str, type[FullBatchLoader]] = {
    "cifar10": Cifar10Loader,
    "dataset": DatasetLoader,
    "digits": DigitsLoader,
    "images": ImagesLoader,
    "mnist": MnistLoader,
    "table": TableLoader,
    "wine": WineLoader,
}


def loader_class(name: str, settings: Mapping[str, Any]) -> type[FullBatchLoader]:
    """Returns a loader by its name in the table, or by the full name of its class, which must take the settings.

    Raises:
        ConfigError: there is no such loader, or its constructor does not take a setting.
    """
    if name in LOADERS:
        return LOADERS[name]
    if "." not in name:
        raise ConfigError(f"loader.name={name!r} is not a loader; {choices(name, LOADERS)}")
    cls = locate(f"loader.{TARGET}", name, FullBatchLoader)
    own = {key: value for key, value in settings.items() if key not in COMMON}
    given = {"workflow", "seed", *(settings.keys() - own)}
    check_arguments("loader.arguments", cls, own, given=given, reserved={"name", *COMMON})
    return cls
