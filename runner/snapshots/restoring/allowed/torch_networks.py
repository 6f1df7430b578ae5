"""Names of torch: modules, optimizers and schedulers of learning rates. Instances are made without `__init__`.

Modules can be called, so their states are checked to the last: no hook of any kind, and nothing but tensors, parameters and
modules where torch looks for these.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
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

from runner.snapshots.restoring.allowed.entries import Entry, Table, check, named
from runner.snapshots.restoring.allowed.states import builder_of, check_attributes

_LAYERS = 10_000
_HELD = {"_parameters": torch.Tensor, "_buffers": torch.Tensor, "_modules": torch.nn.Module}
"""What a module keeps by name, and of which type."""
_HOLD: dict[type, tuple[str, ...]] = {lr_scheduler.CyclicLR: ("_scale_fn_ref",)}
"""Attributes in which schedulers have a function of torch's."""


def table() -> Table:
    """Returns the entries."""
    modules = {*_classes(torch.nn, torch.nn.Module), *_classes(swa_utils, torch.nn.Module), NonDynamicallyQuantizableLinear}
    others = {
        *_classes(torch.optim, torch.optim.Optimizer),
        *_classes(lr_scheduler, lr_scheduler.LRScheduler),
        *_classes(swa_utils, lr_scheduler.LRScheduler),
        *_classes(dataset, dataset.Dataset),
        *_classes(sampler, sampler.Sampler),
    }
    entries = [module_entry(cls) for cls in modules]
    entries += [Entry(cls=cls, new=True, build=builder_of(cls), holds=_HOLD.get(cls, ())) for cls in others]
    entries += [
        Entry(cls=torch.amp.GradScaler, new=True, build=_build_scaler),
        Entry(cls=grad_scaler.OptState, call=grad_scaler.OptState),
    ]
    triangles = (lr_scheduler.CyclicLR._triangular_scale_fn, lr_scheduler.CyclicLR._triangular2_scale_fn)
    functions = {(value.__module__, value.__qualname__): Entry(function=value) for value in triangles}
    fresh = grad_scaler._refresh_per_optimizer_state
    return named(entries) | functions | {(fresh.__module__, fresh.__qualname__): Entry(cls=dict)}


def _classes(module: ModuleType, base: type) -> Iterator[type]:
    """Yields the classes that a module exports, except for those that make themselves over when they are first used."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and not issubclass(value, LazyModuleMixin):
            yield value


def module_entry(cls: type, arguments: tuple[type, ...] | None = ()) -> Entry:
    """Returns what stands for a module of torch, or of a declared module."""
    check_state = _check_recurrent if issubclass(cls, RNNBase) else _check_module
    build = builder_of(cls)

    def build_module(instance: Any, state: Any) -> None:
        _check_held(state)
        build(instance, state)

    return Entry(cls=cls, new=True, arguments=arguments, build=build_module, check_state=check_state, holds=("activation",))


def _check_recurrent(state: Any) -> None:
    # Its `__setstate__` counts up to this.
    layers = state.get("num_layers") if type(state) is dict else None
    check(type(layers) is int and layers <= _LAYERS, "a recurrent module has no number of layers, or too large a one")
    _check_module(state)


def _check_module(state: Any) -> None:
    check(type(state) is dict, "a state of a module is no plain dict")
    for name, value in state.items():
        if type(name) is str and name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
            check(type(value) in (dict, OrderedDict) and not value, "a module has hooks")


def _check_held(state: dict[str, Any]) -> None:
    for name, kind in _HELD.items():
        value = state.get(name, {})
        check(type(value) in (dict, OrderedDict), f"{name} of a module is no dict")
        fits = all(type(key) is str and isinstance(item, (kind, type(None))) for key, item in value.items())
        check(fits, f"{name} of a module holds something else")


def _build_scaler(instance: Any, state: Any) -> None:
    """Makes a GradScaler's dict of states anew: what makes its values is a function."""
    check_attributes(torch.amp.GradScaler, state)
    before = state.get("_per_optimizer_states")
    check(type(before) is defaultdict, "a GradScaler has no states of optimizers")
    assert isinstance(before, defaultdict)
    own = defaultdict(grad_scaler._refresh_per_optimizer_state, before)
    builder_of(torch.amp.GradScaler)(instance, state | {"_per_optimizer_states": own})
