"""Finds out when a snapshot is taken, not when it is needed, whether the default restore would refuse it.

The machine that restores snapshots reads the captured pickle with the same tables, but creates no objects: stand-ins take their
place, and the contents of large buffers are skipped. This is done for the first snapshot, and again when new kinds of objects
turn up. It runs in the background, so the run does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import numpy

from runner.errors import RunnerError, SnapshotRefusedError, StateError
from runner.graph import Pickleable, Unit, Workflow
from runner.memory import without_garbage_collection
from runner.snapshots.capture.pickler import Probe, Sink, leaving_out, within_module
from runner.snapshots.capture.tensors import SEPARATE
from runner.snapshots.unpickling.allowed import classes, numpy_arrays, standard_library
from runner.snapshots.unpickling.allowed.allowed import Allowed, checked_state
from runner.snapshots.unpickling.allowed.entries import GIVEN, Entry, Name, Unbuilt, check
from runner.snapshots.unpickling.allowed.states import check_attributes, check_names_in
from runner.snapshots.unpickling.soundness import all_units, check_attributes_of, check_links
from runner.snapshots.unpickling.unpickler import Unpickler


class Recording:
    """Passes on what a pickler writes, and keeps a record: the opcodes as they are, and the sizes of large contents."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self.parts: list[bytes | int] = []

    def write(self, data: Any) -> None:
        """Takes the next part."""
        size = memoryview(data).nbytes
        is_content = size >= SEPARATE and self._announced() == size
        self.parts.append(size if is_content else bytes(data))
        if self._sink is not None:
            self._sink.write(data)

    def _announced(self) -> int | None:
        """Returns the size that the last opcode gives, if it is one whose content follows separately."""
        last = self.parts[-1] if self.parts else 0
        if isinstance(last, bytes):
            if last[-9:-8] in (b"\x8d", b"\x8e", b"\x96"):
                return int.from_bytes(last[-8:], "little")
            if last[-5:-4] in (b"B", b"X"):
                return int.from_bytes(last[-4:], "little")
        return None


class _Replay:
    """A recording as a file that can be read once."""

    def __init__(self, recording: Recording) -> None:
        self._parts = iter(recording.parts)
        self._part = b""

    def read(self, size: int) -> bytes:
        """Returns the next bytes of opcodes; fewer at the end of the recording."""
        while len(self._part) < size and isinstance(part := next(self._parts, None), bytes):
            self._part += part
        found, self._part = self._part[:size], self._part[size:]
        return found

    def skip(self) -> None:
        """Skips the content of a large object."""
        next(self._parts)


class _StandIn:
    """Stands for an object, and keeps its parts: a final check finds any name that was kept as data among them."""

    __slots__ = ("entry", "parts")

    def __init__(self, entry: Entry, *parts: Any) -> None:
        self.entry = entry
        self.parts: list[Any] = list(parts)

    def append(self, item: Any) -> None:
        """Adds an item, as a list does."""
        self.parts.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.parts.append((key, value))


_STANDARD = {entry.call for entry in standard_library.TABLE.values() if entry.call is not None}
"""Calls from Python's standard library, such as those that create an empty container."""
_SMALL = (Name, str, int, float)
"""Types of arguments that are in the recording as they are. Calls that only have these are made: their results may be keys."""


class _Tables(Allowed):
    """The restore's tables, with every module of the run declared as trusted; makes stand-ins instead of objects."""

    def __init__(self) -> None:
        super().__init__()
        self.declared.add(_StandIn)
        self.workflows = 0
        self.kept: list[Any] = []

    def trusts(self, module: str) -> bool:
        return module.partition(".")[0] not in GIVEN

    def _call(self, entry: Entry, arguments: tuple[Any, ...]) -> Any:
        is_small = entry.call in _STANDARD and all(type(item) in _SMALL for item in arguments)
        if entry.symbolic or is_small or entry.shell or Unbuilt in entry.makes:
            return super()._call(entry, arguments)
        # A class as an argument of a call is only looked at, not kept.
        return _StandIn(entry, *(() if entry.takes_names else [item for item in arguments if type(item) is not Name]))

    def _make(self, entry: Entry, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if entry.cls is not None and issubclass(entry.cls, Workflow):
            self.workflows += 1  # the outermost; those within are made as units
            check(self.workflows == 1, f"it refers to another workflow, or to a unit there, of class {entry.cls.__name__}")
        return _StandIn(entry, arguments, keywords)

    def build(self, instance: Any, state: Any) -> Any:
        if type(instance) is not _StandIn:
            return self._fill(instance, state) if isinstance(instance, numpy.ndarray) else super().build(instance, state)
        instance.append(checked_state(instance.entry, state))
        cls = instance.entry.cls
        if cls is not None and classes.is_own(cls) and not issubclass(cls, Pickleable):  # whose names `_check_unit` compares
            check_names_in(cls, state)
        return None

    def _fill(self, array: Any, state: Any) -> None:
        """Checks the objects of an array; other content may not be in the recording."""
        content = state[-1]
        numpy_arrays.check_depth(self, array, content if type(content) is list else [])
        self.kept.append(content)


class _Skimming(Unpickler):
    """Reads a recording."""

    file: Any

    def _argument(self, size: int, convert: Callable[[bytes], object]) -> Any:
        if size < SEPARATE:
            return super()._argument(size, convert)
        self.file.skip()
        return b""


@without_garbage_collection()
def check_state(workflow: Workflow, recording: Recording | None) -> None:
    """Checks that the default restore would accept a state.

    Args:
        workflow: the workflow that was captured.
        recording: its pickle. If None, the workflow is checked as it is now.

    Raises:
        StateError: it would refuse the state; the message names the unit and the attribute.
    """
    if recording is None:
        check_live(workflow)
        return
    ending: set[tuple[int, str]] = set()
    for unit in list(all_units(workflow)):
        _check_unit(unit, ending)
    try:
        check_recording(recording)
    except RunnerError as error:
        check_live(workflow)
        raise StateError(f"the snapshot could not be restored ({error})") from error


def check_recording(recording: Recording) -> None:
    """Checks that the default restore would accept a recording, with the run's own modules declared.

    Raises:
        RunnerError: it would refuse the recording.
    """
    _Skimming(_Replay(recording), _Tables()).load()  # type: ignore[arg-type]


def check_live(workflow: Workflow) -> None:
    """Checks attribute by attribute what a restore would refuse.

    Raises:
        StateError: it would refuse an attribute; the message names it and its unit.
    """
    units = list(all_units(workflow))
    inside = {id(unit) for unit in units}
    ending: set[tuple[int, str]] = set()
    for unit in units:
        _check_unit(unit, ending)
        for name, value in list(vars(unit).items()):
            if not name.endswith("_") and name not in ("units", "control"):
                _check_value(unit, name, value, inside)


def _check_unit(unit: Any, ending: set[tuple[int, str]]) -> None:
    """Checks what a unit is linked to, and the names and types of its attributes, where its state is just these."""
    try:
        check_links(unit, ending)
        check_attributes_of(unit, {})
        getstate: Any = type(unit).__getstate__
        if getstate in (Unit.__getstate__, Workflow.__getstate__):
            check_attributes(type(unit), {name: value for name, value in vars(unit).items() if not str(name).endswith("_")})
    except SnapshotRefusedError as error:
        raise StateError(f"{unit!r} would not be restored: {error}") from error


def _check_value(unit: Unit, name: str, value: Any, inside: Container[int]) -> None:
    error = _refusal(value, inside)
    if error is not None:
        within = within_module(value, lambda part: _refusal(part, inside))
        raise StateError(
            f"{unit!r}.{name}{within} could not be restored ({error}): {leaving_out(unit, name, within)}, or restore with"
            " restore.trust=full (snapshotter.on_unrestorable=warn lets the run continue)"
        ) from error


def _refusal(value: Any, inside: Container[int]) -> RunnerError | None:
    """Returns why the default restore would refuse a value by itself, or None."""
    recording = Recording()
    probe = Probe(recording)
    try:
        probe.dump(value)
        for unit in probe.units:
            check(id(unit) in inside, f"it refers to another workflow, or to a unit there, of class {type(unit).__name__}")
        check_recording(recording)
    except RuntimeError:
        pass  # the run has changed the value in the meantime
    except RunnerError as error:
        return error
    return None
