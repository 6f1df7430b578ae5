"""What one pickle may name, call, instantiate and give a state to."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from runner.errors import ConfigError, SnapshotRefusedError
from runner.snapshots.restoring.allowed import own, standard
from runner.snapshots.restoring.allowed.entries import GIVEN, Call, Entry, Table, Unbuilt, are, check

LIBRARIES = {
    "numpy": ("runner.snapshots.restoring.allowed.arrays", "runner.snapshots.restoring.allowed.generators"),
    "torch": ("runner.snapshots.restoring.allowed.tensors", "runner.snapshots.restoring.allowed.networks"),
}
"""Packages whose names have tables, and the modules that make these; they import the package."""
_NOTHING: tuple[Any, Entry | None] = (None, None)

REBUILDERS = {"runner.snapshots.capture.tensors": "torch", "runner.snapshots.capture.arrays": "numpy"}
"""Modules of veles-run whose functions are in the tables of a package."""


class Allowed:
    """Answers for one pickle what it may do. Names become objects here, and nothing else is ever called.

    Attributes:
        own: the classes of veles-run and of declared modules that were named.

    Args:
        trusted: modules, or packages with all their modules, whose classes may be in the pickle.

    Raises:
        ConfigError: one of them is part of Python, numpy or torch, or is no name of a module.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        if isinstance(trusted, str):
            raise ConfigError(f"restore.trusted={trusted!r} must be a list of modules: [{trusted}]")
        for module in trusted:
            _check_declarable(module)
        self.trusted = tuple(trusted)
        self.own: set[type] = set()
        self._found: dict[tuple[str, str], Any] = {}
        self._entries: dict[int, tuple[Any, Entry]] = {}  # by identity; the object is kept alive with it
        self._builders: dict[type, Callable[[Any, Any], Any]] = {}
        self._placeholders: list[weakref.ref[Call | Unbuilt]] = []

    def find(self, module: str, name: str) -> Any:
        """Returns what stands for a name.

        Raises:
            SnapshotRefusedError: the name is not allowed; the message says whether a setting can allow it.
            SnapshotMismatchError: it should be in a module of veles-run or a declared one, and is not.
        """
        key = module, name
        if key not in self._found:
            self._found[key] = self._enter(f"{module}.{name}", self._look_up(module, name))
        return self._found[key]

    def call(self, function: Any, arguments: Any) -> Any:
        """Calls what REDUCE asks for: only what was found by name, and only through what checks its arguments."""
        _, entry = self._entries.get(id(function), _NOTHING)
        if entry is None or entry.call is None:
            hint = (
                " unless it is registered with runner.snapshots.restoring.allowed.snapshot_safe"
                if isinstance(function, type) and function in self.own
                else ""
            )
            raise SnapshotRefusedError(f"it calls {_described(function)}, which a snapshot may not call{hint}")
        check(type(arguments) is tuple, "the arguments of a call are no tuple")
        result = entry.call(self, *arguments) if entry.context else entry.call(*arguments)
        if type(result) is Unbuilt:
            self._placeholders.append(weakref.ref(result))
        return result

    def make(self, cls: Any, arguments: Any, keywords: Any) -> Any:
        """Makes an instance of a class that was found by name, by `__new__` alone."""
        _, entry = self._entries.get(id(cls), _NOTHING)
        if entry is None or not entry.new:
            raise SnapshotRefusedError(f"it makes an instance of {_described(cls)}, which a snapshot may not do so")
        check(type(arguments) is tuple and type(keywords) is dict, "the arguments of an instance are no tuple and dict")
        if entry.arguments is not None:
            check(
                are(arguments, *entry.arguments) and not keywords, f"it gives wrong arguments to an instance of {cls.__name__}"
            )
        return cls.__new__(cls, *arguments, **keywords)

    def build(self, instance: Any, state: Any) -> Any:
        """Gives an instance its state, if its class was found by name; returns what takes its place, or None."""
        build = self._builders.get(type(instance))
        if build is None:
            raise SnapshotRefusedError(f"it gives a state to {_described(instance)}, which cannot have one from a snapshot")
        return build(instance, state)

    def check_consumed(self) -> None:
        """Checks, when all else has let go of them, that nothing was kept as data that only stands for something.

        Raises:
            SnapshotRefusedError: a function without a value of its own was, or an object without its state.
        """
        self._found.clear()
        self._entries.clear()
        for reference in self._placeholders:
            if (placeholder := reference()) is not None:
                raise SnapshotRefusedError(f"it keeps {placeholder.name}, which a snapshot may use but not hold")

    def _enter(self, name: str, entry: Entry) -> Any:
        value = entry.value
        if entry.is_function:
            value = Call(name)
            self._placeholders.append(weakref.ref(value))
        self._entries[id(value)] = value, entry
        if entry.build is not None:
            self._builders |= dict.fromkeys(entry.makes or (value,), entry.build)
        return value

    def _look_up(self, module: str, name: str) -> Entry:
        if (module, name) in standard.TABLE:
            return standard.TABLE[module, name]
        package = module.partition(".")[0]
        library = REBUILDERS.get(module, package)
        if library in LIBRARIES and (module, name) in (table := _library(library)):
            return table[module, name]
        if package == "runner" or any(module == declared or module.startswith(f"{declared}.") for declared in self.trusted):
            if (module, name) in own.TABLE:
                return own.TABLE[module, name]
            entry = own.find(module, name, guarded=package == "runner")
            if isinstance(entry.value, type):
                self.own.add(entry.value)
            return entry
        raise SnapshotRefusedError(f"it names {f'{module}.{name}'[:200]!r}, which is not allowed{_advice(module, package)}")


@functools.cache
def _library(package: str) -> Table:
    return {key: entry for maker in LIBRARIES[package] for key, entry in import_module(maker).table().items()}


def _check_declarable(module: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"restore.trusted has {module!r}, which is no name of a module")
    if module.partition(".")[0] in GIVEN:
        raise ConfigError(
            f"restore.trusted has {module!r}, which is no module of yours: only exact names of it are allowed, and no setting"
            " allows more"
        )


def _advice(module: str, package: str) -> str:
    if package in GIVEN or not all(part.isidentifier() for part in module.split(".")):
        return ""
    return f" (if its module is yours and you trust it: restore.trusted=[{module[:100]}])"


def _described(value: Any) -> str:
    """Describes a value without asking it: its `repr` may be endless."""
    if isinstance(value, Call | Unbuilt):
        return value.name
    if isinstance(value, type):
        return f"the class {value.__name__!r}"
    return f"an object of type {type(value).__name__!r}"


for _package in LIBRARIES:
    if _package in sys.modules:
        _library(_package)  # with the other imports, rather than when the first name of a snapshot asks for it
