"""Names from veles-run and from the modules that a run declares: classes that are defined there, and what is registered."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from importlib import import_module
from pathlib import PurePath
from random import Random
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import SnapshotMismatchError, SnapshotRefusedError
from runner.graph import Unit, Workflow
from runner.snapshots.restoring.allowed.containers import check_keys
from runner.snapshots.restoring.allowed.entries import Entry, Table, check
from runner.snapshots.restoring.allowed.states import builder_of

if TYPE_CHECKING:
    from runner.snapshots.restoring.allowed.allowed import Allowed

T = TypeVar("T", bound=Callable[..., Any])

CONSTRUCTED = (
    *(Counter, OrderedDict, defaultdict, deque),
    *(date, time, timedelta, tzinfo, Decimal, Fraction, PurePath, Random, complex),
)
"""Types whose subclasses pickle as a call of the class; sets do, too."""

_registered: dict[int, object] = {}
"""What was registered, by identity."""


def snapshot_safe(value: T) -> T:
    """Registers a function or a class, as a decorator, that snapshots may refer to and call with any arguments.

    Its module must still be declared with `restore.trusted`. A class needs it only if its `__reduce__` calls it.
    """
    _registered[id(value)] = value
    return value


def find(module_name: str, name: str, *, guarded: bool) -> Entry:
    """Returns what a name of veles-run or of a declared module stands for.

    Args:
        module_name: the module; it is imported.
        name: the class or function in it.
        guarded: whether a class may not have a finalizer.

    Raises:
        SnapshotRefusedError: it is something else, such as another module's, or a function that is not registered.
        SnapshotMismatchError: there is no such module, or no such name in it.
    """
    full = f"{module_name}.{name}"[:200]
    value = _value(module_name, name, full)
    at_home = getattr(value, "__module__", None) == module_name and getattr(value, "__qualname__", None) == name
    if at_home and isinstance(value, FunctionType) and id(value) in _registered:
        return Entry(value=value, call=value)
    if not at_home or not isinstance(value, type) or issubclass(value, type):
        raise SnapshotRefusedError(
            f"it names {full!r}, which is no class that is defined there, nor a function that is registered with"
            " runner.snapshots.restoring.allowed.snapshot_safe"
        )
    if issubclass(value, Enum):
        return Entry(value=value, call=_member_of(value))
    check(not guarded or not hasattr(value, "__del__"), f"it names {full!r}, which has a finalizer")
    build = builder_of(value)
    return Entry(value=value, call=_call_of(value), new=True, arguments=_arguments_of(value), build=build)


_BASIC = {str: (str,), bytes: (bytes,), int: (int,), float: (float,), complex: (float,), tuple: (tuple,), frozenset: ()}
"""What the basic types take when they come from a pickle; more would decode, parse or unroll it."""


def _arguments_of(cls: type) -> tuple[type, ...] | None:
    return next((kinds for base, kinds in _BASIC.items() if cls.__new__ is base.__new__), None)


def _call_of(cls: type) -> Callable[..., Any] | None:
    if not issubclass(cls, set | frozenset):
        return cls if id(cls) in _registered or issubclass(cls, CONSTRUCTED) else None

    def make_set(items: Any) -> Any:
        check(type(items) is list, "a set is not made of a list")
        check_keys(items)
        return cls(items)

    return make_set


def _member_of(cls: type[Enum]) -> Callable[[Any], Enum]:
    def member(value: Any) -> Enum:
        check_keys([value])
        return cls(value)

    return member


def _value(module_name: str, name: str, full: str) -> Any:
    parts = module_name.split(".")
    if not name.isidentifier() or not all(part.isidentifier() for part in parts) or "__main__" in parts[1:]:
        raise SnapshotRefusedError(f"it names {full!r}: only classes at the top level of a module can be in a snapshot")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise SnapshotMismatchError(
            f"it needs {full}, and its module cannot be imported here ({type(error).__name__}: {error}): run where it can be"
        ) from error
    if name not in vars(module):
        raise SnapshotMismatchError(
            f"it needs {full}, which is not in its module any more: run with the code that it was made with"
        )
    return vars(module)[name]


def attribute(allowed: Allowed, value: Any, name: Any) -> Any:
    """Stands for `getattr`: a member of an enum, or a method of an instance, of a class of the run's own."""
    if type(name) is str and not name.startswith("_"):
        if isinstance(value, type) and value in allowed.own and issubclass(value, Enum) and name in value.__members__:
            return value.__members__[name]
        # Of veles-run's objects those of units alone: a store's would delete what they are told to.
        if type(value) in allowed.own and (isinstance(value, Unit) or not type(value).__module__.startswith("runner.")):
            for owner in type(value).__mro__:
                if name in vars(owner):
                    function = vars(owner)[name]
                    check(isinstance(function, FunctionType), f"it takes {name[:100]!r}, which is no method")
                    return MethodType(function, value)
    raise SnapshotRefusedError("it takes an attribute that is no member of an enum and no method of a class of the run's own")


def _shell(cls: Any, workflow: Any) -> Unit:
    from runner.graph.unit import _shell as shell

    check(isinstance(cls, type) and issubclass(cls, Unit) and isinstance(workflow, Workflow), "a unit's shell is no unit")
    return shell(cls, workflow)


TABLE: Table = {("runner.graph.unit", "_shell"): Entry(call=_shell)}
"""The functions of veles-run by which units and tensors are made again."""
