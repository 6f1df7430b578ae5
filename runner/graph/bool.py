"""A mutable, lazy truth value: what gates are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, NamedTuple

from runner.errors import GraphError, StateError

Function = Callable[[], object]


class Callback(NamedTuple):
    """A method of a unit, as data: what a Bool in a snapshot can call."""

    unit: Any
    method: str

    def call(self) -> None:
        """Calls the method.

        Raises:
            GraphError: the unit's class does not list it among its `callbacks`.
        """
        cls = type(self.unit)
        if self.method not in cls.callbacks:
            raise GraphError(f"{cls.__name__} does not list {self.method[:100]!r} in its `callbacks`")
        getattr(cls, self.method)(self.unit)


def _function(slot: str, doc: str) -> Any:
    """Returns the property for a function that a Bool calls; a method that its unit lists in `callbacks` is kept as data."""

    def get(self: Bool) -> Function | None:
        function: Any = getattr(self, slot)
        found: Function | None = getattr(function.unit, function.method) if isinstance(function, Callback) else function
        return found

    def set_(self: Bool, function: Function | None) -> None:
        if function is not None and not callable(function):
            raise TypeError(f"a Bool calls a function without arguments, and {function!r} cannot be called")
        if isinstance(function, MethodType) and function.__name__ in getattr(type(function.__self__), "callbacks", ()):
            setattr(self, slot, Callback(function.__self__, function.__name__))
        else:
            setattr(self, slot, function)
        self._follow_leaves()

    return property(get, set_, doc=doc)


def _truth(value: object) -> bool:
    """Returns the truth of a value; raises a TypeError for what is true whatever it means: a function, a text."""
    if type(value) is bool:
        return value
    if callable(value):
        raise TypeError(f"a Bool is true or false, and {value!r} is neither: call it, or combine Bools with |, &, ^ and ~")
    if isinstance(value, str | bytes):
        raise TypeError(f"a Bool is true or false, and the text {value!r} is neither")
    return bool(value)


class Bool:
    """A truth value that is shared by reference and assigned with `<<=`.

    `a | b`, `a & b`, `a ^ b` and `~a` give expressions that follow their sources and cannot be assigned to.
    `on_true` and `on_false` are called, without arguments, when the value changes to that side.

    A Bool pickles as data: its value or the tree of its expression, and its callbacks as a unit and the name of a method that
    the unit's class lists in `callbacks`. Any other function goes to `on_true_` or `on_false_`, which are in no snapshot: set
    them in `initialize()`.
    """

    __slots__ = ("_followers", "_on_false", "_on_false_", "_on_true", "_on_true_", "_value")

    def __init__(self, value: object = False) -> None:
        self._value = _truth(value)
        self._on_true: Callback | Function | None = None
        self._on_false: Callback | Function | None = None
        self._followers: list[Expression] = []
        self._forget_functions()

    def _forget_functions(self) -> None:
        self._on_true_: Function | None = None
        self._on_false_: Function | None = None

    def __getstate__(self) -> tuple[Any, ...]:
        for callback in (self._on_true, self._on_false):
            if not isinstance(callback, Callback | None):
                raise StateError(
                    f"a Bool calls {callback!r}, which no snapshot can hold: list the method in `callbacks` of its unit's class"
                    ", or set the Bool's on_true_ or on_false_ in initialize()"
                )
        return (self._content(), self._on_true, self._on_false, self._followers)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        content, self._on_true, self._on_false, self._followers = state
        self._set_content(content)
        self._forget_functions()

    def _content(self) -> Any:
        return self._value

    def _set_content(self, content: Any) -> None:
        self._value = content

    def __bool__(self) -> bool:
        return self._value

    def __ilshift__(self, value: object) -> Bool:
        """Assigns: `complete <<= True`."""
        value = _truth(value)
        if value != self._value:
            before = [bool(follower) for follower in self._followers]
            self._value = value
            self._notify()
            for follower, was in zip(self._followers, before, strict=True):
                if bool(follower) != was:
                    follower._notify()
        return self

    def __or__(self, other: Bool) -> Expression:
        return Expression("or", self, other)

    def __and__(self, other: Bool) -> Expression:
        return Expression("and", self, other)

    def __xor__(self, other: Bool) -> Expression:
        return Expression("xor", self, other)

    def __invert__(self) -> Expression:
        return Expression("not", self)

    def __repr__(self) -> str:
        return f"Bool({bool(self)})"

    on_true = _function("_on_true", "What is called when the value becomes true.")
    on_false = _function("_on_false", "What is called when the value becomes false.")
    on_true_ = _function("_on_true_", "The same, in no snapshot.")
    on_false_ = _function("_on_false_", "The same, in no snapshot.")

    def leaves(self) -> Iterator[Bool]:
        """Yields the assignable values that this one depends on."""
        yield self

    def _follow_leaves(self) -> None:
        """A value that can be assigned to notifies by itself."""

    def _notify(self) -> None:
        for callback in (self._on_true, self._on_true_) if self else (self._on_false, self._on_false_):
            if isinstance(callback, Callback):
                callback.call()
            elif callback is not None:
                callback()


class Expression(Bool):
    """A value derived from one or two others; it is computed each time it is asked for."""

    __slots__ = ("_operator", "_sources")

    def __init__(self, operator: str, *sources: Bool) -> None:
        super().__init__()
        for source in sources:
            if not isinstance(source, Bool):
                raise TypeError(f"a Bool combines with a Bool, not with {source!r}: write Bool({source!r})")
        self._operator = operator
        self._sources = sources

    def _content(self) -> tuple[Any, ...]:
        return self._operator, self._sources

    def _set_content(self, content: Any) -> None:
        super()._set_content(False)
        self._operator, self._sources = content

    def __bool__(self) -> bool:
        first = bool(self._sources[0])
        match self._operator:
            case "not":
                return not first
            case "or":
                return first or bool(self._sources[1])
            case "and":
                return first and bool(self._sources[1])
            case _:
                return first != bool(self._sources[1])

    def __ilshift__(self, value: object) -> Bool:
        raise TypeError("a derived Bool follows its sources and cannot be assigned to: assign to a source")

    def __repr__(self) -> str:
        return f"Bool({self._operator} {' '.join(map(repr, self._sources))})"

    def leaves(self) -> Iterator[Bool]:
        for source in self._sources:
            yield from source.leaves()

    def _follow_leaves(self) -> None:
        # Only an expression with a callback is known to its sources: plain gates cost them nothing.
        for leaf in self.leaves():
            if not any(follower is self for follower in leaf._followers):
                leaf._followers.append(self)
