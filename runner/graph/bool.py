"""A mutable, lazy truth value: what gates are made of."""

from collections.abc import Callable, Iterator

Callback = Callable[[], object]


class Bool:
    """A truth value that is shared by reference and assigned with `<<=`.

    `a | b`, `a & b`, `a ^ b` and `~a` give expressions that follow their sources and cannot be assigned to.
    `on_true` and `on_false` are called, without arguments, when the value changes to that side. A Bool pickles as data:
    its value, or the tree of its expression.
    """

    __slots__ = ("_followers", "_on_false", "_on_true", "_value")

    def __init__(self, value: object = False) -> None:
        self._value = bool(value)
        self._on_true: Callback | None = None
        self._on_false: Callback | None = None
        self._followers: list[Expression] = []

    def __bool__(self) -> bool:
        return self._value

    def __ilshift__(self, value: object) -> "Bool":
        """Assigns: `complete <<= True`."""
        value = bool(value)
        if value != self._value:
            before = [bool(follower) for follower in self._followers]
            self._value = value
            self._notify()
            for follower, was in zip(self._followers, before, strict=True):
                if bool(follower) != was:
                    follower._notify()
        return self

    def __or__(self, other: "Bool") -> "Expression":
        return Expression("or", self, other)

    def __and__(self, other: "Bool") -> "Expression":
        return Expression("and", self, other)

    def __xor__(self, other: "Bool") -> "Expression":
        return Expression("xor", self, other)

    def __invert__(self) -> "Expression":
        return Expression("not", self)

    def __repr__(self) -> str:
        return f"Bool({bool(self)})"

    @property
    def on_true(self) -> Callback | None:
        """What is called when the value becomes true."""
        return self._on_true

    @on_true.setter
    def on_true(self, callback: Callback | None) -> None:
        self._on_true = callback
        self._follow_leaves()

    @property
    def on_false(self) -> Callback | None:
        """What is called when the value becomes false."""
        return self._on_false

    @on_false.setter
    def on_false(self, callback: Callback | None) -> None:
        self._on_false = callback
        self._follow_leaves()

    def leaves(self) -> Iterator["Bool"]:
        """Yields the assignable values that this one depends on."""
        yield self

    def _follow_leaves(self) -> None:
        """A value that can be assigned to notifies by itself."""

    def _notify(self) -> None:
        callback = self._on_true if self else self._on_false
        if callback is not None:
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
