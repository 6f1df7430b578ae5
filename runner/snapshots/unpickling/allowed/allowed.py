"""What one pickle may name, call, instantiate and give a state to."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from runner.errors import ConfigError, SnapshotRefusedError
from runner.snapshots.unpickling.allowed import classes, standard_library
from runner.snapshots.unpickling.allowed.entries import GIVEN, NOTHING, Entry, Name, Table, Unbuilt, are, check
from runner.snapshots.unpickling.allowed.key_budget import KeyBudget

LIBRARIES = {
    "numpy": ("numpy_arrays", "numpy_generators"),
    "torch": ("torch_tensors", "torch_networks"),
}
"""Packages whose names have tables, and the modules that make these; they import the package."""

REBUILDERS = {"view": "numpy", "storage": "torch", "tensor": "torch", "generator": "torch"}
"""Functions of `runner.pickled` that are in the tables of a package."""


class Allowed:
    """Answers for one pickle what it may do. Names become inert here, and nothing else is ever called.

    Attributes:
        keys: what keys may be, and cost.
        declared: the classes of declared modules that were named.
        noted: takes note of an instance of a class that has types for its attributes, and returns it.
        made: those instances, for the checks that follow the pickle's end.
        callables: whether a class was named whose instances can be called, such as a module of torch.

    Args:
        trusted: modules, or packages with all their modules, whose classes may be in the pickle.
        renamed: new full names of classes of the run's own, by the names that the pickle has.

    Raises:
        ConfigError: one of them is part of Python, numpy or torch, or is not the name of a module.
    """

    def __init__(self, trusted: Sequence[str] = (), renamed: Mapping[str, str] | None = None) -> None:
        if isinstance(trusted, str):
            raise ConfigError(f"restore.trusted={trusted!r} must be a list of modules: [{trusted}]")
        self.renamed = dict(renamed or {})
        for module in trusted:
            _check_declarable("restore.trusted", module)
        for name in self.renamed.values():
            _check_declarable("restore.renamed", name.rpartition(".")[0])
        self.trusted = tuple(trusted)
        self.declared: set[type] = set()
        self.made: list[Any] = []
        self.callables = False
        self.depths: dict[int, tuple[Any, int]] = {}
        self.sizes: dict[int, tuple[Any, int]] = {}
        self.keys = KeyBudget()
        self._found: dict[tuple[str, str], Any] = {}
        self._builders: dict[type, Entry] = {}
        self._placeholders: list[weakref.ref[Name | Unbuilt]] = []

    def find(self, module: str, name: str) -> Any:
        """Returns what stands for a name.

        Raises:
            SnapshotRefusedError: the name is not allowed; the message says whether a setting can allow it.
            SnapshotMismatchError: it should be in a declared module, and is not.
        """
        key = module, name
        if key not in self._found:
            self._found[key] = self._enter(f"{module}.{name}", self._look_up(module, name))
        return self._found[key]

    def find_runner(self, name: str) -> Name:
        """Returns what stands for one of veles-run's classes."""
        key = "", name
        if key not in self._found:
            self._found[key] = self._enter(f"veles-run's {name}", classes.of_runner(name))
        found: Name = self._found[key]
        return found

    def call(self, function: Any, arguments: Any) -> Any:
        """Calls what REDUCE asks for: only what was found by name, and only through what checks its arguments."""
        entry = function.entry if type(function) is Name else None
        if entry is None or entry.call is None:
            hint = (
                " unless it is registered with runner.snapshot_safe" if entry is not None and entry.cls in self.declared else ""
            )
            raise SnapshotRefusedError(f"it calls {described(function)}, which a snapshot may not call{hint}")
        check(type(arguments) is tuple, "the arguments of a call are not a tuple")
        return self._call(entry, arguments)

    def _call(self, entry: Entry, arguments: tuple[Any, ...]) -> Any:
        assert entry.call is not None
        result = entry.call(self, *arguments) if entry.context else entry.call(*arguments)
        if type(result) is Unbuilt:
            self._placeholders.append(weakref.ref(result))
        return self.noted(result) if type(result) in self.declared else result

    def make(self, cls: Any, arguments: Any, keywords: Any) -> Any:
        """Makes an instance of a class that was found by name, by `__new__` alone."""
        entry = cls.entry if type(cls) is Name else None
        if entry is None or not entry.new:
            raise SnapshotRefusedError(f"it makes an instance of {described(cls)}, which a snapshot may not do so")
        check(type(arguments) is tuple and type(keywords) is dict, "the arguments of an instance are not a tuple and a dict")
        return self._make(entry, arguments, keywords)

    def _make(self, entry: Entry, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        found: Any = entry.cls
        if entry.arguments is not None:
            check(are(arguments, *entry.arguments) and not keywords, f"it gives wrong arguments to a {found.__name__}")
        made = found.__new__(found, *arguments, **keywords)
        return self.noted(made) if found.__module__.startswith("runner.") or found in self.declared else made

    def noted(self, made: Any) -> Any:
        """Takes note of an instance whose attributes are checked at the end."""
        self.made.append(made)
        return made

    def build(self, instance: Any, state: Any) -> Any:
        """Gives an instance its state, if its class was found by name; returns what takes its place, or None."""
        entry = self._builders.get(type(instance))
        if entry is None or entry.build is None:
            raise SnapshotRefusedError(f"it gives a state to {described(instance)}, which cannot have one from a snapshot")
        state = checked_state(entry, state)
        return entry.build(self, instance, state) if entry.build_context else entry.build(instance, state)

    def check_consumed(self) -> None:
        """Checks, when all else has let go of them, that nothing was kept as data that only stands for something.

        Raises:
            SnapshotRefusedError: a class or a function was, or an object without its state.
        """
        self._found.clear()
        if any(reference() is not None for reference in self._placeholders):
            # Modules that were imported on the way have caught errors, whose tracebacks held what stood on the stack.
            gc.collect()
        for reference in self._placeholders:
            if (placeholder := reference()) is not None:
                raise SnapshotRefusedError(
                    f"it keeps {placeholder.text} as a value: no class, function or method is in a snapshot (name the attribute"
                    " with a final '_', and set it in init_unpickled())"
                )

    def _enter(self, text: str, entry: Entry) -> Any:
        if entry.build is not None:
            of = entry.makes or ((entry.cls,) if entry.cls is not None else ())
            self._builders |= dict.fromkeys(of, entry)
        self.callables = self.callables or (entry.cls is not None and _instances_can_be_called(entry.cls))
        if entry.constant is not NOTHING:
            return entry.constant
        name = Name(text, entry)
        self._placeholders.append(weakref.ref(name))
        return name

    def _look_up(self, module: str, name: str) -> Entry:
        if (module, name) in standard_library.TABLE:
            return standard_library.TABLE[module, name]
        if (module, name) in classes.TABLE:
            return classes.TABLE[module, name]
        package = module.partition(".")[0]
        library = REBUILDERS.get(name, "") if module == "runner.pickled" else package
        if library in LIBRARIES and (module, name) in (table := _library(library)):
            return table[module, name]
        full = f"{module}.{name}"[:200]
        new = self.renamed.get(f"{module}.{name}")
        if new is not None:
            module, _, name = new.rpartition(".")
        if new is not None or self.trusts(module):
            entry = classes.find(module, name, full)
            if entry.cls is not None:
                self.declared.add(entry.cls)
            return entry
        raise SnapshotRefusedError(f"it names {f'{module}.{name}'[:200]!r}, which is not allowed{_advice(module, package)}")

    def trusts(self, module: str) -> bool:
        """Whether classes of a module may be in the pickle."""
        return any(module == declared or module.startswith(f"{declared}.") for declared in self.trusted)


def _instances_can_be_called(cls: type) -> bool:
    return any("__call__" in vars(owner) for owner in cls.__mro__)


def checked_state(entry: Entry, state: Any) -> Any:
    """Returns a state that an entry admits, with functions of the library where its objects have them."""
    if entry.check_state is not None:
        entry.check_state(state)
    functions = {name: state.get(name) for name in entry.holds} if type(state) is dict else {}
    held = {name: value.entry.function for name, value in functions.items() if type(value) is Name}
    check(all(function is not None for function in held.values()), "an object holds a function that is not its library's")
    return state | held if held else state


@functools.cache
def _library(package: str) -> Table:
    makers = [import_module(f"runner.snapshots.unpickling.allowed.{maker}") for maker in LIBRARIES[package]]
    return {key: entry for maker in makers for key, entry in maker.table().items()}


def _check_declarable(key: str, module: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"{key} has {module!r}, which is not the name of a module")
    if module.partition(".")[0] in GIVEN:
        raise ConfigError(
            f"{key} has {module!r}, which is not a module of yours: only exact names of it are allowed, and no"
            " setting allows more"
        )


def _advice(module: str, package: str) -> str:
    if package in GIVEN or not all(part.isidentifier() for part in module.split(".")):
        return ""
    return f" (if its module is yours and you trust it: restore.trusted=[{module[:100]}])"


def described(value: Any) -> str:
    """Describes a value without asking it: its `repr` may be endless."""
    return value.text if isinstance(value, Name | Unbuilt) else f"an object of type {type(value).__name__!r}"


for _package in LIBRARIES:
    if _package in sys.modules:
        _library(_package)  # with the other imports, rather than when the first name of a snapshot asks for it
