"""Normalisers: each is fitted on the training set, and is a scale and a shift by which all data are mapped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Factor = float | Tensor
Normalizer = tuple[Factor, Factor] | tuple[()]
"""Scale and shift: numbers, or tensors of the shape of a sample; nothing where each sample has its own."""


def _range_to(begin: float, end: float) -> Callable[[Tensor], Normalizer]:
    """Returns what maps the range of the training set to [begin, end]."""

    def fit(train: Tensor) -> Normalizer:
        low, high = float(train.min()), float(train.max())
        scale = (end - begin) / (high - low) if high > low else 1.0
        return scale, begin - low * scale

    return fit


def _pointwise(train: Tensor) -> Normalizer:
    """Maps the range of each feature to [-1, 1]; a constant one to 0."""
    low, high = train.amin(0).double(), train.amax(0).double()
    scale = _inverse(high - low) * 2
    return scale, -(low + high) / 2 * scale


def _mean_dispersion(train: Tensor) -> Normalizer:
    """Subtracts the mean sample and divides by each feature's range, which VELES calls its dispersion."""
    scale = _inverse(train.amax(0).double() - train.amin(0).double())
    return scale, -train.mean(0, dtype=torch.float64) * scale


def _internal_mean(train: Tensor) -> Normalizer:
    """Subtracts the mean sample."""
    return 1.0, -train.mean(0, dtype=torch.float64)


def _samplewise(data: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what maps the range of each sample to [-1, 1], and a constant sample to 0."""
    flat = data.flatten(1)
    low, high = (limit.double().view(-1, *[1] * (data.dim() - 1)) for limit in (flat.amin(1), flat.amax(1)))
    scale = _inverse(high - low) * 2
    return scale, -(low + high) / 2 * scale


def _inverse(span: Tensor) -> Tensor:
    """Returns 1 / span, and 0 where the span is 0."""
    return torch.where(span > 0, 1 / span, 0.0)


NORMALIZERS: dict[str, Callable[[Tensor], Normalizer]] = {
    "none": lambda train: (1.0, 0.0),
    "linear": _range_to(-1.0, 1.0),
    "range": _range_to(0.0, 1.0),
    "mean_dispersion": _mean_dispersion,
    "internal_mean": _internal_mean,
    "pointwise": _pointwise,
    "samplewise": lambda train: (),
}
"""For each normalisation a function that gives its scale and shift from the training set."""


def normalized(data: Tensor, normalizer: Normalizer) -> Tensor:
    """Maps data, in place, and returns them."""
    factors = normalizer or _samplewise(data)
    scale, shift = (factor.to(data) if isinstance(factor, Tensor) else factor for factor in factors)
    return data.mul_(scale).add_(shift)
