"""Small data sets that come with scikit-learn."""

from runner.datasets.files import needs
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, Array, Samples


class WineLoader(FullBatchLoader):
    """Loads 178 wines of 3 cultivars, each with 13 measurements."""

    read_once = True

    def default_normalization(self, train: Array) -> str:
        return "standardize"  # the measurements have units of their own

    def load_data(self) -> dict[int, Samples]:
        with needs("scikit-learn", "loader.name='wine'"):
            from sklearn.datasets import load_wine
        wines = load_wine()
        self.feature_names = [str(name) for name in wines.feature_names]
        return {TRAIN: Samples(wines.data, wines.target)}


class DigitsLoader(FullBatchLoader):
    """Loads 1,797 images of handwritten digits, of 8 x 8 pixels."""

    read_once = True

    def load_data(self) -> dict[int, Samples]:
        with needs("scikit-learn", "loader.name='digits'"):
            from sklearn.datasets import load_digits
        data, labels = load_digits(return_X_y=True)
        return {TRAIN: Samples(data.reshape(-1, 8, 8), labels)}
