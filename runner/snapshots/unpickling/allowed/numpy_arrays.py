"""Names of numpy: arrays, data types and scalars.

numpy's own functions trust what they are given: a wrong offset in a data type or a set flag reads foreign memory. So data types
are made by numpy's checked constructor, their states must be the ones that numpy itself writes for them, and sizes must agree
with the data.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runner import pickled
from runner.snapshots.unpickling.allowed.entries import Entry, Table, Unbuilt, are, as_arguments, check, class_of, named
from runner.snapshots.unpickling.allowed.states import builder_of

DEPTH = 32
"""Arrays of objects within one another."""
_UNBUILT = -1
_HIDDEN = frozenset({"symbol", "coeffs"})
"""Properties of polynomials that their states have, too."""

_KINDS = re.compile(r"[biufcSUVmMO]\d*")
if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

_mareconstruct: Any = vars(np.ma.core)["_mareconstruct"]
_MODULES = ("numpy._core", "numpy.core")
"""Where numpy has its functions: from 2.0 on, and before."""


def table() -> Table:
    """Returns the entries."""
    functions: Table = {
        (f"{module}.{part}", name): entry
        for module in _MODULES
        for part, name, entry in (
            ("multiarray", "_reconstruct", Entry(call=_reconstruct, context=True, shell=True)),
            ("multiarray", "scalar", Entry(call=_scalar)),
            ("numeric", "_frombuffer", Entry(call=_from_buffer)),
        )
    }
    functions["runner.pickled", "view"] = Entry(call=_view)
    functions["numpy.ma.core", "_mareconstruct"] = Entry(call=_reconstruct_masked)
    arrays = [Entry(cls=cls, build=_build_array, build_context=True) for cls in (np.ndarray, np.matrix, np.recarray)]
    polynomials = [np.poly1d, *(vars(np.polynomial)[name] for name in np.polynomial.__all__ if name[0].isupper())]
    return (
        functions
        | named(arrays)
        | {("numpy.ma", "MaskedArray"): _MASKED, ("numpy.ma.core", "MaskedArray"): _MASKED}
        | {("numpy", "dtype"): Entry(cls=np.dtype, call=_dtype, build=_build_dtype, makes=(Unbuilt,))}
        | named(Entry(cls=cls, new=True, build=builder_of(cls, may_hide=_HIDDEN)) for cls in polynomials)
        | as_arguments(np.record)
    )


def _dtype(kind: Any, align: Any, copy: Any) -> Unbuilt:
    is_record = class_of(kind) is np.record
    check(is_record or (type(kind) is str and _KINDS.fullmatch(kind)), "a data type has no such kind")
    check(align is False and copy is True, "a data type is not made as numpy writes it")
    return Unbuilt("a numpy.dtype without its state", np.dtype(np.record if is_record else kind))


def _build_dtype(unbuilt: Unbuilt, state: Any) -> np.dtype[Any]:
    """Makes a data type of the state instead of changing one, which arrays may have already."""
    check(type(state) is tuple and len(state) in (8, 9), "a data type's state is no tuple of eight or nine")
    made = _expected_dtype(unbuilt.seed, *state)
    check(
        type(made) is type(unbuilt.seed) and made.__reduce__()[2] == state, "a data type's state is not one that numpy writes"
    )
    return made


def _expected_dtype(
    instance: np.dtype[Any],
    version: Any,
    order: Any,
    base: Any,
    names: Any,
    fields: Any,
    size: Any,
    alignment: Any,
    flags: Any,
    metadata: Any = (None, None),
) -> np.dtype[Any]:
    """Makes a data type by way of numpy's checked constructor out of what a state says."""
    check(
        type(order) is str and order in ("<", ">", "=", "|") and are((version, size, alignment, flags), int),
        "a data type's state is wrong",
    )
    if base is not None:
        check(type(base) is tuple and len(base) == 2 and isinstance(base[0], np.dtype), "a data type's base is wrong")
        return np.dtype((base[0], _shape(base[1])))
    if names is not None:
        fields_type = np.dtype(_fields(names, fields, size, flags))  # type: ignore[call-overload]
        return np.dtype((np.record, fields_type)) if instance.type is np.record else fields_type
    kind = instance.kind
    if kind in "mM":
        check(type(metadata) is tuple and len(metadata) == 2 and metadata[0] in (None, {}), "a data type has metadata")
        unit, count, *_ = metadata[1]
        check(type(unit) is bytes and type(count) is int and unit.isalpha() and unit.isascii(), "a data type's unit is wrong")
        return np.dtype(f"{order}{kind}8" if unit == b"generic" else f"{order}{kind}8[{count}{unit.decode()}]")
    if kind in "SUV":
        return np.dtype(f"{order}{kind}{size // 4 if kind == 'U' else size}")
    plain: np.dtype[Any] = np.dtype(order + instance.str[1:])
    return plain


def _fields(names: Any, fields: Any, size: int, flags: int) -> dict[str, Any]:
    check(type(names) is tuple and are(names, str) and type(fields) is dict, "a data type's fields are wrong")
    described = [fields[name] for name in names]
    check(all(type(field) is tuple and len(field) in (2, 3) for field in described), "a data type's fields are wrong")
    check(
        all(isinstance(field[0], np.dtype) and type(field[1]) is int for field in described), "a data type's fields are wrong"
    )
    check(are((title for field in described for title in field[2:]), str), "a data type's titles are wrong")
    return {
        "names": list(names),
        "formats": [field[0] for field in described],
        "offsets": [field[1] for field in described],
        "titles": [field[2] if len(field) == 3 else None for field in described],
        "itemsize": size,
        "aligned": bool(flags & 0x80),
    }


def _shape(shape: Any) -> tuple[int, ...]:
    check(type(shape) is tuple and are(shape, int) and min(shape, default=0) >= 0, "a shape is no tuple of sizes")
    return tuple(shape)


def _plain_dtype(dtype: Any) -> np.dtype[Any]:
    check(isinstance(dtype, np.dtype) and not dtype.hasobject, "data are of no data type, or of one with objects")
    result: np.dtype[Any] = dtype
    return result


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    check(type(data) in (bytes, bytearray) and order in ("C", "F"), "an array's data are no bytes")
    count = math.prod(_shape(shape))
    check(len(data) == count * _plain_dtype(dtype).itemsize, "an array's data and shape do not agree")
    if not data:
        return np.empty(shape, dtype, order)
    array: npt.NDArray[Any] = np.frombuffer(data, dtype).reshape(shape, order=order)
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    check(type(data) is bytes and len(data) == _plain_dtype(dtype).itemsize, "a number's data and type do not agree")
    return np.frombuffer(data, dtype)[0] if data else np.zeros((), dtype)[()]


def _reconstruct(allowed: Allowed, cls: Any, shape: Any, code: Any) -> npt.NDArray[Any]:
    kind = class_of(cls)
    check(kind in (np.ndarray, np.matrix, np.recarray) and shape == (0,) and code == b"b", "an array is not made empty")
    made: npt.NDArray[Any] = np.ndarray.__new__(kind, (0,), "b")  # type: ignore[arg-type]
    allowed.depths[id(made)] = made, _UNBUILT
    return made


def _build_array(allowed: Allowed, instance: Any, state: Any) -> None:
    check(type(state) is tuple and len(state) == 5 and type(state[0]) is int, "an array's state is no tuple of five")
    # An array that has its data already may share them, and setting a state frees them.
    check(allowed.depths.get(id(instance)) == (instance, _UNBUILT), "an array has its state already")
    _check_content(allowed, instance, *state[1:])
    np.ndarray.__setstate__(instance, state)


def _check_content(allowed: Allowed, instance: Any, shape: Any, dtype: Any, fortran: Any, data: Any) -> None:
    check(isinstance(dtype, np.dtype) and type(fortran) is bool, "an array's state has no data type")
    allowed.depths.pop(id(instance), None)
    count = math.prod(_shape(shape))
    if dtype.hasobject:
        check(type(data) is list and len(data) == count, "an array's objects and shape do not agree")
        check_depth(allowed, instance, data)
    else:
        check(type(data) is bytes and len(data) == count * dtype.itemsize, "an array's data and shape do not agree")


def check_depth(allowed: Allowed, array: Any, objects: list[Any]) -> None:
    """Checks how deep arrays of objects are nested: numpy frees them one within the other, on the C stack."""
    depth = 1 + max((_depth_of(allowed, item) for item in objects), default=0)
    check(depth <= DEPTH, f"arrays of objects are nested more than {DEPTH} deep")
    allowed.depths[id(array)] = array, depth


def _depth_of(allowed: Allowed, item: Any) -> int:
    if not isinstance(item, np.ndarray):
        return 0
    depth = allowed.depths.get(id(item), (None, 0))[1]
    check(depth != _UNBUILT, "an array of objects holds an array without a state, which may get any")
    return depth


def _view(owner: Any, dtype: Any, offset: Any, shape: Any, strides: Any, writeable: Any) -> npt.NDArray[Any]:
    check(type(owner) is np.ndarray and not owner.dtype.hasobject, "a view is not of an array")
    check(isinstance(dtype, np.dtype) and not dtype.hasobject, "a view has no data type")
    numbers = type(shape) is type(strides) is tuple and are((*shape, *strides, offset), int)
    check(numbers and type(writeable) is bool, "a view's layout is wrong")
    # numpy refuses what would go beyond the owner's memory.
    return pickled.view(owner, dtype, offset, shape, strides, writeable)


def _reconstruct_masked(cls: Any, base: Any, shape: Any, code: Any) -> Any:
    kinds = class_of(cls) is np.ma.MaskedArray and class_of(base) is np.ndarray
    check(kinds and shape == (0,) and code in ("b", b"b"), "an array is not made empty")
    return _mareconstruct(np.ma.MaskedArray, np.ndarray, shape, "b")


def _build_masked(allowed: Allowed, instance: Any, state: Any) -> None:
    check(type(state) is tuple and len(state) == 7, "a masked array's state is no tuple of seven")
    _, shape, dtype, fortran, data, mask, fill = state
    check(instance.shape == (0,), "an array has its state already")
    _check_content(allowed, instance, shape, dtype, fortran, data)
    mask_size = math.prod(shape) * np.ma.make_mask_descr(dtype).itemsize
    check(type(mask) is bytes and len(mask) == mask_size, "a masked array's mask does not agree")
    check(fill is None or isinstance(fill, np.ndarray | np.generic), "a masked array's fill value is none")
    np.ma.MaskedArray.__setstate__(instance, state)


_MASKED = Entry(cls=np.ma.MaskedArray, build=_build_masked, build_context=True)
