"""The loaders, by their name in the configuration (`loader.name`)."""

from runner.nn.loader import FullBatchLoader
from runner.nn.loaders.mnist import MnistLoader

LOADERS: dict[str, type[FullBatchLoader]] = {"mnist": MnistLoader}
