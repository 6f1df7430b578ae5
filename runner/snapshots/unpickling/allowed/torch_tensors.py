"""Names of torch: tensors, storages, data types and generators.

`torch.storage._load_from_bytes`, which stands within every tensor that torch itself pickled, is `torch.load` of a nested pickle
with everything allowed. Here the one form in which torch writes a storage there is taken apart byte by byte; nothing is loaded.
"""

from __future__ import annotations

import collections
import math
import re
import struct
from typing import TYPE_CHECKING, Any

import torch

from runner import pickled
from runner.snapshots.unpickling.allowed.entries import Entry, Name, Table, are, as_arguments, check, class_of, exact, named
from runner.snapshots.unpickling.allowed.states import builder_of

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

_torch_rebuild_tensor_v2: Any = torch._utils._rebuild_tensor_v2
_torch_rebuild_qtensor: Any = torch._utils._rebuild_qtensor
_sparse_compressed: Any = torch.sparse_compressed_tensor
_LAYOUTS = frozenset(
    {"torch.strided", "torch.sparse_coo", "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc"}
)
_DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_STORAGES: dict[str, torch.dtype] = torch.storage._storage_type_to_dtype_map()
_SCHEMES = [value for value in vars(torch).values() if isinstance(value, torch.qscheme)]
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_ACTIVATIONS = ("relu", "gelu", "elu", "celu", "selu", "silu", "mish", "leaky_relu", "relu6", "sigmoid", "tanh", "softplus")


def table() -> Table:
    """Returns the entries."""
    functional = vars(torch.nn.functional)
    return (
        {("torch", name): Entry(constant=dtype) for name, dtype in _DTYPES.items()}
        | {("torch", str(scheme).removeprefix("torch.")): Entry(constant=scheme) for scheme in _SCHEMES}
        | {("torch.nn.functional", name): Entry(function=functional[name]) for name in _ACTIVATIONS}
        | {("torch._C._nn", name): Entry(function=functional[name]) for name in ("gelu", "softplus")}
        | as_arguments(*_TENSORS)
        | named([Entry(cls=torch.Size, call=_size), Entry(cls=torch.device, call=exact(torch.device, str, int, optional=1))])
        | {
            ("torch._C", "Generator"): Entry(
                cls=torch.Generator, call=exact(torch.Generator, torch.device), build=_build_generator
            ),
            ("torch.serialization", "_get_layout"): Entry(call=_layout),
            ("torch.storage", "_load_from_bytes"): Entry(call=_load_from_bytes),
            ("torch._utils", "_rebuild_tensor_v2"): Entry(call=_rebuild_tensor_v2),
            ("torch._utils", "_rebuild_parameter"): Entry(call=_rebuild_parameter),
            ("torch._utils", "_rebuild_parameter_with_state"): Entry(call=_rebuild_parameter_with_state),
            ("torch._utils", "_rebuild_sparse_tensor"): Entry(call=_rebuild_sparse_tensor),
            ("torch._utils", "_rebuild_qtensor"): Entry(call=_rebuild_qtensor),
            ("torch._tensor", "_rebuild_from_type_v2"): Entry(call=_rebuild_from_type, context=True),
            ("runner.pickled", "storage"): Entry(call=_storage),
            ("runner.pickled", "tensor"): Entry(call=_tensor),
            ("runner.pickled", "generator"): Entry(call=_rebuild_generator),
        }
    )


def _sizes(values: Any) -> tuple[int, ...]:
    check(
        type(values) in (tuple, torch.Size) and are(values, int) and min(values, default=0) >= 0,
        "sizes are no tuple of numbers",
    )
    return tuple(values)


def _size(values: Any) -> torch.Size:
    return torch.Size(_sizes(values))


def _layout(name: Any) -> torch.layout:
    check(type(name) is str and name in _LAYOUTS, "a layout has no such name")
    layout: torch.layout = getattr(torch, name.removeprefix("torch."))
    return layout


def _build_generator(instance: Any, state: Any) -> None:
    check(type(state) is tuple and len(state) == 3, "a generator's state is no tuple of three")
    seed, offset, numbers = state
    check(
        type(seed) is int and type(offset) in (int, type(None)) and type(numbers) is torch.Tensor,
        "a generator's state is wrong",
    )
    instance.__setstate__(state)


# What `torch.save` writes of one storage in its legacy form: magic number, version, sizes of types, a persistent id with the
# storage's class, key, device and number of elements, the list of keys; then the number of elements again, and their bytes.
_LEGACY = re.compile(
    rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.\x80\x02M\xe9\x03\."
    rb"\x80\x02}q\x00\(X\x10\0\0\0protocol_versionq\x01M\xe9\x03X\r\0\0\0little_endianq\x02\x88"
    rb"X\n\0\0\0type_sizesq\x03}q\x04\(X\x05\0\0\0shortq\x05K\x02X\x03\0\0\0intq\x06K\x04X\x04\0\0\0longq\x07K\x04uu\."
    rb"\x80\x02\(X\x07\0\0\0storageq\x00ctorch(?:\.storage)?\n(?P<kind>[A-Za-z0-9]{1,40})\nq\x01"
    rb"X(?P<key>.\0\0\0[0-9]{1,20})q\x02X(?P<device>.\0\0\0[a-z]{1,10}(?::[0-9]{1,4})?)q\x03"
    rb"(?P<count>K.|M..|J....|\x8a.{1,9}?)Ntq\x04Q\."
    rb"\x80\x02]q\x00X(?P=key)q\x01a\.",
    re.DOTALL,
)


def _load_from_bytes(data: Any) -> Any:
    head = _LEGACY.match(data) if type(data) is bytes else None
    what = "a storage is not written as torch writes one"
    check(head is not None and len(data) >= head.end() + 8, what)
    assert head is not None
    (count,) = struct.unpack_from("<Q", data, head.end())
    dtype = _STORAGES.get(head["kind"].decode())
    check(dtype is not None, what)
    assert dtype is not None
    check(_text_fits(head["key"]) and _text_fits(head["device"]) and _integer(head["count"]) == count, what)
    content = data[head.end() + 8 :]
    check(len(content) == count * dtype.itemsize, "a storage has another number of bytes than it says")
    untyped = pickled.storage(content, head["device"][4:].decode())
    make: Any = torch.storage.TypedStorage
    return make(wrap_storage=untyped, dtype=dtype, _internal=True)


def _text_fits(text: bytes) -> bool:
    """Whether the four bytes of its length fit a text."""
    return int.from_bytes(text[:4], "little") == len(text) - 4


def _integer(opcode: bytes) -> int:
    """Returns the integer that an opcode pushes."""
    if opcode[:1] == b"\x8a":
        return int.from_bytes(opcode[2:], "little", signed=True) if opcode[1] == len(opcode) - 2 else -1
    return int.from_bytes(opcode[1:], "little", signed=opcode[:1] == b"J")


def _check_extent(size: Any, stride: Any, offset: Any, capacity: int) -> None:
    """Checks that a tensor lies within its storage, which torch would enlarge; all counts are of elements."""
    check(len(_sizes(size)) == len(_sizes(stride)) and type(offset) is int and offset >= 0, "a tensor's layout is wrong")
    last = sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    check(math.prod(size) == 0 or offset + last < capacity, "a tensor goes beyond its storage")


def _check_hooks(hooks: Any) -> None:
    check(hooks is None or (type(hooks) is collections.OrderedDict and not hooks), "a tensor has hooks")


def _storage(data: Any, device: Any) -> torch.UntypedStorage:
    is_memory = type(data) is torch.Tensor and data.dtype is torch.uint8 and data.layout is torch.strided
    check((is_memory or type(data) in (bytes, bytearray)) and type(device) is str, "a storage is not made of bytes")
    return pickled.on_device(data, device) if is_memory else pickled.storage(data, device)


def _tensor(
    storage: Any,
    dtype: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    parameter: Any,
    gradient: Any = None,
) -> torch.Tensor:
    check(
        type(storage) is torch.UntypedStorage and type(dtype) is str and dtype in _DTYPES, "a tensor has no storage or no type"
    )
    check(are((requires_grad, parameter), bool), "a tensor's flags are wrong")
    _check_extent(size, stride, offset, storage.nbytes() // _DTYPES[dtype].itemsize)
    if gradient is not None:
        is_one = type(gradient) is torch.Tensor and gradient.layout is torch.strided and requires_grad
        check(is_one and gradient.dtype is _DTYPES[dtype] and gradient.shape == _sizes(size), "a tensor's gradient is none")
        check(gradient.device == storage.device and not gradient.requires_grad, "a tensor's gradient is none")
    return pickled.tensor(storage, dtype, offset, size, stride, requires_grad, parameter, gradient)


def _check_typed(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> None:
    check(type(storage) is torch.storage.TypedStorage and type(requires_grad) is bool, "a tensor has no storage")
    _check_hooks(hooks)
    _check_extent(size, stride, offset, storage._untyped_storage.nbytes() // storage.dtype.itemsize)
    is_flags = type(metadata) is dict and set(metadata) <= {"conj", "neg"} and are(metadata.values(), bool)
    check(metadata is None or is_flags, "a tensor's metadata are wrong")


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> torch.Tensor:
    _check_typed(storage, offset, size, stride, requires_grad, hooks, metadata)
    tensor: torch.Tensor = _torch_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)
    return tensor


def _rebuild_parameter(data: Any, requires_grad: Any, hooks: Any) -> torch.nn.Parameter:
    check(isinstance(data, torch.Tensor) and type(requires_grad) is bool, "a parameter is no tensor")
    _check_hooks(hooks)
    return torch.nn.Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> torch.nn.Parameter:
    parameter = _rebuild_parameter(data, requires_grad, hooks)
    _set_attributes(parameter, state)
    return parameter


def _rebuild_sparse_tensor(layout: Any, data: Any) -> torch.Tensor:
    check(type(layout) is torch.layout and type(data) is tuple and len(data) in (3, 4), "a sparse tensor's parts are wrong")
    if layout is torch.sparse_coo:
        indices, values, size, *coalesced = data
        check(are((indices, values), torch.Tensor) and are(coalesced, bool), "a sparse tensor's parts are wrong")
        return torch.sparse_coo_tensor(
            indices, values, _sizes(size), check_invariants=True, is_coalesced=coalesced[0] if coalesced else None
        )
    check(len(data) == 4 and are(data[:3], torch.Tensor), "a sparse tensor's parts are wrong")
    *parts, size = data
    if layout in (torch.sparse_bsr, torch.sparse_bsc):
        # torch divides by the sizes of a block, which follow the one dimension of the entries.
        blocks = parts[2].shape[parts[1].dim() : parts[1].dim() + 2]
        check(len(blocks) == 2 and min(blocks) > 0, "a sparse tensor has empty blocks")
    tensor: torch.Tensor = _sparse_compressed(*parts, _sizes(size), layout=layout, check_invariants=True)
    return tensor


def _rebuild_generator(device: Any, state: Any) -> torch.Generator:
    check(type(device) is str and type(state) is torch.Tensor and state.dtype is torch.uint8, "a generator's state is wrong")
    return pickled.generator(device, state)


def _rebuild_qtensor(
    storage: Any, offset: Any, size: Any, stride: Any, quantizer: Any, requires_grad: Any, hooks: Any
) -> torch.Tensor:
    _check_typed(storage, offset, size, stride, requires_grad, hooks)
    check(type(quantizer) is tuple and len(quantizer) in (3, 4) and quantizer[0] in _SCHEMES, "a quantizer is of no known kind")
    check(are(quantizer[1:], int, float, torch.Tensor), "a quantizer's parameters are wrong")
    if len(quantizer) == 4:
        _, scales, zeros, axis = quantizer
        check(are((scales, zeros), torch.Tensor) and type(axis) is int and 0 <= axis < len(size), "a quantizer has no axis")
        check(scales.numel() == zeros.numel() == size[axis], "a quantizer's parameters do not agree with the tensor")
    tensor: torch.Tensor = _torch_rebuild_qtensor(storage, offset, size, stride, quantizer, requires_grad, hooks)
    return tensor


def _rebuild_from_type(allowed: Allowed, function: Any, cls: Any, arguments: Any, state: Any) -> Any:
    """Makes a tensor of a subclass, or one with attributes."""
    kind = class_of(cls)
    is_tensor = kind is not None and issubclass(kind, torch.Tensor) and (kind in _TENSORS or kind in allowed.declared)
    is_made = type(function) is Name and function.text.startswith("torch._utils._rebuild_")
    check(is_tensor and is_made, "a tensor is of no known kind")
    tensor = allowed.call(function, arguments)
    if type(tensor) is not kind:
        tensor = tensor.as_subclass(kind)
    _set_attributes(tensor, state)
    return tensor


def _set_attributes(tensor: torch.Tensor, state: Any) -> None:
    # `Tensor.__setstate__` is for states of long ago; torch, too, passes it over.
    builder_of(type(tensor), passed_over=torch.Tensor.__setstate__)(tensor, state)
