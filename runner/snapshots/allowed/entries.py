"""What a name in a snapshot stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.errors import SnapshotRefusedError


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Call:
    """Stands on the stack for a function. It does nothing by itself: REDUCE looks up what to run for it."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a name stands for.

    Attributes:
        value: what the stack gets; without one the name is a function, which can be called and cannot be kept.
        call: what REDUCE runs, which checks its arguments; None if it cannot be called.
        context: whether `call` takes the `Allowed` before them.
        new: whether NEWOBJ may make instances, without arguments unless `arguments`.
        arguments: whether the class's own `__new__` may have arguments.
        build: how BUILD gives an instance its state; None if it cannot.
        makes: the types whose instances that holds for, where they are not the value itself.
    """

    value: Any = None
    call: Callable[..., Any] | None = None
    context: bool = False
    new: bool = False
    arguments: bool = False
    build: Callable[[Any, Any], None] | None = None
    makes: tuple[type, ...] = ()

    @property
    def is_function(self) -> bool:
        """Whether the name is a function without a value of its own."""
        return self.value is None


Table = dict[tuple[str, str], Entry]
"""Entries by module and name."""


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
