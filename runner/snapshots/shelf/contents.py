"""What a snapshot holds, unit by unit: how large each is, and its arrays, read from the outline of its pickle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.memory import without_garbage_collection
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import plain_stream
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.shelf.outline import Content, Items, Made, Name, Pairs, Parts, Visit, read_outline

DEEPEST = 12
"""Workflows within one another that are looked into."""
DEEPEST_CONTAINER = 120
"""Containers within one another that are looked into for arrays: three for each module of torch."""
MOST_ARRAYS = 200_000
"""Arrays that are told of. A reference to one takes two bytes in a pickle, and a description some hundreds."""
LONGEST_PATH = 300
"""Characters of the path of an array: each array has its own, and a key in it may be of any length."""

_NUMPY = ("numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer")
_VIEW = "runner.pickled.view"
_OURS = ("runner.pickled.unit", "runner.pickled.class_")
_OBJECTS = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")


@dataclass(frozen=True)
class Array:
    """A tensor or an array.

    Attributes:
        path: where it is, as `unit.attribute`.
        dtype: its data type, by numpy's or torch's name.
        shape: its shape.
        content: the memory that it shows, which it may share with others.
        offset, strides: of a tensor, in elements: which of the memory it shows. None of an array.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    content: Content
    offset: int = 0
    strides: tuple[int, ...] | None = None


@dataclass
class Described:
    """A unit.

    Attributes:
        name: its name; for a unit of a workflow within, with that workflow's name before it.
        cls: the name of its class.
        arrays: its arrays.
        size: bytes of the arrays and byte strings that no unit before it has, too.
    """

    name: str
    cls: str
    arrays: list[Array] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True)
class Contents:
    """What a snapshot holds.

    Attributes:
        header: its header.
        state: bytes of its plain stream.
        units: its units, the workflow first.
        names: the module and the name of each class and function that its pickle names.
    """

    header: Header
    state: int
    units: list[Described]
    names: set[tuple[str, str]]

    @property
    def arrays(self) -> list[Array]:
        """The arrays of all units."""
        return [array for unit in self.units for array in unit.arrays]


def read_contents(blocks: Iterator[bytes], key: Key | None = None, visit: Visit | None = None) -> Contents:
    """Reads a whole snapshot and makes nothing of it but this description.

    Args:
        blocks: the encoded snapshot.
        key: it must be signed with; any snapshot will do without one.
        visit: is given the bytes of its large contents, as for `read_outline`.

    Raises:
        SnapshotDamagedError: anything is missing or altered.
        SnapshotRefusedError: it is not signed with the key, or holds no pickle of protocol 5.
    """
    with plain_stream(blocks, key) as (header, stream):
        counted = _Counted(stream)
        parts = Parts(counted)
        # The size of the fragment, not of what would be written now: a field of another version may be missing here.
        fragment = parts.take(7)
        parts.take(int.from_bytes(fragment[3:7], "little") + 1)
        with without_garbage_collection():
            names: set[tuple[str, str]] = set()
            outline = read_outline(parts, visit, names)
            parts.rest()
            units = list(_Units().of(outline))
    return Contents(header, counted.size, units, names)


class _Counted:
    """A stream whose bytes are counted."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self.size = 0

    def __iter__(self) -> Iterator[memoryview]:
        for part in self._parts:
            self.size += len(part)
            yield part


class _Units:
    """The units of an outline; what several of them have is counted for the first."""

    def __init__(self) -> None:
        self._counted: set[int] = set()
        self._left = MOST_ARRAYS
        self._workflows: set[int] = set()

    def of(self, workflow: Any, above: str = "", depth: int = 0) -> Iterator[Described]:
        """Yields the units of a workflow, itself first: its state has theirs side by side."""
        self._workflows.add(id(workflow))
        state = getattr(workflow, "state", None)
        if not isinstance(state, Pairs):
            yield self._described(above, _class_name(workflow), state)
            return
        own, shells, states = state.get("own"), state.get("shells"), state.get("states")
        yield self._described(above or _name_in(own, "workflow"), _class_name(workflow), own)
        below = f"{above}." if above else ""
        if isinstance(shells, Items) and isinstance(states, Items):
            for shell, inner in zip(shells.items, states.items, strict=False):
                cls = _class_name(shell)
                if isinstance(inner, Pairs) and isinstance(inner.get("shells"), Items) and depth < DEEPEST:
                    yield from self.of(Made(shell, (), inner), below + _name_in(inner.get("own"), cls), depth + 1)
                else:
                    yield self._described(below + _name_in(inner, cls), cls, inner)
        if (random := state.get("random_states")) is not None:
            yield self._described(f"{below}random", "", random)

    def _described(self, name: str, cls: str, state: Any) -> Described:
        unit = Described(name, cls)
        for path, item in self._walk(name[:LONGEST_PATH], state):
            array = _array(path, item)
            content = item if array is None else array.content
            if array is not None and self._left:
                self._left -= 1
                unit.arrays.append(array)
            if isinstance(content, Content) and content.number not in self._counted:
                self._counted.add(content.number)
                unit.size += content.size
        return unit

    def _walk(self, path: str, state: Any) -> Iterator[tuple[str, Any]]:
        """Yields everything in a state, with where it is; of what is met again, only arrays."""
        pending, met = [(path, state, 0)], set(self._workflows)
        while pending:
            where, item, depth = pending.pop()
            if _is_unit(item) or (id(item) in met and _array(where, item) is None):
                continue
            met.add(id(item))
            yield where, item
            if depth < DEEPEST_CONTAINER and _array(where, item) is None:
                within = [(below, inner, depth + 1) for below, inner in _within(where, item) if isinstance(inner, _PARTS)]
                pending.extend(reversed(within))


_PARTS = (Content, Items, Made, Pairs, tuple)


def _within(path: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Pairs):
        yield from _pairs(path, item.items)
    elif isinstance(item, (Items, tuple)):
        yield from (
            (f"{path}.{number}"[:LONGEST_PATH], value)
            for number, value in enumerate(item.items if isinstance(item, Items) else item)
        )
    elif isinstance(item, Made):
        if item.state is not None:
            yield path, item.state
        yield path, item.arguments
        yield from _pairs(path, [value if _is_pair(value) else (number, value) for number, value in enumerate(item.items)])


def _pairs(path: str, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        name = key[:LONGEST_PATH] if isinstance(key, str) else str(key) if _is_short(key) else "?"
        yield f"{path}.{name}"[:LONGEST_PATH], value


def _is_short(value: Any) -> bool:
    """Whether a value is a number that has few digits: others are as long as somebody likes."""
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 64)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _is_unit(item: Any) -> bool:
    """Whether this is the shell of a unit: what is in one is told of under its own name."""
    return isinstance(item, Made) and isinstance(item.maker, Name) and item.maker.name == "runner.pickled.unit"


def _array(path: str, item: Any) -> Array | None:
    """Returns a tensor, an array or a view of one; None for anything else."""
    if not isinstance(item, Made) or not isinstance(item.maker, Name) or not isinstance(item.arguments, tuple):
        return None
    name, arguments = item.maker.name, item.arguments
    if name == "runner.pickled.tensor" and len(arguments) == 7:
        content = _first_content(arguments[0])
        offset = arguments[2] if type(arguments[2]) is int and _is_short(arguments[2]) else -1
        shape, strides = _shape(arguments[3]), _shape(arguments[4])
        return None if content is None else Array(path, _text(arguments[1]), shape, content, offset, strides)
    if name in _NUMPY and len(arguments) >= 3 and isinstance(arguments[0], Content):
        return Array(path, _dtype(arguments[1]), _shape(arguments[2]), arguments[0])
    if (
        name == _VIEW
        and len(arguments) == 6
        and not _is_view(arguments[0])
        and (owner := _array(path, arguments[0])) is not None
    ):
        return Array(path, _dtype(arguments[1]), _shape(arguments[3]), owner.content)
    if name in _OBJECTS and isinstance(item.state, tuple) and len(item.state) == 5 and isinstance(item.state[4], Content):
        return Array(path, _dtype(item.state[2]), _shape(item.state[1]), item.state[4])
    return None


def _is_view(item: Any) -> bool:
    """Whether this is a view, of which there is no other view: each is of the array that owns the memory."""
    return isinstance(item, Made) and isinstance(item.maker, Name) and item.maker.name == _VIEW


def _first_content(storage: Any) -> Content | None:
    arguments = getattr(storage, "arguments", None)
    found = arguments[0] if isinstance(arguments, tuple) and arguments else None
    return found if isinstance(found, Content) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "?"


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(size for size in value if isinstance(size, int) and _is_short(size)) if isinstance(value, tuple) else ()


def _dtype(value: Any) -> str:
    """Returns a data type as numpy's text for it, `<f4`; `?` for one that has fields."""
    text = value.arguments[0] if isinstance(value, Made) and isinstance(value.arguments, tuple) and value.arguments else "?"
    state = value.state if isinstance(value, Made) else None
    order = state[1] if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str) else ""
    return f"{order if order in ('<', '>') else ''}{_text(text)}"


def _name_in(state: Any, otherwise: str) -> str:
    name = state.get("name") if isinstance(state, Pairs) else None
    return name if isinstance(name, str) else otherwise


def _class_name(made: Any) -> str:
    """Returns the name of the class of what was made: a stable one, or the module and the name of one of the user's."""
    while isinstance(made, Made):
        arguments = made.arguments
        if isinstance(made.maker, Name):
            if made.maker.name not in _OURS or not isinstance(arguments, tuple) or not arguments:
                return made.maker.name
            made = arguments[0]
            continue
        made = made.maker
    return str(made.name) if isinstance(made, Name) else made if isinstance(made, str) else "?"
