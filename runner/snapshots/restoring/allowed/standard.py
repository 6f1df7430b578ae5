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
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from runner.snapshots.restoring.allowed import own
from runner.snapshots.restoring.allowed.entries import Call, Entry, Table, are, as_data, check, named
from runner.snapshots.restoring.allowed.states import builder_of

if TYPE_CHECKING:
    from runner.snapshots.restoring.allowed.allowed import Allowed

_SCALARS = (str, int, float, bool, bytes, complex, type(None))


def _complex(real: Any, imag: Any) -> complex:
    check(are((real, imag), float), "a complex number is made of two floats")
    return complex(real, imag)


def _range(*limits: Any) -> range:
    check(are(limits, int), "a range is made of integers")
    return range(*limits)


def _slice(*limits: Any) -> slice:
    check(are(limits, *_SCALARS), "a slice is made of plain values")
    return slice(*limits)


def _type(value: Any) -> type:
    check(value is None or value is Ellipsis or value is NotImplemented, "`type` is for None, Ellipsis and NotImplemented")
    return type(value)


def _attribute(allowed: Allowed, value: Any, name: Any) -> Any:
    if value is zoneinfo.ZoneInfo and name == "_unpickle":
        return allowed.find("zoneinfo", "ZoneInfo._unpickle")
    return own.attribute(allowed, value, name)


def _ordered_dict() -> collections.OrderedDict[Any, Any]:
    return collections.OrderedDict()


def _counter(counts: Any) -> collections.Counter[Any]:
    check(type(counts) is dict, "a Counter is made of a dict")
    return collections.Counter(counts)


def _deque(items: Any = (), limit: Any = None) -> collections.deque[Any]:
    check(type(items) in (tuple, list) and type(limit) in (int, type(None)), "a deque is made of a sequence and a length")
    return collections.deque(items, limit)


def _defaultdict(factory: Any = None) -> collections.defaultdict[Any, Any]:
    return collections.defaultdict(factory)


def _namespace() -> types.SimpleNamespace:
    return types.SimpleNamespace()


def _datetime(data: Any, zone: Any = None) -> Any:
    check(type(data) is bytes and len(data) == 10, "a datetime is made of ten bytes")
    make: Any = datetime.datetime
    return make(data, zone)


def _time(data: Any, zone: Any = None) -> datetime.time:
    check(type(data) is bytes and len(data) == 6, "a time is made of six bytes")
    return datetime.time(data, zone)


def _date(data: Any) -> Any:
    check(type(data) is bytes and len(data) == 4, "a date is made of four bytes")
    make: Any = datetime.date
    return make(data)


def _timedelta(days: Any, seconds: Any, microseconds: Any) -> datetime.timedelta:
    check(are((days, seconds, microseconds), int), "a timedelta is made of integers")
    return datetime.timedelta(days, seconds, microseconds)


def _timezone(offset: Any, *name: Any) -> datetime.timezone:
    check(type(offset) is datetime.timedelta and are(name, str), "a timezone is made of a timedelta and a name")
    return datetime.timezone(offset, *name)


# The snapshot's word must not choose a module or a file: zoneinfo looks for unknown names in both.
zone_names = functools.cache(zoneinfo.available_timezones)


def _zone(key: Any, from_cache: Any) -> zoneinfo.ZoneInfo:
    check(type(key) is str and key in zone_names(), "a time zone has no such name")
    return zoneinfo.ZoneInfo(key)


def _decimal(text: Any) -> decimal.Decimal:
    check(type(text) is str, "a Decimal is made of text")
    return decimal.Decimal(text)


def _context(*settings: Any) -> decimal.Context:
    check(are(settings, int, str, list), "a decimal context is made of plain values")
    return decimal.Context(*settings)


def _fraction(*parts: Any) -> Fraction:
    is_text = len(parts) == 1 and type(parts[0]) is str and re.fullmatch(r"-?\d+(/\d+)?", parts[0])
    check(is_text or (len(parts) == 2 and are(parts, int)), "a Fraction is made of two integers")
    return Fraction(*parts)


def _build_uuid(instance: Any, state: Any) -> None:
    check(type(state) is dict and set(state) <= {"int", "is_safe"} and type(state.get("int")) is int, "a UUID is an integer")
    check(0 <= state["int"] < 1 << 128, "a UUID is an integer of 128 bits")
    check(type(state.get("is_safe")) in (int, type(None)), "a UUID's safety is a number")
    uuid.UUID.__setstate__(instance, state)  # type: ignore[attr-defined]


def _path(cls: type) -> Entry:
    def make(*parts: Any) -> Any:
        check(are(parts, str), "a path is made of text")
        return cls(*parts)

    return Entry(value=cls, call=make)


def _random() -> random.Random:
    return random.Random()


def _array(cls: Any, typecode: Any, layout: Any, data: Any) -> array.array[Any]:
    check(
        cls is array.array and type(typecode) is str and type(layout) is int and type(data) is bytes,
        "an array is made of bytes",
    )
    result: array.array[Any] = array._array_reconstructor(cls, typecode, layout, data)  # type: ignore[attr-defined]
    return result


def _logger(name: Any = None) -> logging.Logger:
    check(name is None or type(name) is str, "a logger's name is text")
    return logging.getLogger(name)


def _check_partial(function: Any, arguments: Any, keywords: Any) -> None:
    is_named = isinstance(function, FunctionType | BuiltinFunctionType | type) and not isinstance(function, Call)
    check(is_named, "a partial is of a function or class that a snapshot may name")
    check(type(arguments) is tuple and type(keywords) in (dict, type(None)), "a partial's arguments are no tuple and dict")


def _partial(function: Any) -> functools.partial[Any]:
    _check_partial(function, (), None)
    return functools.partial(function)


def _build_partial(instance: Any, state: Any) -> None:
    check(type(state) is tuple and len(state) == 4, "a partial's state is no tuple of four")
    function, arguments, keywords, namespace = state
    _check_partial(function, arguments, keywords)
    check(not namespace, "a partial has attributes of its own")
    functools.partial.__setstate__(instance, state)  # type: ignore[attr-defined]


def _plain(cls: type, **more: Any) -> Entry:
    return Entry(value=cls, build=builder_of(cls), **more)


_PATHS: list[type] = [pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path())]

TABLE: Table = (
    as_data(int, float, str, bytes, bytearray, bool, list, tuple, dict, set, frozenset, object)
    | as_data(
        *(
            vars(decimal)[name]
            for name in dir(decimal)
            if isinstance(vars(decimal)[name], type) and issubclass(vars(decimal)[name], decimal.DecimalException)
        )
    )
    | {
        ("builtins", "Ellipsis"): Entry(value=Ellipsis),
        ("builtins", "NotImplemented"): Entry(value=NotImplemented),
        ("builtins", "type"): Entry(call=_type),
        ("builtins", "getattr"): Entry(call=_attribute, context=True),
        ("zoneinfo", "ZoneInfo._unpickle"): Entry(call=_zone),
        ("array", "_array_reconstructor"): Entry(call=_array),
        ("logging", "getLogger"): Entry(call=_logger),
    }
    | named(
        {
            complex: Entry(value=complex, call=_complex),
            range: Entry(value=range, call=_range),
            slice: Entry(value=slice, call=_slice),
            collections.OrderedDict: _plain(collections.OrderedDict, call=_ordered_dict),
            collections.Counter: _plain(collections.Counter, call=_counter),
            collections.deque: Entry(value=collections.deque, call=_deque),
            collections.defaultdict: Entry(value=collections.defaultdict, call=_defaultdict),
            **{cls: _plain(cls, new=True) for cls in (collections.ChainMap, collections.UserDict, collections.UserList)},
            collections.UserString: _plain(collections.UserString, new=True, arguments=(str,)),
            types.SimpleNamespace: _plain(types.SimpleNamespace, call=_namespace),
            datetime.datetime: Entry(value=datetime.datetime, call=_datetime),
            datetime.date: Entry(value=datetime.date, call=_date),
            datetime.time: Entry(value=datetime.time, call=_time),
            datetime.timedelta: Entry(value=datetime.timedelta, call=_timedelta),
            datetime.timezone: Entry(value=datetime.timezone, call=_timezone),
            zoneinfo.ZoneInfo: Entry(value=zoneinfo.ZoneInfo),
            decimal.Decimal: Entry(value=decimal.Decimal, call=_decimal),
            decimal.Context: Entry(value=decimal.Context, call=_context),
            Fraction: Entry(value=Fraction, call=_fraction),
            uuid.UUID: Entry(value=uuid.UUID, new=True, build=_build_uuid),
            random.Random: _plain(random.Random, call=_random),
            array.array: Entry(value=array.array),
            functools.partial: Entry(value=functools.partial, call=_partial, build=_build_partial),
            **{cls: _path(cls) for cls in _PATHS},
        }
    )
)
"""Every name of Python's library that a snapshot may use."""
