"""Where the data come from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from runner.checks import at_least
from runner.errors import ConfigError

COMMON = ("minibatch_size", "normalization", "train_size", "validation_size", "validation_ratio", "split_seed", "shuffle_limit")
"""Keys that all loaders take."""

COLUMN = Any  # OmegaConf has no union of text and a number
COLUMN_KEYS = ("loader.label", "loader.targets", "loader.columns", "loader.categories")
"""Keys whose values are columns, by name or by number."""


@dataclass(kw_only=True)
class LoaderConfig:
    """Where the data come from and how they are served."""

    name: str = "mnist"
    """`mnist`, `cifar10`, `table`, `images`, `wine`, `digits` or `dataset`."""
    minibatch_size: int = 100
    """Samples in a minibatch."""
    normalization: str | None = None
    """`linear` maps the range of the training set to [-1, 1], `range` to [0, 1], `pointwise` that of each feature to [-1, 1],
    `samplewise` that of each sample to [-1, 1]; `standardize` gives each feature mean 0 and standard deviation 1;
    `internal_mean` subtracts the mean sample, `mean_dispersion` divides by each feature's range, too; `none` leaves the data
    alone. Default: `standardize` for `table` and `wine`, `none` for integers of a `dataset`, else `linear`."""
    train_size: int | None = None
    """Use only the first N training samples. Default: all."""
    validation_size: int | None = None
    """Use only the first N validation samples. Default: all."""
    validation_ratio: float | None = None
    """Share of the training samples to set apart for validation, between 0 and 1. Default: none."""
    split_seed: int = 0
    """Seed of the choice that `validation_ratio` makes. The run's seed does not matter, so that runs can be compared."""
    shuffle_limit: int | None = None
    """Shuffle the training set before each of the first N epochs, then keep the order. Default: every epoch."""
    data_dir: str | None = None
    """Folder of the data: IDX files (`mnist`), binary batches (`cifar10`), a folder for each class (`images`)."""
    validation_dir: str | None = None
    """The same for validation (`images`)."""
    grayscale: bool = False
    """Load images in grayscale, with shape (height, width) instead of (3, height, width) (`images`)."""
    image_size: list[int] | None = None
    """Height and width to resize images to. Default: all images must have one size (`images`)."""
    data_file: str | None = None
    """A table: .csv or .tsv, also with .gz, .parquet, .npy or .npz (`table`)."""
    validation_file: str | None = None
    """A table with columns of the same names, for validation (`table`)."""
    header: bool | None = None
    """Whether the first line of a .csv file has the names of the columns. Default: recognized (`table`)."""
    label: COLUMN = None
    """Column of the labels, by name or by number from 0 (`table`)."""
    targets: list[Any] | None = None
    """Columns of the target values, for regression with `loss_function=mse` (`table`)."""
    columns: list[Any] | None = None
    """Columns of the data. Default: all but label and targets (`table`)."""
    categories: list[Any] | None = None
    """Columns of the data that have names: each name becomes a feature that is 1 or 0 (`table`)."""
    train: Any = None
    """A map-style `torch.utils.data.Dataset`: `_target_` and the arguments of its constructor (`dataset`)."""
    validation: Any = None
    """The same for validation (`dataset`)."""
    _target_: str | None = None
    """Class of your own loader, such as `my_module.MyLoader`, in place of `name`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What its constructor takes besides what all loaders do (`_target_`)."""

    NEEDS = {
        "mnist": ((), ("data_dir",)),
        "cifar10": (("data_dir",), ()),
        "table": (("data_file",), ("validation_file", "header", "label", "targets", "columns", "categories")),
        "images": (("data_dir",), ("validation_dir", "grayscale", "image_size")),
        "wine": ((), ()),
        "digits": ((), ()),
        "dataset": (("train",), ("validation",)),
    }
    """For each loader the keys that it needs, and those that it may have."""

    def __post_init__(self) -> None:
        if self.validation_ratio is not None and not 0 <= self.validation_ratio < 1:
            raise ConfigError(f"loader.validation_ratio={self.validation_ratio} must be at least 0 and below 1")
        at_least("loader.split_seed", self.split_seed, 0, "seed of the split")
        at_least("loader.shuffle_limit", self.shuffle_limit, 0, "epochs")
        if self.image_size is not None and (len(self.image_size) != 2 or min(self.image_size) < 1):
            raise ConfigError(f"loader.image_size={self.image_size} must be [height, width] in pixels")
        if self.label is not None and self.targets:
            raise ConfigError("loader.label and loader.targets exclude one another: the one is for softmax, the other for mse")
        for key in ("columns", "targets"):
            if getattr(self, key) == []:
                raise ConfigError(f"loader.{key}=[] names no column: name some, or leave it out")
        if self.arguments and not self._target_:
            raise ConfigError("loader.arguments are for a class of your own: name it with loader._target_")
        if self._target_ and "." not in self._target_:
            raise ConfigError(
                f"loader._target_={self._target_!r} must name a class with its module, such as my_module.{self._target_}"
            )
        if not self._target_ and self.name not in self.NEEDS:
            return  # the workflow says which there are
        required, optional = ((), ()) if self._target_ else self.NEEDS[self.name]
        given = self._given()
        if missing := [name for name in required if name not in given]:
            raise ConfigError(f"loader.name={self.name!r} needs loader.{missing[0]}")
        if extra := given - set(required) - set(optional):
            owner = f"_target_={self._target_!r}" if self._target_ else f"name={self.name!r}"
            raise ConfigError(f"loader.{min(extra)} does not belong to loader.{owner}")

    def _given(self) -> set[str]:
        """Returns the keys that have been set, of those that not all loaders have."""
        special = {name for sides in self.NEEDS.values() for side in sides for name in side}
        return {item.name for item in fields(self) if item.name in special and getattr(self, item.name) != item.default}

    def settings(self) -> dict[str, Any]:
        """Returns what the loader is made with: what all loaders take, and what has been set besides."""
        given = self._given()
        names = [item.name for item in fields(self) if item.name in (*COMMON, *given)]
        return {name: getattr(self, name) for name in names} | self.arguments
