"""The loaders, by their name in the configuration (`loader.name`)."""

from runner.nn.loader import FullBatchLoader
from runner.nn.loaders.cifar10 import Cifar10Loader
from runner.nn.loaders.dataset import DatasetLoader
from runner.nn.loaders.images import ImagesLoader
from runner.nn.loaders.mnist import MnistLoader
from runner.nn.loaders.sklearn import DigitsLoader, WineLoader
from runner.nn.loaders.table import TableLoader

LOADERS: dict[str, type[FullBatchLoader]] = {
    "cifar10": Cifar10Loader,
    "dataset": DatasetLoader,
    "digits": DigitsLoader,
    "images": ImagesLoader,
    "mnist": MnistLoader,
    "table": TableLoader,
    "wine": WineLoader,
}
