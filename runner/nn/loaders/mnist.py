"""MNIST from the package."""

from runner.datasets import mnist
from runner.nn.loader import TRAIN, VALIDATION, FullBatchLoader, Samples


class MnistLoader(FullBatchLoader):
    """Loads 60,000 images of 28 x 28 for training and 10,000 for validation."""

    def load_data(self) -> dict[int, Samples]:
        train, validation = mnist.load()
        return {TRAIN: Samples(*train), VALIDATION: Samples(*validation)}
