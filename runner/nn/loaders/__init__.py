"""The loaders, by their name in the configuration (`loader.name`)."""

from collections.abc import Mapping
from typing import Any

from runner.config.data import COMMON
from runner.errors import ConfigError, known
from runner.nn.loader import FullBatchLoader
from runner.nn.loaders.cifar10 import Cifar10Loader
from runner.nn.loaders.dataset import DatasetLoader
from runner.nn.loaders.images import ImagesLoader
from runner.nn.loaders.mnist import MnistLoader
from runner.nn.loaders.sklearn import DigitsLoader, WineLoader
from runner.nn.loaders.table import TableLoader
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
        ConfigError: there is no such loader, or a setting is none of its constructor's.
    """
    if name in LOADERS:
        return LOADERS[name]
    if "." not in name:
        raise ConfigError(f"loader.name={name!r} is not a loader; known: {known(LOADERS)}")
    cls = locate(f"loader.{TARGET}", name, FullBatchLoader)
    own = {key: value for key, value in settings.items() if key not in COMMON}
    given = {"workflow", "seed", "dtype", *(settings.keys() - own)}
    check_arguments("loader.arguments", cls, own, given=given, reserved={"name", *COMMON})
    return cls
