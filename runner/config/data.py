"""Where the data come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class LoaderConfig:
    """Where the data come from and how they are served."""

    name: str = "mnist"
    """Which loader."""
    minibatch_size: int = 100
    """Samples in a minibatch."""
    normalization: str = "linear"
    """`linear` maps the range of the training set to [-1, 1], `range` to [0, 1]; `none` leaves the data alone."""
    train_size: int | None = None
    """Training samples to use, from the first on; all unless given."""
    validation_size: int | None = None
    """Validation samples to use, from the first on; all unless given."""
