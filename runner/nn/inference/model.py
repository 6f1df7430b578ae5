"""The network: raw samples in, probabilities or values out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.nn.core.parts import Given, Part, put_together
from runner.nn.inference.steps import Depool, Pool
from runner.nn.layers.image_shapes import as_images


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a network takes and gives.

    Attributes:
        workflow: the name of the workflow that trained it.
        input_shape, output_shape: of one sample, and of what is given for it.
        input_dtype: of the samples that it was trained on, before they were normalized.
        output_dtype: of what it gives.
        parts: of a sample, if it is a tuple or a dict: the key or the place of each, its shape, and the kind of its values.
            `input_shape` is then that of a row with the values of all parts.
        class_names: of the outputs, if they are probabilities of classes; else empty. Classes without names have numbers.
        feature_names: of the columns of a table, in the order of a sample's values; empty where the data are no table.
        target_names: of the outputs, if they are columns of a table; else empty.
    """

    workflow: str
    input_shape: tuple[int, ...]
    input_dtype: torch.dtype
    output_shape: tuple[int, ...]
    output_dtype: torch.dtype
    parts: tuple[Part, ...] = ()
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()


class Normalization(nn.Module):
    """What the loader does to raw samples: (sample - centre) * scale, in double precision where they are not bytes.

    Args:
        scale, centre: of no dimension, or of the shape of a sample; None where each sample has its own.
        dtype: the result's. Integers stay as they are if it is one of integers.
    """

    scale: Tensor | None
    centre: Tensor | None

    def __init__(self, scale: Tensor | None, centre: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("centre", centre)
        self.dtype = dtype

    def forward(self, samples: Tensor) -> Tensor:
        if not self.dtype.is_floating_point:
            return samples.to(self.dtype)
        values = samples.to(self.dtype if samples.dtype.itemsize == 1 else torch.float64)
        if self.scale is not None and self.centre is not None:
            scale, centre = self.scale, self.centre
        else:
            scale, centre = _samplewise(values)
        return ((values - centre.to(values.dtype)) * scale.to(values.dtype)).to(self.dtype)


def _samplewise(values: Tensor) -> tuple[Tensor, Tensor]:
    flat = values.flatten(1)
    low, high = (limit.view(-1, *[1] * (values.dim() - 1)) for limit in (flat.amin(1), flat.amax(1)))
    span = high - low
    return torch.where(span > 0, 1 / span, 0.0) * 2, low + span / 2


class Network(nn.Module):
    """A trained network, alone. It is in evaluation mode, shares no memory with its workflow, and can be trained further.

    Called with raw samples of shape (samples, *input_shape), a tensor or an array of any type of numbers, or with a tuple or a
    dict of tensors like the data set's, it gives probabilities of shape (samples, classes), or values of shape
    (samples, *output_shape). Those of an autoencoder are on the scale of its normalized input.

    Args:
        signature: what it takes and gives.
        normalization: what is done to raw samples.
        layers: from first to last, by name.
    """

    def __init__(self, signature: Signature, normalization: Normalization, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.signature = signature
        self.normalization = normalization
        self.layers = nn.ModuleDict(layers)
        self._pools = {step.places for step in self.layers.values() if isinstance(step, Depool)}
        self.eval()

    def forward(self, samples: Given) -> Tensor:
        if self.signature.parts and not isinstance(samples, Tensor):
            samples = put_together(self.signature.parts, samples, self.signature.input_dtype)
        samples = self._checked(torch.as_tensor(samples))
        values: Tensor = self.normalization(samples)
        places: dict[str, Tensor | None] = {}
        for name, step in self.layers.items():
            if isinstance(step, Pool) and name in self._pools:
                values, places[name] = step.pooled(as_images(values, step.image_shape))
            elif isinstance(step, Depool):
                values = step(values, places[step.places])
            else:
                values = step(values)
        return values.reshape(-1, *self.signature.output_shape)

    def _checked(self, samples: Tensor) -> Tensor:
        """Returns samples; raises a ValueError if they have another shape, which torch might spread over the network's."""
        shape = self.signature.input_shape
        if not self.signature.parts and math.prod(samples.shape[1:]) != math.prod(shape):
            given = f"an array of shape {tuple(samples.shape)}"
            raise ValueError(f"{given}: the network takes samples of shape {shape}, so an array of shape {('N', *shape)}")
        return samples

    def classify(self, samples: Given) -> list[str]:
        """Returns the name of the most probable class of each sample.

        Raises:
            ValueError: the network gives values, or for a sample no finite numbers.
        """
        names = self.signature.class_names
        if not names:
            raise ValueError("this network gives values, not probabilities of classes")
        with torch.inference_mode():
            outputs = self(samples)
            if not (finite := outputs.isfinite().all(1)).all():
                sample = int(finite.logical_not().nonzero()[0])
                raise ValueError(f"the network gives {outputs[sample].tolist()} for sample {sample}, which is of no class")
            return [names[number] for number in outputs.argmax(1).tolist()]
