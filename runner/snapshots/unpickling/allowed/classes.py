"""Classes of veles-run, and of the modules that a run declares."""

from __future__ import annotations

import logging
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import PurePath
from random import Random
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from runner import pickled
from runner.errors import SnapshotMismatchError, SnapshotRefusedError
from runner.graph import Unit, Workflow
from runner.graph.state_types import declared
from runner.snapshots.unpickling.allowed.containers import check_set
from runner.snapshots.unpickling.allowed.entries import GIVEN, Entry, Name, Table, check, class_of
from runner.snapshots.unpickling.allowed.states import builder_of

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Callable[..., Any])

CONSTRUCTED = (
    *(Counter, OrderedDict, defaultdict, deque),
    *(date, time, timedelta, tzinfo, Decimal, Fraction, PurePath, Random, complex),
)
"""Types whose subclasses pickle as a call of the class; sets do, too."""

_registered: dict[int, object] = {}
"""What was registered, by identity."""


def snapshot_safe(value: T) -> T:
    """Registers a function or a class, as a decorator, that snapshots may call with any arguments.

    Its module must still be declared with `restore.trusted`. A class needs it only if its `__reduce__` calls it.
    """
    _registered[id(value)] = value
    return value


def is_own(cls: type) -> bool:
    """Whether a class is neither Python's, numpy's nor torch's."""
    return cls.__module__.partition(".")[0] not in GIVEN - {"runner"}


def of_runner(name: Any) -> Entry:
    """Returns what a stable name of veles-run's stands for.

    Raises:
        SnapshotMismatchError: there is no such class: the snapshot is of a newer version.
    """
    check(type(name) is str, "a class's name is not text")
    try:
        cls = pickled.class_(name)
        declared(cls)  # evaluates annotations beside the import of the module, if any, rather than in the checks that follow
    except AttributeError as error:
        raise SnapshotMismatchError(f"{error}: upgrade veles-run") from error
    return Entry(cls=cls, new=True, arguments=_arguments_of(cls), build=builder_of(cls))


def find(module_name: str, name: str, once: str | None = None) -> Entry:
    """Returns what a name of a declared module stands for; the module is imported.

    Args:
        module_name: the module's name.
        name: that of the class or the function.
        once: the full name that the snapshot has for it, where that is another one.

    Raises:
        SnapshotRefusedError: it is something else, such as another module's, or a function that is not registered.
        SnapshotMismatchError: there is no such module, or no such name in it.
    """
    full = f"{module_name}.{name}"[:200]
    value = _value(module_name, name, once or full)
    at_home = getattr(value, "__module__", None) == module_name and getattr(value, "__qualname__", None) == name
    if at_home and isinstance(value, FunctionType) and id(value) in _registered:
        return Entry(call=value)
    if not at_home or not isinstance(value, type) or issubclass(value, type):
        raise SnapshotRefusedError(
            f"it names {full!r}, which is no class that is defined there, nor a function that is registered with"
            " runner.snapshot_safe"
        )
    if issubclass(value, Enum):
        return Entry(cls=value, call=_by_value(value), context=True)
    if not issubclass(value, Unit) and hasattr(value, "migrate") and type(getattr(value, "version", None)) is int:
        _say_what_migrates(full)
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(value, torch.nn.Module | torch.optim.Optimizer):
        from runner.snapshots.unpickling.allowed.torch_networks import module_entry, optimizer_entry

        return (module_entry if issubclass(value, torch.nn.Module) else optimizer_entry)(value, _arguments_of(value))
    build, arguments = builder_of(value), _arguments_of(value)
    return Entry(cls=value, call=_call_of(value), context=True, new=True, arguments=arguments, build=build)


_BASIC = {str: (str,), bytes: (bytes,), int: (int,), float: (float,), complex: (float,), tuple: (tuple,), frozenset: ()}
"""What the basic types take when they come from a pickle; more would decode, parse or unroll it."""


def _arguments_of(cls: type) -> tuple[type, ...] | None:
    return next((kinds for base, kinds in _BASIC.items() if cls.__new__ is base.__new__), None)


def _call_of(cls: type) -> Callable[..., Any] | None:
    if issubclass(cls, set | frozenset):

        def make_set(allowed: Allowed, items: Any) -> Any:
            check(type(items) is list, "a set is not made of a list")
            check_set(allowed, items)
            return cls(items)

        return make_set
    if id(cls) not in _registered and not issubclass(cls, CONSTRUCTED):
        return None

    def make(allowed: Allowed, *arguments: Any) -> Any:
        return cls(*(class_of(value) if type(value) is Name and issubclass(cls, defaultdict) else value for value in arguments))

    return make


def _by_value(cls: type[Enum]) -> Callable[[Allowed, Any], Enum]:
    def make(allowed: Allowed, value: Any) -> Enum:
        allowed.keys.check([value])
        return cls(value)

    return make


@cache
def _say_what_migrates(full: str) -> None:
    log.warning(
        "%s: version and migrate are for units, and count for nothing here: another class brings an old state up to date in"
        " __setstate__(self, state)",
        full,
    )


def _value(module_name: str, name: str, once: str) -> Any:
    full = f"{module_name}.{name}"[:200]
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
        gone = "which is not in its module any more" if once == full else f"and restore.renamed says {full}, which there is not"
        raise SnapshotMismatchError(
            f"it needs {once}, {gone}: run with the code that it was made with, or say what the class is called now:"
            f" restore.renamed={{{once}: NEW.NAME}}"
        )
    return vars(module)[name]


def member(value: Any, name: Any) -> Enum:
    """Stands for `getattr`: returns a member of an enum of a declared module."""
    cls = class_of(value)
    if type(name) is str and cls is not None and issubclass(cls, Enum) and name in cls.__members__:
        found: Enum = cls.__members__[name]
        return found
    raise SnapshotRefusedError(
        "it takes an attribute that is no member of an enum: methods are in no snapshot (set them in init_unpickled())"
    )


def _class(allowed: Allowed, name: Any) -> Name:
    return allowed.find_runner(name)


def _unit(allowed: Allowed, cls: Any, workflow: Any) -> Unit:
    found = class_of(cls)
    check(found is not None and issubclass(found, Unit) and isinstance(workflow, Workflow), "a unit's shell is no unit")
    return allowed.noted(pickled.unit(found, workflow))  # type: ignore[arg-type, no-any-return]


TABLE: Table = {
    ("runner.pickled", "class_"): Entry(call=_class, context=True, symbolic=True),
    ("runner.pickled", "unit"): Entry(call=_unit, context=True),
}
"""The functions of veles-run that name its classes and make its units."""
