"""Compares objects of all kinds: by plain data that are equal where the objects are."""

import collections
import dataclasses
import enum
import functools
import pathlib
import random
import types
from typing import Any

import numpy as np
import torch

from runner.graph import Workflow
from runner.nn.core.random_stream import Stream


def canonical(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Returns plain data that are equal for equal objects, with types, bytes and sharing."""
    seen = {} if seen is None else seen
    if isinstance(value, (str, bytes, int, float, complex, type, types.FunctionType, types.BuiltinFunctionType, enum.Enum)):
        return type(value), repr(value)
    if isinstance(value, list | dict | torch.Tensor | np.ndarray) or hasattr(value, "__dict__"):
        if id(value) in seen:
            return "seen", seen[id(value)]
        seen[id(value)] = len(seen)
        keep.append(value)
    return type(value), [canonical(part, seen) for part in parts(value)]


keep: list[Any] = []
"""Everything that was visited, so that no identity is used twice."""


def parts(value: Any) -> list[Any]:
    """Returns what an object consists of."""
    if isinstance(value, torch.Tensor):
        return tensor_parts(value)
    if isinstance(value, Stream):
        return [value.generator_]
    if isinstance(value, torch.UntypedStorage):
        return value.tolist()
    if isinstance(value, torch.storage.TypedStorage):
        return [str(value.dtype), value._untyped_storage.tolist()]
    if isinstance(value, torch.Generator):
        return [value.get_state()]
    if isinstance(value, np.ma.MaskedArray):
        return [value.data, value.mask, value.fill_value]
    if isinstance(value, np.ndarray | np.generic):
        return [repr(value.dtype), value.shape, value.tolist() if value.dtype.hasobject else value.tobytes()]
    if isinstance(value, np.random.Generator):
        return [value.bit_generator.state]
    if isinstance(value, np.random.RandomState):
        return [value.get_state()]
    if isinstance(value, np.random.SeedSequence):
        return [value.state]
    if isinstance(value, dict):
        return [*map(list, value.items()), getattr(value, "default_factory", None), *attributes(value)]
    if isinstance(value, set | frozenset):
        return [*sorted(map(repr, value)), *attributes(value)]
    if isinstance(value, list | tuple | collections.deque):
        return [*value, getattr(value, "maxlen", None), *attributes(value)]
    if isinstance(value, pathlib.PurePath):
        return [str(value)]  # the rest is what Python remembers of it
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Workflow):
        state = value.__getstate__()
        return [state["own"], state["states"]]
    if isinstance(value, random.Random):
        return [value.getstate()]
    if isinstance(value, torch.optim.Optimizer):
        return [value.__getstate__()]
    return sorted(attributes(value)) or [repr(value)]


MADE_AGAIN = ("_flat_weight_refs", "_scale_fn_ref")
"""Weak references that torch's modules keep, and make again."""


def attributes(value: Any) -> list[Any]:
    """Returns the attributes and slots of an object, without those that no snapshot holds."""
    held = [
        [name, part]
        for name, part in getattr(value, "__dict__", {}).items()
        if not name.endswith("_") and name not in MADE_AGAIN
    ]
    slots = [
        name
        for owner in type(value).__mro__
        for name, part in vars(owner).items()
        if isinstance(part, types.MemberDescriptorType)
    ]
    return held + [[name, getattr(value, name, None)] for name in slots if name != "__weakref__"]


def tensor_parts(value: torch.Tensor) -> list[Any]:
    shape = [type(value), str(value.dtype), tuple(value.shape), str(value.layout), value.requires_grad, vars(value)]
    if value.is_quantized:
        return [*shape, value.int_repr(), str(value.qscheme())]
    if value.layout is torch.sparse_coo:
        return [*shape, value._indices(), value._values()]
    if value.layout is not torch.strided:
        dense = value.to_dense()
        return [*shape, dense]
    return [*shape, value.stride(), value.storage_offset(), value.untyped_storage().tolist()]
