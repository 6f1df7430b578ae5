"""What a name in a snapshot stands for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runner.errors import SnapshotRefusedError

NOTHING: Any = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a name stands for.

    Attributes:
        constant: the plain value that the name is, such as a data type; most names have none.
        cls: the class that it is: the type of objects that are made, never a value.
        call: what REDUCE runs, which checks its arguments; None if it cannot be called.
        context: whether `call` takes the `Allowed` first.
        new: whether NEWOBJ may make instances, without arguments unless `arguments`.
        arguments: the types of arguments that `__new__` takes; any if None.
        build: how BUILD gives an instance its state; what it returns, if anything, takes the instance's place.
        build_context: whether `build` takes the `Allowed` first.
        makes: the types whose instances `build` is for, where they are not `cls`.
        check_state: checks a state before `build` takes it.
        holds: the attributes in which an instance has a function of its library; BUILD puts it there.
        function: that function. Its name stands for it in those attributes, and is nothing elsewhere.
        symbolic: whether a call gives another name, or a member of an enum, rather than an object.
        shell: whether a call makes an empty object that gets all content as its state.
        takes_names: whether classes stand within the arguments of a call.
    """

    constant: Any = NOTHING
    cls: type | None = None
    call: Callable[..., Any] | None = None
    context: bool = False
    new: bool = False
    arguments: tuple[type, ...] | None = ()
    build: Callable[..., Any] | None = None
    build_context: bool = False
    makes: tuple[type, ...] = ()
    check_state: Callable[[Any], None] | None = None
    holds: tuple[str, ...] = ()
    function: Any = None
    symbolic: bool = False
    shell: bool = False
    takes_names: bool = False


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Name:
    """Stands on the stack for a class or a function. It does nothing, and no object may keep it.

    REDUCE, NEWOBJ and functions that take a class as an argument look up here what it stands for, so that neither is ever in
    the hands of what a pickle makes.
    """

    text: str
    entry: Entry


class Unbuilt:
    """Stands for an object that takes shape with its state: BUILD puts what it makes of both in its place.

    Attributes:
        text: what it would have become.
        seed: what the call gave.
        index: where in the memo it will be.
    """

    __slots__ = ("__weakref__", "index", "seed", "text")

    def __init__(self, text: str, seed: Any) -> None:
        self.text = text
        self.seed = seed
        self.index = 0


Table = dict[tuple[str, str], Entry]
"""Entries by module and name."""

GIVEN = frozenset({*sys.stdlib_module_names, "numpy", "torch", "runner"})
"""Packages that nobody can declare: Python's own, those with tables here, and veles-run itself."""


def named(entries: Iterable[Entry]) -> Table:
    """Returns entries of classes by their modules and names."""
    return {(entry.cls.__module__, entry.cls.__qualname__): entry for entry in entries if entry.cls is not None}


def as_arguments(*classes: type) -> Table:
    """Returns entries of classes that a pickle may name as an argument of a call, and no more."""
    return named(Entry(cls=cls) for cls in classes)


def class_of(value: Any) -> type | None:
    """Returns the class that a name on the stack stands for; None for anything else."""
    return value.entry.cls if type(value) is Name else None


def check(condition: object, what: str) -> None:
    """Raises a SnapshotRefusedError that says what is wrong with an argument or a state unless the condition holds."""
    if not condition:
        raise SnapshotRefusedError(what)


def are(values: Any, *kinds: type) -> bool:
    """Returns whether all values are exactly of the given types."""
    return all(type(value) in kinds for value in values)


def exact(make: Callable[..., Any], *kinds: type | tuple[type, ...], optional: int = 0) -> Callable[..., Any]:
    """Returns a call of `make` that takes arguments of exactly the given types; so many of the last may be missing."""
    name = make.__name__

    def call(*arguments: Any) -> Any:
        fits = len(kinds) - optional <= len(arguments) <= len(kinds) and all(
            type(value) in (kind if isinstance(kind, tuple) else (kind,)) for value, kind in zip(arguments, kinds, strict=False)
        )
        check(fits, f"a {name} is made of other arguments than Python gives it")
        return make(*arguments)

    return call
