"""Names of torch: modules, optimizers and schedulers of learning rates. Instances are made without `__init__`.

Modules can be called, so their states are checked to the last: no hook of any kind, and nothing but tensors, parameters and
modules where torch looks for these.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.amp import grad_scaler
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.rnn import RNNBase
from torch.optim import lr_scheduler, swa_utils
from torch.utils.data import dataset, sampler

from runner.snapshots.unpickling.allowed.entries import Entry, Table, are, check, named
from runner.snapshots.unpickling.allowed.states import builder_of, check_attributes

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

_MODULES = 100_000
_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
"""How the attributes end in which torch keeps what it calls before or after a step."""
_HELD = {"_parameters": torch.Tensor, "_buffers": torch.Tensor, "_modules": torch.nn.Module}
"""What a module keeps by name, and of which type."""
_HOLD: dict[type, tuple[str, ...]] = {lr_scheduler.CyclicLR: ("_scale_fn_ref",), swa_utils.SWALR: ("anneal_func",)}
"""Attributes in which schedulers have a function of torch's."""


def table() -> Table:
    """Returns the entries."""
    modules = {*_classes(torch.nn, torch.nn.Module), *_classes(swa_utils, torch.nn.Module), NonDynamicallyQuantizableLinear}
    others = {
        *_classes(lr_scheduler, lr_scheduler.LRScheduler),
        *_classes(swa_utils, lr_scheduler.LRScheduler),
        *_classes(dataset, dataset.Dataset),
        *_classes(sampler, sampler.Sampler),
    }
    entries = [module_entry(cls, ()) for cls in modules]
    entries += [optimizer_entry(cls, ()) for cls in _classes(torch.optim, torch.optim.Optimizer)]
    entries += [
        Entry(cls=cls, new=True, build=builder_of(cls), check_state=_check_plain, holds=_HOLD.get(cls, ())) for cls in others
    ]
    entries += [
        Entry(cls=torch.amp.GradScaler, new=True, build=_build_scaler),
        Entry(cls=grad_scaler.OptState, call=grad_scaler.OptState),
    ]
    cyclic, averaged = lr_scheduler.CyclicLR, swa_utils.SWALR
    held = (cyclic._triangular_scale_fn, cyclic._triangular2_scale_fn, averaged._linear_anneal, averaged._cosine_anneal)
    functions = {(value.__module__, value.__qualname__): Entry(function=value) for value in held}
    fresh = grad_scaler._refresh_per_optimizer_state
    return named(entries) | functions | {(fresh.__module__, fresh.__qualname__): Entry(cls=dict)}


def _classes(module: ModuleType, base: type) -> Iterator[type]:
    """Yields the classes that a module exports, except for those that make themselves over when they are first used."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and not issubclass(value, LazyModuleMixin):
            yield value


def module_entry(cls: type, arguments: tuple[type, ...] | None) -> Entry:
    """Returns what stands for a module of torch, or of a declared module, which may be made with arguments."""
    check_state = _check_attention if issubclass(cls, torch.nn.MultiheadAttention) else _check_plain
    build = builder_of(cls)

    def build_module(allowed: Allowed, instance: Any, state: Any) -> None:
        _check_held(state)
        _check_size(allowed, instance, state)
        if issubclass(cls, RNNBase):
            _check_recurrent(cls, state)
            state = state | _fresh(state, "_flat_weights", "_flat_weights_names")
        build(instance, state | _fresh(state, *_HELD) | _without_hooks(state))

    return Entry(
        cls=cls,
        new=True,
        arguments=arguments,
        build=build_module,
        build_context=True,
        check_state=check_state,
        holds=("activation",),
    )


def optimizer_entry(cls: type, arguments: tuple[type, ...] | None) -> Entry:
    """Returns what stands for an optimizer of torch, or of a declared module."""
    build = builder_of(cls)

    def build_optimizer(instance: Any, state: Any) -> None:
        groups, held = state.get("param_groups"), state.get("state")
        fits = type(groups) is list and all(type(group) is dict for group in groups) and type(held) in (dict, defaultdict)
        check(fits and all(type(own) is dict for own in held.values()), "an optimizer has no groups, or no state")
        # What was checked must not change afterwards: the pickle may have kept each of these.
        groups, held = [_own_group(group) for group in groups], defaultdict(dict, {key: dict(own) for key, own in held.items()})
        _check_fused(groups, held)
        build(instance, state | _without_hooks(state) | {"param_groups": groups, "state": held})

    return Entry(cls=cls, new=True, arguments=arguments, build=build_optimizer, check_state=_check_plain)


def _own_group(group: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy of a group; torch goes through its parameters, and a range of them would never end."""
    held = group.get("params")
    fits = type(held) is list and all(isinstance(parameter, torch.Tensor) for parameter in held)
    check(fits, "an optimizer's parameters are no tensors")
    return group | {"params": list(held or ())}


def _check_fused(groups: list[dict[str, Any]], held: dict[Any, dict[str, Any]]) -> None:
    """Checks what torch's fused optimizers rely on: their kernels write as many numbers as a parameter has, wherever it is."""
    fused = [group.get("fused") for group in groups]
    check(
        all(value is None or type(value) is bool for value in fused), "an optimizer's setting 'fused' is neither true nor false"
    )
    if not any(fused):
        return
    parameters = [*held, *(parameter for group in groups for parameter in group.get("params", ()))]
    what = "an optimizer's state does not fit its parameters"
    check(all(isinstance(parameter, torch.Tensor) and _is_dense(parameter) for parameter in parameters), what)
    for parameter, own in held.items():
        tensors = [value for value in own.values() if isinstance(value, torch.Tensor) and value.dim() > 0]
        layouts = {(value.shape, value.stride(), value.dtype) for value in (parameter, *tensors)}
        check(len(layouts) == 1, what)


def _is_dense(tensor: torch.Tensor) -> bool:
    formats = (torch.contiguous_format, torch.channels_last)[: 2 if tensor.dim() == 4 else 1]
    return tensor.layout is torch.strided and any(tensor.is_contiguous(memory_format=order) for order in formats)


def _fresh(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """Returns copies of dicts and lists in a state: the pickle may have kept them, to put other things into them later."""
    return {name: type(state[name])(state[name]) for name in names if name in state}


def _without_hooks(state: dict[str, Any]) -> dict[str, Any]:
    return {name: type(value)() for name, value in state.items() if name.endswith(_HOOKS)}


def _check_recurrent(cls: type, state: Any) -> None:
    """Checks all that the kernels of recurrent modules rely on: they read as many numbers as sizes say, wherever these are."""
    held: Any = state.get("_parameters")
    names = ("input_size", "hidden_size", "num_layers", "proj_size", "bias", "bidirectional")
    inputs, hidden, layers, projected, bias, both = (state.get(name) for name in names)
    fits = are((inputs, hidden, layers, projected), int) and are((bias, both), bool) and type(held) in (dict, OrderedDict)
    check(fits and min(inputs, hidden, layers) > 0 and 0 <= projected < hidden, "a recurrent module has wrong sizes")
    check(layers <= len(held), "a recurrent module has more layers than parameters")
    shapes = dict(_recurrent_shapes(cls, inputs, hidden, layers, projected, bias, both))
    weights = [held.get(name) for name in shapes]
    what = "the weights of a recurrent module do not fit its sizes"
    check(are(weights, torch.nn.Parameter) and all(weight.layout is torch.strided for weight in weights), what)
    check([tuple(weight.shape) for weight in weights] == list(shapes.values()), what)
    check(len({weight.dtype for weight in weights}) == 1 and weights[0].is_floating_point(), what)
    flat, named_so = state.get("_flat_weights"), state.get("_flat_weights_names")
    check(type(flat) is list and [id(weight) for weight in flat] == [id(weight) for weight in weights], what)
    check(type(named_so) is list and named_so == list(shapes), what)


def _recurrent_shapes(
    cls: type, inputs: int, hidden: int, layers: int, projected: int, bias: bool, both: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the names of the weights in torch's order, and their shapes."""
    gates = hidden * (4 if issubclass(cls, torch.nn.LSTM) else 3 if issubclass(cls, torch.nn.GRU) else 1)
    given = projected or hidden
    for layer in range(layers):
        for end in (f"l{layer}", f"l{layer}_reverse")[: 1 + both]:
            yield f"weight_ih_{end}", (gates, inputs if layer == 0 else given * (1 + both))
            yield f"weight_hh_{end}", (gates, given)
            yield from ((f"bias_{kind}_{end}", (gates,)) for kind in ("ih", "hh") if bias)
            yield from ((f"weight_hr_{end}", (projected, hidden)) for _ in range(projected > 0))


def _check_attention(state: Any) -> None:
    # Its kernel divides by this.
    heads = state.get("num_heads") if type(state) is dict else None
    check(type(heads) is int and heads > 0, "an attention has no heads")
    _check_plain(state)


def _check_plain(state: Any) -> None:
    """Checks that a state is plain, and that nothing of what torch calls before or after a step is in it."""
    check(type(state) is dict and all(type(name) is str for name in state), "a state of a module is no plain dict")
    for name, value in state.items():
        if name.endswith(_HOOKS):
            check(type(value) in (dict, OrderedDict) and not value, "it has hooks")


def _check_size(allowed: Allowed, module: Any, state: dict[str, Any]) -> None:
    """Checks how many modules are below one, each counted as often as it is met: torch walks through all of them."""
    held = [item for item in state.get("_modules", {}).values() if item is not None]
    check(all(id(item) in allowed.sizes for item in held), "a module holds one that has no state")
    size = 1 + sum(allowed.sizes[id(item)][1] for item in held)
    check(size <= _MODULES, f"a module holds more than {_MODULES} modules")
    allowed.sizes[id(module)] = module, size


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
