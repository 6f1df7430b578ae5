"""MNIST, as it ships with the package; see `mnist_files/LICENSE.txt`."""

import hashlib
from pathlib import Path

from runner.datasets.files import GZIP_ERRORS, gunzip
from runner.datasets.idx import Bytes, Images, parse_idx
from runner.errors import ConfigError

FOLDER = Path(__file__).parent / "mnist_files"

_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load() -> tuple[Images, Images]:
    """Returns the 60,000 training images and the 10,000 others, which serve as the validation set.

    Raises:
        ConfigError: a file of the package is missing or is not the original.
    """
    train = Images(_read("train-images-idx3-ubyte"), _read("train-labels-idx1-ubyte"))
    return train, Images(_read("t10k-images-idx3-ubyte"), _read("t10k-labels-idx1-ubyte"))


def _read(name: str) -> Bytes:
    path = FOLDER / f"{name}.gz"
    try:
        data = gunzip(path.read_bytes())
    except GZIP_ERRORS as error:
        raise ConfigError(
            f"the package's data file {path.name!r} cannot be read ({error}): install veles-runner again"
        ) from error
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise ConfigError(f"the package's data file {path.name!r} is not the original: install veles-runner again")
    return parse_idx(data)
