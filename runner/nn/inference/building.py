"""Makes a network of the units of a workflow."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Unit
from runner.memory import memory
from runner.nn.inference import steps
from runner.nn.inference.model import Network, Normalization, Signature
from runner.nn.layers.activation import ActivationLayer, Multiplication, SinCos
from runner.nn.layers.base import Forward
from runner.nn.layers.conv import Conv
from runner.nn.layers.cutter import Cutter
from runner.nn.layers.deconv import Deconv
from runner.nn.layers.dense import All2All
from runner.nn.layers.dropout import Dropout
from runner.nn.layers.module import Module
from runner.nn.layers.normalization import BatchNorm, LocalResponseNorm
from runner.nn.layers.own_step import OwnStep
from runner.nn.layers.pooling import AvgPooling, Depooling, MaxAbsPooling, MaxPooling
from runner.nn.layers.stochastic_pooling import StochasticPooling
from runner.nn.loading.labels import class_names
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.normalizers import Factor
from runner.nn.loading.table_loader import TableLoader

MOST_DIMENSIONS = 16
"""Dimensions that a sample may have."""
DTYPES = {
    **{name: name for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")},
    "uint16": "int32",
    "uint32": "int64",
    "uint64": "int64",
}
"""What types of numpy are called in torch; what every runtime knows takes the place of others."""


def network_of(workflow: str, loader: FullBatchLoader, layers: Sequence[Unit], outputs_are: str) -> Network:
    """Returns the network of a workflow; the units are initialized for it, and no data are loaded.

    Args:
        workflow: its name.
        loader: the loader, initialized or restored.
        layers: the units between the loader and the evaluator.
        outputs_are: what the last layer gives, as `Evaluator.outputs_are`.

    Raises:
        ConfigError: the loader has seen no data yet, or a unit is no layer that can be a module.
        SnapshotMismatchError: the state of the loader does not fit together.
    """
    if loader.normalizer is None:
        raise ConfigError(f"{loader!r} has not loaded its data yet, so the shape of a sample is not known: initialize() first")
    _check_shape(loader.sample_shape)
    made: dict[str, nn.Module] = {}
    previous: Unit = loader
    for unit in layers:
        if not isinstance(unit, Forward) or unit.links()["input_"].source is not previous:
            raise ConfigError(
                f"{unit!r} is between the loader and the evaluator, and is no layer that follows {previous!r}: a network that"
                " is more than one layer after the other cannot be a module by itself"
            )
        unit.initialize()
        if not unit.name.isprintable() or not unit.name or "." in unit.name or (key := _key(unit.name)) in made:
            raise SnapshotMismatchError(
                f"a layer has the name {unit.name[:100]!r}: it is empty, has a dot or what no terminal shows, or is another's"
            )
        made[key] = as_module(unit)
        previous = unit
    _tie(layers, list(made.values()))
    output_shape = previous.output_shape if isinstance(previous, Forward) else loader.sample_shape
    if (answers := steps.Answers.of(outputs_are)) is not None:
        made[_free_key("answers", made)] = answers
    shape = (2,) if outputs_are in steps.Answers.BINARY else tuple(output_shape)
    return Network(_signature(workflow, loader, shape, outputs_are != "values"), _normalization(loader), made)


def _check_shape(shape: tuple[int, ...]) -> None:
    if not 1 <= len(shape) <= MOST_DIMENSIONS or min(shape) < 1 or math.prod(shape) * 8 > memory():
        raise SnapshotMismatchError(f"the snapshot's loader has samples of shape {str(shape)[:200]}, which none can have")


def _key(name: str) -> str:
    """Returns the name of a layer as torch takes it: `train` is a method of modules."""
    return f"{name}_" if hasattr(nn.ModuleDict(), name) else name


def _free_key(key: str, taken: Collection[str]) -> str:
    while key in taken:
        key += "_"
    return key


def _data_dtype(loader: FullBatchLoader) -> torch.dtype:
    """Returns the type of raw samples, as torch has it; the run's precision if the snapshot does not know."""
    name = loader.data_dtype
    dtype: torch.dtype = getattr(torch, DTYPES[name]) if name in DTYPES else loader.sample_dtype
    return dtype


def _feature_names(loader: FullBatchLoader) -> list[str]:
    """Returns the names of a sample's values: a column of categories has one for each."""
    categories = loader.category_names if isinstance(loader, TableLoader) else {}
    return [
        text
        for name in loader.feature_names
        for text in ([f"{name}={category}" for category in categories[name]] if name in categories else [name])
    ]


def _signature(workflow: str, loader: FullBatchLoader, output_shape: tuple[int, ...], classes: bool) -> Signature:
    outputs = math.prod(output_shape)
    names = class_names(loader.label_names, outputs) if classes else []
    targets = loader.target_names if isinstance(loader, TableLoader) and not classes else []
    features = _feature_names(loader)
    for what, given in (("classes", names), ("columns", features), ("targets", targets)):
        if len(set(given)) < len(given):
            raise SnapshotMismatchError(f"two of the snapshot's {what} have one name")
    return Signature(
        workflow=workflow,
        input_shape=loader.sample_shape,
        input_dtype=_data_dtype(loader),
        parts=tuple(loader.parts),
        output_shape=(outputs,) if classes else output_shape,
        output_dtype=loader.dtype,
        class_names=tuple(names),
        feature_names=tuple(features) if len(features) == math.prod(loader.sample_shape) else (),
        target_names=tuple(targets) if len(targets) == outputs else (),
    )


def _normalization(loader: FullBatchLoader) -> Normalization:
    scale, centre = (_factor(loader, value) for value in loader.normalizer) if loader.normalizer else (None, None)
    return Normalization(scale, centre, loader.sample_dtype)


def _factor(loader: FullBatchLoader, value: Factor) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.float64)
    if value.shape != loader.sample_shape:
        raise SnapshotMismatchError(
            f"the snapshot normalizes samples of shape {tuple(value.shape)}, and has samples of {loader.sample_shape}"
        )
    return value.detach().to("cpu", torch.float64, copy=True)


def _tie(layers: Sequence[Unit], made: Sequence[nn.Module]) -> None:
    """Gives deconvolutions with tied weights the parameter of their convolution."""
    modules = dict(zip(layers, made, strict=True))
    for unit, module in modules.items():
        if isinstance(unit, Deconv) and unit.tied and isinstance(module, steps.Deconvolution):
            module.weights = modules[unit.conv_].weights  # type: ignore[assignment]


def as_module(unit: Forward) -> nn.Module:
    """Returns what a layer computes in evaluation as a module with parameters of its own.

    Raises:
        ConfigError: it is of a class of the user's own that says nothing of this.
    """
    if (make := MODULES.get(type(unit))) is not None:
        return make(unit)
    return type(unit).as_module(unit)


def _own(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


def _weights(unit: All2All | Conv | Deconv) -> tuple[Tensor, Tensor | None]:
    assert unit.weights is not None
    return _own(unit.weights), None if unit.bias is None else _own(unit.bias)


def _dense(unit: All2All) -> nn.Module:
    return steps.Dense(*_weights(unit), unit.activation)


def _conv(unit: Conv) -> nn.Module:
    return steps.Convolution(*_weights(unit), unit.activation, unit.image_shape_, unit.padding, unit.stride, unit.grouping)


def _deconv(unit: Deconv) -> nn.Module:
    conv = unit.conv_
    return steps.Deconvolution(*_weights(unit), conv.output_shape, conv.image_shape_, conv.padding, conv.stride, conv.grouping)


def _max_pool(unit: MaxPooling, *, absolute: bool) -> nn.Module:
    return steps.MaxPool(unit.image_shape_, unit.kernel, unit.stride, absolute)


def _stochastic_pool(unit: StochasticPooling) -> nn.Module:
    return steps.StochasticPool(unit.image_shape_, unit.kernel, unit.stride, unit.absolute, unit.beyond_, unit.output_shape)


def _depool(unit: Depooling) -> nn.Module:
    if isinstance(unit.pooling_, StochasticPooling):
        raise ConfigError(
            f"layers.{unit.name} puts values back to where layers.{unit.pooling} has drawn its own, which draws none in"
            " evaluation: such a network can only be trained"
        )
    return steps.Depool(_key(unit.pooling), unit.pooling_.output_shape, unit.output_shape)


def _batch_norm(unit: BatchNorm) -> nn.Module:
    assert unit.weights is not None
    weights, bias, mean, variance = (_own(value) for value in (unit.weights, unit.bias, unit.mean, unit.variance))
    return steps.BatchNorm(weights, bias, mean, variance, unit.output_shape, unit.epsilon)


def _module(unit: Module) -> nn.Module:
    output = unit.outputs[0] if unit.outputs else None
    return steps.Taking(copy.deepcopy(unit.module).cpu().eval(), unit.taken_, unit.input_parts, unit.dtype, output)


MODULES: dict[type[Forward], Callable[..., nn.Module]] = {
    All2All: _dense,
    ActivationLayer: lambda unit: steps.Activation(unit.activation),
    AvgPooling: lambda unit: steps.AvgPool(unit.image_shape_, unit.kernel, unit.stride),
    BatchNorm: _batch_norm,
    Conv: _conv,
    Cutter: lambda unit: steps.Cut(unit.image_shape_, unit.padding[0], unit.padding[1], unit.output_shape),
    Deconv: _deconv,
    Depooling: _depool,
    Dropout: lambda unit: steps.Unchanged(),
    LocalResponseNorm: lambda unit: steps.LocalResponseNorm(unit.output_shape, unit.alpha, unit.beta, unit.k, unit.n),
    MaxAbsPooling: partial(_max_pool, absolute=True),
    MaxPooling: partial(_max_pool, absolute=False),
    Module: _module,
    OwnStep: _module,
    Multiplication: lambda unit: steps.Factor(unit.factor),
    SinCos: lambda unit: steps.SinCos(),
    StochasticPooling: _stochastic_pool,
}
"""What makes a module of each class of layers; a class derived from one may compute something else."""
