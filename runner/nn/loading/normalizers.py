"""Normalisers: each is fitted on the training set, and is a scale and a centre by which all data are mapped.

Both steps are made in float64, before the data get the precision of the run: in float32, 1,700,000,000 and 1,700,000,060 are
one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from runner.nn.loading.samples import Array

Factor = float | Tensor
Normalizer = tuple[Factor, Factor] | tuple[()]
"""Scale and centre, numbers or tensors of the shape of a sample: x is mapped to (x - centre) * scale. Nothing where each
sample has its own."""

UNCHANGED: Normalizer = (1.0, 0.0)
"""Maps every value to itself."""
BLOCK = 1 << 20
"""Values that are mapped at once."""


def _linear(train: Array) -> Normalizer:
    """Maps the range of the training set to [-1, 1]."""
    low, high = _limits(train)
    return (2 / (high - low) if high > low else 1.0), low + (high - low) / 2


def _range(train: Array) -> Normalizer:
    """Maps the range of the training set to [0, 1]."""
    low, high = _limits(train)
    return (1 / (high - low) if high > low else 1.0), low


def _pointwise(train: Array) -> Normalizer:
    """Maps the range of each feature to [-1, 1]; a constant one to 0."""
    low, high = _feature_limits(train)
    return _inverse(high - low) * 2, low + (high - low) / 2


def _mean_dispersion(train: Array) -> Normalizer:
    """Subtracts the mean sample and divides by each feature's range, which VELES calls its dispersion."""
    low, high = _feature_limits(train)
    return _inverse(high - low), _mean(train)


def _standardize(train: Array) -> Normalizer:
    """Maps each feature to mean 0 and standard deviation 1; a constant one to 0."""
    mean = _mean(train)
    variance = sum((block - mean).square_().sum(0) for block in _blocks(train)) / len(train)
    low, high = _feature_limits(train)
    return torch.where(high > low, _inverse(torch.as_tensor(variance).sqrt()), 0.0), mean


def _internal_mean(train: Array) -> Normalizer:
    """Subtracts the mean sample."""
    return 1.0, _mean(train)


def _samplewise(data: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what maps the range of each sample to [-1, 1], and a constant sample to 0."""
    flat = data.flatten(1)
    low, high = (limit.view(-1, *[1] * (data.dim() - 1)) for limit in (flat.amin(1), flat.amax(1)))
    return _inverse(high - low) * 2, low + (high - low) / 2


def _limits(train: Array) -> tuple[float, float]:
    return float(train.min()), float(train.max())


def _feature_limits(train: Array) -> tuple[Tensor, Tensor]:
    low, high = (torch.from_numpy(np.asarray(limit, np.float64)) for limit in (train.min(0), train.max(0)))
    return low, high


def _mean(train: Array) -> Tensor:
    """Returns the mean sample, by the distances from the lowest one: their sum is exact where that of the values is not."""
    low, _ = _feature_limits(train)
    return low + sum((block - low).sum(0) for block in _blocks(train)) / len(train)


def _inverse(span: Tensor) -> Tensor:
    """Returns 1 / span, and 0 where the span is 0."""
    return torch.where(span > 0, 1 / span, 0.0)


NORMALIZERS: dict[str, Callable[[Array], Normalizer]] = {
    "none": lambda train: (1.0, 0.0),
    "linear": _linear,
    "range": _range,
    "mean_dispersion": _mean_dispersion,
    "internal_mean": _internal_mean,
    "pointwise": _pointwise,
    "standardize": _standardize,
    "samplewise": lambda train: (),
}
"""For each normalisation a function that gives its scale and centre from the training set."""


def normalized(data: Array, normalizer: Normalizer, dtype: torch.dtype) -> Tensor:
    """Returns the mapped data in the precision of the run."""
    result = torch.empty(data.shape, dtype=dtype)
    # Bytes are exact in every precision, and most of the data there are.
    work = dtype if data.itemsize == 1 else torch.float64
    begin = 0
    for block in _blocks(data, work):
        scale, centre = normalizer or _samplewise(block)
        centre = centre.to(work) if isinstance(centre, Tensor) else centre
        scale = scale.to(work) if isinstance(scale, Tensor) else scale
        result[begin : begin + len(block)] = (block - centre).mul_(scale)
        begin += len(block)
    return result


def _blocks(data: Array, dtype: torch.dtype = torch.float64) -> Iterator[Tensor]:
    """Yields the samples of an array as tensors, some at a time."""
    rows = max(1, BLOCK * len(data) // max(1, data.size))
    numpy_type = np.float32 if dtype == torch.float32 else np.float64
    for begin in range(0, len(data), rows):
        yield torch.from_numpy(np.require(data[begin : begin + rows], numpy_type, ["C", "W"]))
