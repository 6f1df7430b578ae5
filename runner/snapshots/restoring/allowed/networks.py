"""Names of torch: modules, optimizers and schedulers of learning rates. Instances are made without `__init__`."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch.amp import grad_scaler
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.rnn import RNNBase
from torch.optim import lr_scheduler, swa_utils
from torch.utils.data import dataset, sampler

from runner.snapshots.restoring.allowed.entries import Entry, Table, as_data, check, named
from runner.snapshots.restoring.allowed.states import Build, builder_of

_LAYERS = 10_000


def table() -> Table:
    """Returns the entries."""
    classes = {
        *_classes(torch.nn, torch.nn.Module),
        *_classes(torch.optim, torch.optim.Optimizer),
        *_classes(lr_scheduler, lr_scheduler.LRScheduler),
        *_classes(swa_utils, torch.nn.Module),
        *_classes(swa_utils, lr_scheduler.LRScheduler),
        *_classes(dataset, dataset.Dataset),
        *_classes(sampler, sampler.Sampler),
        NonDynamicallyQuantizableLinear,
        torch.amp.GradScaler,
    }
    return named({cls: Entry(value=cls, new=True, build=_builder(cls)) for cls in classes}) | as_data(
        grad_scaler._refresh_per_optimizer_state,
        grad_scaler.OptState,
        lr_scheduler.CyclicLR._triangular_scale_fn,
        lr_scheduler.CyclicLR._triangular2_scale_fn,
    )


def _classes(module: ModuleType, base: type) -> Iterator[type]:
    """Yields the classes that a module exports, but for those that make themselves over when they are first used."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and not issubclass(value, LazyModuleMixin):
            yield value


def _builder(cls: type) -> Build:
    build = builder_of(cls)
    if not issubclass(cls, RNNBase):
        return build

    def build_recurrent(instance: Any, state: Any) -> None:
        # Its `__setstate__` counts up to this.
        layers = state.get("num_layers") if type(state) is dict else None
        check(type(layers) is int and layers <= _LAYERS, f"a {cls.__name__} has no number of layers, or too large a one")
        build(instance, state)

    return build_recurrent
