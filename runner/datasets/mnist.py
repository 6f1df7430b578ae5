"""MNIST, as it ships with the package; see `mnist_files/LICENSE.txt`."""

import hashlib
from pathlib import Path

from runner.datasets.files import gunzip
from runner.datasets.idx import Bytes, Images, parse_idx
from runner.errors import ConfigError

FOLDER = Path(__file__).parent / "mnist_files"

_SHA256 = {  # of the files as they are, since what they hold is five times as much to hash
    "train-images-idx3-ubyte": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
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
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the package's data file {path.name!r} cannot be read ({error}): install veles-runner again"
        ) from error
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise ConfigError(f"the package's data file {path.name!r} is not the original: install veles-runner again")
    return parse_idx(gunzip(data))
