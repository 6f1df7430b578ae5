"""Pickles a workflow with protocol 5: tensors become plain buffers, and errors name the unit and the attribute."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol

from runner import pickled
from runner.errors import StateError
from runner.graph import Unit, Workflow
from runner.snapshots.capture import arrays, refused, shared_memory, tensors


class Sink(Protocol):
    """Receives the bytes of the pickle in order."""

    def write(self, data: Any, /) -> object:
        """Receives bytes-like data, which is valid only during the call. A buffer of an `OnGpu` stands for bytes on a GPU."""


def dump(workflow: Workflow, sink: Sink) -> set[Any]:
    """Writes the pickle of the workflow.

    Returns:
        The kinds of objects in it: the classes of its objects, the functions and classes that it names, and the identity of
        each workflow that is in no other.

    Raises:
        StateError: something in it cannot be pickled; the message names the unit and the attribute.
    """
    pickler = StatePickler(sink)
    try:
        pickler.dump(workflow)
        _check_memory(workflow, *pickler.memory)
    except StateError:
        raise
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(_culprit(workflow, error)) from error
    return pickler.kinds


class _Counter:
    """A sink that keeps nothing but the number of bytes."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: Any, /) -> None:
        self.size += memoryview(data).nbytes


def dumped_size(workflow: Workflow) -> int:
    """Returns the size in bytes of the pickle of the workflow.

    Raises:
        StateError: as `dump` does.
    """
    counter = _Counter()
    dump(workflow, counter)
    return counter.size


_NAMED = (type, FunctionType, BuiltinFunctionType)
"""Types of objects that a pickle refers to by name."""


class StatePickler(pickle.Pickler):
    """The C pickler, extended to write tensors and arrays as buffers and to keep shared memory shared."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, protocol=5)
        self._torch: Any = sys.modules.get("torch")
        self._numpy: Any = sys.modules.get("numpy")
        self._storages: dict[int, Any] = {}
        self._arrays: list[Any] = []
        self.kinds: set[Any] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Returns how to write a class of veles-run, a tensor, storage, generator or view; NotImplemented for all else."""
        cls = type(obj)
        self.kinds.add(obj if cls in _NAMED else cls)
        if isinstance(obj, Workflow) and obj.workflow is None:
            self.kinds.add(id(obj))  # a second one is of the same kind, and could not be restored
        if isinstance(obj, type):
            name = pickled.name_of(obj)
            return NotImplemented if name is None else (pickled.class_, (name,))
        if self._numpy is not None and type(obj) is self._numpy.ndarray:
            return self._reduce_array(obj)
        torch = self._torch
        if torch is not None and (cls is torch.Tensor or cls is torch.nn.Parameter):
            return self._reduce_tensor(obj)
        if torch is not None and cls is torch.UntypedStorage:
            return tensors.reduce_storage(obj)
        refused.check(obj)
        if torch is None:
            return NotImplemented
        if cls is torch.Generator:
            return tensors.reduce_generator(obj)
        if isinstance(obj, torch.optim.Optimizer):
            return tensors.reduce_optimizer(obj)
        return NotImplemented

    @property
    def memory(self) -> tuple[list[Any], list[Any]]:
        """The arrays that are no views of others, and the storages that were written."""
        return self._arrays, list(self._storages.values())

    def _reduce_array(self, array: Any) -> Any:
        view = arrays.reduce_view(array)
        if view is NotImplemented and not array.dtype.hasobject:
            self._arrays.append(array)
        return view

    def _reduce_tensor(self, tensor: Any) -> Any:
        plain = tensor.layout is self._torch.strided and not tensor.is_quantized and not vars(tensor)
        if not plain or tensor.is_conj() or tensor.is_neg():
            return NotImplemented
        storage = tensor.untyped_storage()
        # torch may wrap one storage in several objects; the pickle must see a single one, or it would write several copies.
        return tensors.reduce_tensor(tensor, self._storages.setdefault(storage._cdata, storage))


def _check_memory(workflow: Workflow, owners: list[Any], storages: list[Any]) -> None:
    """Raises a StateError if two things share memory that a snapshot would keep twice."""
    if (found := shared_memory.shared(owners, storages)) is None:
        return
    names = [name for unit in _all_units(workflow) for name in _attributes_over(unit, found)]
    what = " and ".join(names) if len(names) > 1 else f"{', '.join(names) or repr(workflow)}: an array and something else"
    raise StateError(
        f"{what} share memory, and would not any more after a restore: keep one of them, and make the other where it is used"
    )


def _attributes_over(unit: Unit, held: tuple[Any, Any]) -> Iterator[str]:
    """Yields the attributes of a unit that are one of two arrays or storages, or a tensor over one of them."""
    torch = sys.modules.get("torch")
    for name, value in vars(unit).items():
        is_tensor = torch is not None and isinstance(value, torch.Tensor) and value.layout is torch.strided
        pointers = [item.data_ptr() for item in held if torch is not None and isinstance(item, torch.UntypedStorage)]
        if any(value is item for item in held) or (is_tensor and value.untyped_storage().data_ptr() in pointers):
            yield f"{unit!r}.{name}"


class Probe(StatePickler):
    """Pickles one attribute by itself; units that it refers to are replaced by a number.

    Attributes:
        units: those units.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self.units: list[Unit] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Unit):
            self.units.append(obj)
            return complex, (0.0, 0.0)
        return super().reducer_override(obj)


def _all_units(workflow: Workflow) -> Iterator[Unit]:
    """Yields the workflow, its units, and those of nested workflows."""
    yield workflow
    for unit in workflow.units:
        if isinstance(unit, Workflow):
            yield from _all_units(unit)
        else:
            yield unit


def _culprit(workflow: Workflow, error: Exception) -> str:
    """Finds the attribute that cannot be pickled by pickling each one by itself."""
    for unit in _all_units(workflow):
        for name, value in vars(unit).items():
            if name.endswith("_") or name == "units":
                continue
            if (cause := _failure(value)) is not None:
                within = within_module(value, _failure)
                return f"{unit!r}.{name}{within} cannot be pickled ({cause}): {leaving_out(unit, name, within)}"
    return f"{workflow!r} cannot be pickled: {error}"


def _failure(value: Any) -> Exception | None:
    """Returns why a value cannot be pickled, or None."""
    try:
        Probe(io.BytesIO()).dump(value)
    except Exception as error:
        return error
    return None


def within_module(value: Any, failure: Callable[[Any], object]) -> str:
    """Returns where in a `torch.nn.Module` the value is that fails, such as `.encoder.activation`; empty for other objects.

    Args:
        value: any object.
        failure: returns what is wrong with a value by itself, or None.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.nn.Module):
        return ""
    parts = {**{key: part for key, part in vars(value).items() if key != "_modules"}, **dict(value.named_children())}
    return next((f".{name}{within_module(part, failure)}" for name, part in parts.items() if failure(part) is not None), "")


def leaving_out(unit: Unit, name: str, within: str) -> str:
    """Returns how an attribute of a unit is left out of snapshots, or one of the module that it holds."""
    if within:
        return "leave it out in its __getstate__(), or make it where it is used"
    if pickled.name_of(type(unit)) is not None:  # whose attributes are the configuration's choice
        return "choose one whose state can be kept"
    return f"rename the attribute to '{name}_' to leave it out of snapshots, and create it in init_unpickled()"
