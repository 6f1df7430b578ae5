"""Names of Python's own library."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import functools
import logging
import pathlib
import random
import re
import types
import uuid
import zoneinfo
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from runner.snapshots.unpickling.allowed import classes
from runner.snapshots.unpickling.allowed.entries import Entry, Table, are, as_arguments, check, class_of, exact, named
from runner.snapshots.unpickling.allowed.states import builder_of

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

DIGITS = 10_000
"""Characters of a Decimal or a Fraction, whose arithmetic takes more than their number."""
LOGGER = 200
"""Characters of a logger's name."""

WORDS = 625
"""Numbers in the state of Python's random generator."""

_NONE = type(None)
_SCALARS = (str, int, float, bool, bytes, complex, _NONE)
_FACTORIES = (
    *(list, dict, set, frozenset, tuple, int, float, complex, bool, str, bytes, bytearray),
    *(collections.OrderedDict, collections.Counter, collections.deque),
)
"""What a defaultdict may make its values with."""
_ZONES = (datetime.timezone, zoneinfo.ZoneInfo)
_PATHS: tuple[type, ...] = (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))
_HOMES_OF_PATHS = ("pathlib", "pathlib._local")
"""The modules that paths say they are from; the latter in Python 3.13, whose snapshots others read, too."""
_SIGNALS = [value for value in vars(decimal).values() if isinstance(value, type) and issubclass(value, ArithmeticError)]


def _range(*limits: Any) -> range:
    check(are(limits, int), "a range is made of integers")
    return range(*limits)


def _slice(*limits: Any) -> slice:
    check(are(limits, *_SCALARS), "a slice is made of plain values")
    return slice(*limits)


def _attribute(allowed: Allowed, value: Any, name: Any) -> Any:
    if class_of(value) is zoneinfo.ZoneInfo and name == "_unpickle":
        return allowed.find("zoneinfo", "ZoneInfo._unpickle")
    return classes.member(value, name)


def _deque(items: Any = (), limit: Any = None) -> collections.deque[Any]:
    check(type(items) in (tuple, list) and type(limit) in (int, _NONE), "a deque is made of a sequence and a length")
    return collections.deque(items, limit)


def _defaultdict(factory: Any = None) -> collections.defaultdict[Any, Any]:
    check(factory is None or class_of(factory) in _FACTORIES, "a defaultdict makes its values with a type that is not built in")
    return collections.defaultdict(class_of(factory))


def _check_zone(zone: Any) -> None:
    check(zone is None or isinstance(zone, _ZONES) or classes.is_own(type(zone)), "a time has no such time zone")


def _datetime(data: Any, zone: Any = None) -> Any:
    check(type(data) is bytes and len(data) == 10, "a datetime is made of ten bytes")
    _check_zone(zone)
    make: Any = datetime.datetime
    return make(data, *(() if zone is None else (zone,)))


def _time(data: Any, zone: Any = None) -> Any:
    check(type(data) is bytes and len(data) == 6, "a time is made of six bytes")
    _check_zone(zone)
    make: Any = datetime.time
    return make(data, *(() if zone is None else (zone,)))


def _date(data: Any) -> Any:
    check(type(data) is bytes and len(data) == 4, "a date is made of four bytes")
    make: Any = datetime.date
    return make(data)


# The snapshot's word must not choose a module or a file: zoneinfo looks for unknown names in both.
zone_names = functools.cache(zoneinfo.available_timezones)


def _zone(key: Any, from_cache: Any) -> zoneinfo.ZoneInfo:
    check(type(key) is str and key in zone_names(), "a time zone has no such name")
    return zoneinfo.ZoneInfo(key)


def _logger(name: Any = None) -> logging.Logger:
    # The registry of loggers keeps a name for each dot.
    check(name is None or (type(name) is str and len(name) <= LOGGER), "a logger's name is not text, or too long")
    return logging.getLogger(name)


def _decimal(text: Any) -> decimal.Decimal:
    check(type(text) is str and len(text) <= DIGITS, "a Decimal is made of text that is not too long")
    return decimal.Decimal(text)


def _context(*settings: Any) -> decimal.Context:
    check(are(settings, int, str, list), "a decimal context is made of plain values")
    signals: list[Any] = [[class_of(item) for item in value] if type(value) is list else value for value in settings]
    check(all(item in _SIGNALS for value in signals if type(value) is list for item in value), "a signal is none of decimal's")
    return decimal.Context(*signals)


def _fraction(*parts: Any) -> Fraction:
    if len(parts) == 1 and type(parts[0]) is str and len(parts[0]) <= DIGITS:
        check(re.fullmatch(r"-?\d+(/\d+)?", parts[0]), "a Fraction is made of two integers")
    else:
        fits = len(parts) == 2 and are(parts, int) and max(value.bit_length() for value in parts) <= 4 * DIGITS
        check(fits, "a Fraction is made of two integers that are not too large")
    return Fraction(*parts)


def _build_uuid(instance: Any, state: Any) -> None:
    check(type(state) is dict and set(state) <= {"int", "is_safe"} and type(state.get("int")) is int, "a UUID is an integer")
    check(0 <= state["int"] < 1 << 128, "a UUID is an integer of 128 bits")
    check(type(state.get("is_safe")) in (int, _NONE), "a UUID's safety is a number")
    uuid.UUID.__setstate__(instance, state)  # type: ignore[attr-defined]


def _build_random(instance: Any, state: Any) -> None:
    # `setstate` goes through whatever it is given, for as long as that has numbers.
    what = "the state of a Random is not one that Python writes"
    check(type(state) is tuple and len(state) == 3 and type(state[0]) is int and type(state[1]) is tuple, what)
    check(len(state[1]) == WORDS and are(state[1], int) and type(state[2]) in (float, _NONE), what)
    random.Random.__setstate__(instance, state)  # type: ignore[attr-defined]


def _path(cls: type) -> Entry:
    def make(*parts: Any) -> Any:
        check(are(parts, str), "a path is made of text")
        return cls(*parts)

    return Entry(cls=cls, call=make)


def _array(cls: Any, typecode: Any, layout: Any, data: Any) -> array.array[Any]:
    fits = class_of(cls) is array.array and type(typecode) is str and type(layout) is int and type(data) is bytes
    check(fits, "an array is made of bytes")
    result: array.array[Any] = array._array_reconstructor(array.array, typecode, layout, data)  # type: ignore[attr-defined]
    return result


def _plain(cls: type, **more: Any) -> Entry:
    return Entry(cls=cls, build=builder_of(cls), **more)


_timedelta = exact(datetime.timedelta, int, int, int)
_timezone = exact(datetime.timezone, datetime.timedelta, str, optional=1)

TABLE: Table = (
    as_arguments(*_FACTORIES, object, *_SIGNALS)
    | {
        ("builtins", "Ellipsis"): Entry(constant=Ellipsis),
        ("builtins", "NotImplemented"): Entry(constant=NotImplemented),
        ("builtins", "getattr"): Entry(call=_attribute, context=True, symbolic=True),
        ("zoneinfo", "ZoneInfo._unpickle"): Entry(call=_zone),
        ("array", "_array_reconstructor"): Entry(call=_array),
        ("logging", "getLogger"): Entry(call=_logger),
    }
    | named(
        [
            Entry(cls=complex, call=exact(complex, float, float)),
            Entry(cls=range, call=_range),
            Entry(cls=slice, call=_slice),
            _plain(collections.OrderedDict, call=exact(collections.OrderedDict)),
            _plain(collections.Counter, call=exact(collections.Counter, dict)),
            Entry(cls=collections.deque, call=_deque),
            Entry(cls=collections.defaultdict, call=_defaultdict, build=builder_of(collections.defaultdict)),
            *(_plain(cls, new=True) for cls in (collections.ChainMap, collections.UserDict, collections.UserList)),
            _plain(collections.UserString, new=True, arguments=(str,)),
            _plain(types.SimpleNamespace, call=exact(types.SimpleNamespace)),
            Entry(cls=datetime.datetime, call=_datetime),
            Entry(cls=datetime.date, call=_date),
            Entry(cls=datetime.time, call=_time),
            Entry(cls=datetime.timedelta, call=_timedelta),
            Entry(cls=datetime.timezone, call=_timezone),
            Entry(cls=zoneinfo.ZoneInfo),
            Entry(cls=decimal.Decimal, call=_decimal),
            Entry(cls=decimal.Context, call=_context, takes_names=True),
            Entry(cls=Fraction, call=_fraction),
            Entry(cls=uuid.UUID, new=True, build=_build_uuid),
            Entry(cls=random.Random, call=exact(random.Random), build=_build_random),
            Entry(cls=array.array),
        ]
    )
    | {(home, cls.__qualname__): _path(cls) for home in _HOMES_OF_PATHS for cls in _PATHS}
)
"""Every name of Python's library that a snapshot may use."""
