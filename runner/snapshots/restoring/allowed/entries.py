"""What a name in a snapshot stands for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.errors import SnapshotRefusedError


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Call:
    """Stands on the stack for a function. It does nothing by itself: REDUCE looks up what to run for it."""

    name: str


class Unbuilt:
    """Stands for an object that takes shape with its state: BUILD puts what it makes of both in its place.

    Attributes:
        name: what it would have become.
        seed: what the call gave.
        index: where in the memo it will be.
    """

    __slots__ = ("__weakref__", "index", "name", "seed")

    def __init__(self, name: str, seed: Any) -> None:
        self.name = name
        self.seed = seed
        self.index = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a name stands for.

    Attributes:
        value: what the stack gets; without one the name is a function, which can be called and cannot be kept.
        call: what REDUCE runs, which checks its arguments; None if it cannot be called.
        context: whether `call` takes the `Allowed` before them.
        new: whether NEWOBJ may make instances, without arguments unless `arguments`.
        arguments: the types of arguments that `__new__` takes; any if None.
        build: how BUILD gives an instance its state; what it returns, if anything, takes the instance's place.
        makes: the types whose instances that holds for, where they are not the value itself.
    """

    value: Any = None
    call: Callable[..., Any] | None = None
    context: bool = False
    new: bool = False
    arguments: tuple[type, ...] | None = ()
    build: Callable[[Any, Any], Any] | None = None
    makes: tuple[type, ...] = ()

    @property
    def is_function(self) -> bool:
        """Whether the name is a function without a value of its own."""
        return self.value is None


Table = dict[tuple[str, str], Entry]
"""Entries by module and name."""


GIVEN = frozenset({*sys.stdlib_module_names, "numpy", "torch", "runner"})
"""Packages that nobody can declare: Python's own, those with tables here, and veles-run itself."""


def named(entries: Mapping[Any, Entry]) -> Table:
    """Returns entries of classes by their modules and names."""
    return {(cls.__module__, cls.__qualname__): entry for cls, entry in entries.items()}


def as_data(*values: Any) -> Table:
    """Returns entries of classes and functions that a snapshot may refer to, and no more."""
    return {(value.__module__, value.__qualname__): Entry(value=value) for value in values}


def check(condition: object, what: str) -> None:
    """Raises a SnapshotRefusedError that says what is wrong with an argument or a state unless the condition holds."""
    if not condition:
        raise SnapshotRefusedError(what)


def are(values: Any, *kinds: type) -> bool:
    """Returns whether all values are exactly of the given types."""
    return all(type(value) in kinds for value in values)
